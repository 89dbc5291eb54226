"""Completion of commands and options in a shell.

vns-sam completion bash >> ~/.bashrc      or zsh, tcsh
"""

from __future__ import annotations

import argparse

from vns_sam.cli.lines import print_json

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    """Runs the verb."""
    from vns_sam.cli.main import whole_parser
    from vns_sam.errors import MissingExtraError

    try:
        import shtab
    except ImportError:
        raise MissingExtraError("shtab", extra="completion", purpose="completion") from None
    script = shtab.complete(whole_parser(), args.shell)
    print_json({"shell": args.shell, "script": script}) if args.json else print(script)
    return 0
