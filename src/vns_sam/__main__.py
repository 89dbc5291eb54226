"""``python -m vns_sam`` is the command ``vns-sam``."""

import sys

from vns_sam.cli.main import main

sys.exit(main())
