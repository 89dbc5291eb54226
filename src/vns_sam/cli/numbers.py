"""Numbers on the command line, with bounds: what is outside of them is a wrong command line, told by argparse."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for ``add_argument``: a whole number from ``least``, and to ``most`` where that is told."""
    wanted = f"of {least} or more" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, found '{text.strip()}'")
        return value

    return parse


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """A type for ``add_argument``: a number from ``least`` to ``most``.

    Args:
        least: The lower bound.
        most: The upper bound; "inf" and NaN are outside of any.
        above: Whether ``least`` itself is not enough.
    """
    wanted = f"above {least:,.10g}, {most:,.10g} at most" if above else f"from {least:,.10g} to {most:,.10g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most or (above and value == least):
            raise argparse.ArgumentTypeError(f"expected a number {wanted}, found '{text.strip()}'")
        return value

    return parse
