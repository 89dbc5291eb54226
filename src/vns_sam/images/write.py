"""Writing results so that a file is whole or not there: a temporary file in its folder, on the disk, then a rename."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vns_sam.errors import DataError, OutputError

JPEG_SIDE = 65_500
"""Most pixels of a side of a JPEG."""
_PART = re.compile(r"\..+\.\d+\.part")
_SHOWN = 40  # characters of a file's name that its part has too: a name may be as long as the system allows


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; on success it takes its place, on any error it is removed.

    The content is on the disk before the name is: after a crash there is the old file or the new one, never half.
    Threads, processes and machines that write one file at a time each have a part of their own; the last one stays.

    Raises:
        OutputError: The place cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:_SHOWN]}.{int.from_bytes(os.urandom(8), 'big')}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        _swap(part, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Removes a file if it is there.

    Raises:
        OutputError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


def remove_parts(folder: Path) -> None:
    """Removes what killed runs left of :func:`atomic_path` in a folder in which nobody else writes; of the folders in
    it see :func:`vns_sam.runs.lock.remove_parts_below`.
    """
    for path in folder.glob(".*.part"):
        if _PART.fullmatch(path.name) and not path.is_dir():
            with suppress(OSError):
                path.unlink()


def _sync(path: Path) -> None:
    """Waits until a file is on the disk; file systems that cannot say are believed.

    Its folder is not waited for: a name that a crash takes back is missed by the next run, which writes it again.
    """
    with suppress(PermissionError):  # a link to a file that is not ours to open
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(handle)


def _swap(part: Path, path: Path) -> None:
    os.replace(part, path)


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


def write_image(path: str | Path, image: np.ndarray, *, photo: bool = False) -> None:
    """Writes a picture in the format that its name tells, see :func:`encode_image`.

    Raises:
        OutputError: The place cannot be written.
    """
    write_bytes(path, encode_image(image, Path(path).suffix, photo=photo))


def encode_image(image: np.ndarray, suffix: str = ".png", *, photo: bool = False) -> bytes:
    """The file of a picture: JPEG at quality 92 for ``.jpg`` and ``.jpeg``, else PNG.

    Args:
        image: (H, W) or (H, W, 3) uint8 RGB; as PNG (H, W) bool, which becomes 0 and 255, (H, W) uint16, and
            (H, W, 4) uint8 as well.
        suffix: Says the kind.
        photo: Compresses a PNG by run lengths alone: what its filters leave of a photograph is as small by them, in a
            third of the time. What repeats (text, patterns) becomes several times as large.

    Raises:
        DataError: The picture is larger than its kind of file can be; of a JPEG see :data:`JPEG_SIDE`.
    """
    picture = Image.fromarray(image.astype(np.uint8) * 255 if image.dtype == bool else image)
    file = io.BytesIO()
    try:
        if suffix.lower() in (".jpg", ".jpeg"):
            picture.save(file, "JPEG", quality=92, subsampling=0)
        else:
            picture.save(file, "PNG", compress_type=zlib.Z_RLE if photo else zlib.Z_DEFAULT_STRATEGY)
    except OSError as error:
        size = " x ".join(map(str, image.shape[1::-1]))
        raise DataError(f"expected a picture that a {suffix} can hold, found {size}: {error}") from None
    return file.getvalue()


def encode_archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    """The zip file of some files, each a name and its content, compressed. Entries carry no time, so its bytes depend
    on the files alone.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED  # of the archive's own kind an entry takes no notice
            archive.writestr(entry, content)
    return file.getvalue()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file.

    Raises:
        OutputError: The place cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text.

    Raises:
        OutputError: The place cannot be written.
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


def unwritable(path: Path, error: OSError) -> OutputError:
    """What to raise where a file cannot be written."""
    reason = (error.strerror or type(error).__name__).lower()
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "make room, then start it again: it goes on" if full else "choose another place with --out"
    return OutputError(f"cannot write {path}: {reason}", hint=hint)
