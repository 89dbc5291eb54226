"""Fields of a recipe, a study or a pipeline, given on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vns_sam.errors import UsageError


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Sets fields of a recipe from what :func:`read_overrides` reads.

    Raises:
        UsageError: See there; or a field lies inside something that has no fields.
    """
    from vns_sam.training.fields import set_field

    for name, value in read_overrides(overrides):
        set_field(values, name, value)
    return values


def read_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    """Fields and values of ``--field.sub value`` and ``--field.sub=value``; values are read as YAML.

    Raises:
        UsageError: A field has no value or one that is no YAML.
    """
    import yaml

    rest = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found = []
    for name, text in zip(rest[::2], [*rest[1::2], None], strict=False):
        if not name.startswith("--") or text is None:
            raise UsageError(f"expected --field value, found '{name}'", hint="--optim.lr 0.001")
        try:
            found.append((name[2:], yaml.safe_load(text)))
        except yaml.YAMLError:
            raise UsageError(
                f"expected {name} to be YAML, found {text}", hint='quote text with brackets: \'["a/{set}", "b/{set}"]\''
            ) from None
    return found
