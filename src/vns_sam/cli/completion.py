"""Completion of commands and options in a shell.

vns-sam completion bash >> ~/.bashrc      or zsh, tcsh
"""

from __future__ import annotations

import argparse

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
    print(shtab.complete(whole_parser(), args.shell))
    return 0
