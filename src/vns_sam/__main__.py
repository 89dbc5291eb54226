"""``python -m vns_sam`` is the command ``vns-sam``."""

import sys

from vns_sam.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
