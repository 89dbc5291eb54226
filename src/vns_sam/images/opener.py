"""The one way to open a picture file: by its content, and only in formats that are decoded here."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Collection
from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "MPO", "WEBP", "TIFF", "DIB", "JPEG2000", "AVIF", "TGA", "ICO", "PCX")
"""What may be decoded, whatever a file is called. Pillow would also start Ghostscript for what holds PostScript, and
plugins for dozens of formats that no camera writes.
"""

_AT_HAND = FORMATS[:5]
"""Those whose plugins Pillow has loaded already."""

MOST_PIXELS = 512 * 10**6
"""A scan of 20,000 x 20,000 is read, at 7 bytes a pixel; what says that it holds more is refused. Pillow's own limit is
179 million; it stays where somebody has set another.
"""

MOST_PIXELS_A_BYTE = 1024
"""Of a JPEG: each block of 64 pixels takes a bit at the least, which makes 512."""

ORIENTATION = 0x0112
"""The tag of EXIF and TIFF that says how a picture lies; from 5 on it lies on its side."""

if Image.MAX_IMAGE_PIXELS == 2**30 // 4 // 3:
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # it warns there and refuses at twice as many

_opening = threading.local()


class _WhileWeOpen:
    """The text of any warning, in a thread that is in :func:`open_image`."""

    def match(self, text: str) -> bool:
        return getattr(_opening, "now", False)


# What Pillow's plugins note about a file (tags that they pass over) nobody can mend, nor that one which is not refused
# has more pixels than half of the limit. A filter for each picture would be one for all threads, and stay when they
# overlap: these two stay for the process. The second looks at the thread, so that others see their own warnings.
_QUIET = (
    ("ignore", None, UserWarning, re.compile(r"PIL\.(Image|\w+ImagePlugin)$"), 0),
    ("ignore", _WhileWeOpen(), Image.DecompressionBombWarning, None, 0),
)


def _keep_quiet() -> None:
    """Adds the filters where they are missing: at first, and when a ``catch_warnings`` that held them has ended."""
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    for each in _QUIET:
        if each not in filters:
            filters.insert(0, each)


def open_image(path: str | os.PathLike[str] | IO[bytes], formats: Collection[str] = FORMATS) -> Image.Image:
    """Opens a picture file without decoding its pixels; to be used with ``with``.

    Args:
        path: The file.
        formats: What it may be, some of :data:`FORMATS`.

    Raises:
        UnidentifiedImageError: It is none of them.
        OSError: The file cannot be read, or says that it is larger than its bytes can hold.
        Image.DecompressionBombError: It has more pixels than :data:`MOST_PIXELS`.
    """
    _keep_quiet()
    _opening.now = True
    try:
        image = Image.open(path, formats=[name for name in _AT_HAND if name in formats])
    except UnidentifiedImageError:
        Image.init()
        image = Image.open(path, formats=[name for name in formats if name in Image.OPEN])
    finally:
        _opening.now = False
    if image.format in ("JPEG", "MPO"):
        _check_bytes(image)
    if image.format == "TIFF":
        _keep_unmapped(image)
    return image


def _keep_unmapped(image: ImageFile.ImageFile) -> None:
    """Has the pixels of a TIFF that lies on its side decoded: Pillow 13 maps uncompressed ones into memory with the
    size that they have when they are turned, which shears them. Without a file name it maps nothing.
    """
    if getattr(image, "tag_v2", {}).get(ORIENTATION) in (5, 6, 7, 8):
        image.filename = ""


def _check_bytes(image: ImageFile.ImageFile) -> None:
    """Refuses a JPEG whose head lies: the decoder would fill millions of missing pixels with grey and say nothing."""
    assert image.fp is not None
    pixels, held = image.width * image.height, _size(image.fp)
    if pixels > MOST_PIXELS_A_BYTE * held:
        size = f"{image.width} x {image.height}"
        image.close()
        raise OSError(f"{held} bytes cannot hold {size} pixels")


def _size(file: IO[bytes]) -> int:
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size
