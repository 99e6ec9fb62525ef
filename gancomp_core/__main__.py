"""``python -m gancomp_core`` is the command ``gancomp``."""

import sys

from gancomp_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
