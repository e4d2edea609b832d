"""python -m augment_gen.tables"""

import sys

from augment_gen import tables

if __name__ == "__main__":
  sys.exit(tables.main())
