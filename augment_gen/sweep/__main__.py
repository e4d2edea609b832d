"""python -m augment_gen.sweep"""

import sys

from augment_gen import sweep

if __name__ == "__main__":
  sys.exit(sweep.main())
