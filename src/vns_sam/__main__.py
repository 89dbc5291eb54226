"""``python -m vns_sam`` is the command ``vns-sam``."""

from vns_sam.cli.main import enter

if __name__ == "__main__":
    enter()
