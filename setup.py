"""The packages; metadata is in pyproject.toml, and package data in setup.cfg.

configs/ lies beside the package in a checkout, and in an installation inside it.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["augment_gen*"]), "augment_gen.configs"],
      package_dir={"augment_gen.configs": "configs"})
