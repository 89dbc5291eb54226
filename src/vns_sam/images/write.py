"""Writing results so that a file is whole or not there: a temporary file in its folder, then a rename."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vns_sam.errors import DataError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; on success it takes its place, on any error it is removed.

    Raises:
        DataError: The place cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Checks, without leaving a trace, that ``path`` could be written: run it before the work, not after.

    Raises:
        DataError: It is a folder, or the nearest folder above it that exists takes no file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder", hint="give a file name")
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(path, error) from None


def write_mask(path: str | Path, mask: np.ndarray) -> None:
    """Writes one mask (H, W) bool as a PNG of 0 and 255.

    Raises:
        DataError: The place cannot be written.
    """
    write_image(path, np.asarray(mask, bool).astype(np.uint8) * 255)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes (H, W) or (H, W, 3) uint8 RGB; JPEG at quality 92 when the name ends so, else PNG.

    Raises:
        DataError: The place cannot be written.
    """
    lossy = Path(path).suffix.lower() in (".jpg", ".jpeg")
    with atomic_path(path) as part:
        if lossy:
            Image.fromarray(image).save(part, "JPEG", quality=92, subsampling=0)
        else:
            Image.fromarray(image).save(part, "PNG")


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text.

    Raises:
        DataError: The place cannot be written.
    """
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Makes ``target`` the same file as ``source`` by a hard link, or a copy where links cannot be made.

    Raises:
        DataError: The source cannot be read, or the place cannot be written.
    """
    with atomic_path(target) as part:
        try:
            os.link(source, part)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, part)


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON on one line; NaN is refused, since it is no JSON.

    Raises:
        DataError: The place cannot be written.
    """
    write_text(path, json.dumps(value, allow_nan=False) + "\n")


def unwritable(path: Path, error: OSError) -> DataError:
    """What to raise where a file cannot be written."""
    reason = (error.strerror or type(error).__name__).lower()
    return DataError(f"cannot write {path}: {reason}", hint="choose another place with --out")
