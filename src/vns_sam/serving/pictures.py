"""From bytes of a client to pixels, with the limits judged before anything is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from http import HTTPStatus

import numpy as np
from PIL import Image, UnidentifiedImageError

from vns_sam.images.opener import open_image
from vns_sam.images.read import DECODER_ERRORS, one_line, read_image
from vns_sam.serving.problems import Problem, is_json, too_large, unusable
from vns_sam.serving.settings import Limits

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is decoded; Pillow's rarer decoders stay shut."""
BARE = "curl --data-binary @frog.jpg, or requests.post(url, data=open('frog.jpg', 'rb'))"
BASE64 = (b"data:", b"/9j/", b"iVBORw", b"UklGR", b"SUkq", b"TU0AK")
"""How a JPEG, PNG, WebP or TIFF begins as text in base64, or any as a URL."""
SMALLER = "scale it down or cut it into tiles"


def decode_picture(data: bytes, limits: Limits, kind: str = "") -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB, upright, of a picture's file; of an animation the first frame.

    Args:
        data: The file.
        limits: Of bytes and pixels.
        kind: What its sender calls it; it is said of what is no picture.

    Raises:
        Problem: It is no picture (415), is too large (413), or its head is damaged (422).
        DataError: Its pixels are damaged.
    """
    hint = "give a JPEG, PNG, WebP, TIFF or BMP"
    if not data:
        raise unusable("expected the bytes of a picture, found none", hint=hint)
    try:
        opened = open_image(io.BytesIO(data), FORMATS)
    except UnidentifiedImageError:
        message = "this is not a picture in a format that can be read"
        if wrapped := _wrapped(data, kind):
            message, hint = f"expected the picture's file as the body, found {wrapped}", BARE
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, hint=hint) from None
    except Image.DecompressionBombError:
        raise too_many_pixels(limits) from None
    except DECODER_ERRORS as error:
        raise unusable(f"the picture is damaged ({one_line(error)})", hint="copy or download it again") from None
    with opened:
        if opened.width * opened.height > limits.pixels:
            raise too_many_pixels(limits)
        try:
            return read_image(opened)
        except MemoryError:
            raise too_large("the picture takes more memory than there is", hint=SMALLER) from None


def _wrapped(data: bytes, kind: str) -> str:
    """In words, what a picture's file seems to be in; "" where it does not."""
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return "a form"
    if is_json(kind):
        return "JSON"
    return "base64" if data.startswith(BASE64) else ""


def cut(pixels: np.ndarray, box: Sequence[int] | None) -> np.ndarray:
    """The part X0 Y0 X1 Y1, right and bottom exclusive, of a picture (H, W, 3); all of it where ``box`` is None.

    Raises:
        Problem: There is nothing in it.
    """
    if box is None:
        return pixels
    x0, y0, x1, y1 = box
    part = pixels[y0:y1, x0:x1]
    if not part.size:
        raise unusable(f"the part {list(box)} holds nothing of the picture", hint="X0 Y0 X1 Y1 inside of it")
    return part


def preview(pixels: np.ndarray, side: int) -> tuple[bytes, str]:
    """A picture for the page, ``side`` pixels at most: the bytes and their media type."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue(), "image/jpeg"


def too_many_pixels(limits: Limits) -> Problem:
    """413 for a picture that is larger than the server takes."""
    return too_large(f"the picture has more than {limits.pixels / 1e6:g} million pixels", hint=SMALLER)
