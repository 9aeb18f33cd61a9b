"""``shim``, and ``python -m shim``."""

import sys

from shim.cli import main

if __name__ == "__main__":
    sys.exit(main())
