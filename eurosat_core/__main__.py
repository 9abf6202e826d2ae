"""`python -m eurosat_core`: the lab without a browser."""

import sys

from eurosat_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
