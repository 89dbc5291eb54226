"""The one way to open a picture file: by its content, and only in formats that are decoded here."""

from __future__ import annotations

import os
from typing import IO

from PIL import Image, UnidentifiedImageError

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

if Image.MAX_IMAGE_PIXELS == 2**30 // 4 // 3:
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # it warns there and refuses at twice as many


def open_image(path: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Opens a picture file without decoding its pixels; to be used with ``with``.

    Raises:
        UnidentifiedImageError: It is none of :data:`FORMATS`.
        OSError: The file cannot be read.
        Image.DecompressionBombError: It has more pixels than :data:`MOST_PIXELS`.
    """
    try:
        return Image.open(path, formats=_AT_HAND)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
