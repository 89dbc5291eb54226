"""Folders of models that a command writes: what lies there is judged before any work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vns_sam.errors import DataError, UsageError
from vns_sam.sam.folder import CONFIG, GRAPHS, OLDER_WEIGHTS, WEIGHTS

MODEL = (CONFIG, WEIGHTS, OLDER_WEIGHTS, GRAPHS)
"""The files by which a folder is a model's."""


def check_folder(out: Path, files: Iterable[str] = MODEL, *, force: bool) -> None:
    """Refuses a place where something of others would be replaced.

    Args:
        out: The folder.
        files: Names of which none may be there.
        force: Whether they may.

    Raises:
        DataError: The place is a file.
        UsageError: One of the files is there.
    """
    from vns_sam.runs.plan import FORCE

    if out.exists() and not out.is_dir():
        raise DataError(f"cannot write {out}: it is a file, expected a folder")
    found = next((out / name for name in files if (out / name).exists()), None)
    if found is not None and not force:
        raise UsageError(f"expected to replace no file, found {found}", hint=FORCE)
