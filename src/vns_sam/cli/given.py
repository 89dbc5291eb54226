"""Which options a command line gave, for verbs with ways of working that take only some of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from vns_sam.errors import UsageError


def refuse_others(
    add_arguments: Callable[[argparse.ArgumentParser], None],
    args: argparse.Namespace,
    way: str,
    allowed: tuple[str, ...],
) -> None:
    """Refuses what a way of working would not look at.

    Args:
        add_arguments: Adds the verb's options to a parser.
        args: The command line; an option that is given its default value counts as not given.
        way: The option that chose the way.
        allowed: Options that go with it.

    Raises:
        UsageError: Another option or a positional argument is given.
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    for action in parser._actions:
        name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)
        if name not in (way, *allowed) and (getattr(args, action.dest, None) or None) != (action.default or None):
            hint = f"with it go {', '.join(allowed)}"
            raise UsageError(f"{way} does not look at {name}, expected it to be left out", hint=hint)
