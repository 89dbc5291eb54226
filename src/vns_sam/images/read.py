"""Reading pictures of every common kind into one form: (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vns_sam.errors import DataError
from vns_sam.images.find import EXTENSIONS as EXTENSIONS
from vns_sam.images.find import find_images as find_images
from vns_sam.images.opener import ORIENTATION, open_image

logger = logging.getLogger(__name__)

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray

PIXELS_AT_ONCE = 1 << 22
"""Pixels that are converted together."""

_WIDTH, _LENGTH = 256, 257  # the tags of TIFF that say how many columns and rows are stored

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged, too large, or no pictures."""


def read_image(image: ImageLike) -> np.ndarray:
    """Reads a picture.

    EXIF orientation is applied to files and PIL images. Transparent pixels are laid over white, as most
    viewers show them. Values of 16 bits are divided by 65535, whatever range they really fill (one of 12 or 14 bits
    stored in 16 comes out dark: stretch it before). Of an animation's file the first frame is taken, of a PIL image
    the one at which it stands.

    Args:
        image: A path, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA of uint8,
            uint16, bool or float in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB, contiguous.

    Raises:
        DataError: It cannot be read as a picture; one line that says what was found, and in which file.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, "the array")
    if isinstance(image, Image.Image):
        try:  # its pixels may not be decoded yet
            return _from_pil(image, "the picture")
        except DECODER_ERRORS as error:
            raise _damaged("the picture", error) from None
    if isinstance(image, str | os.PathLike):
        return _read_file(Path(image))
    raise DataError(f"an image must be a path, a PIL image or a numpy array, got {type(image).__name__}")


def _read_file(path: Path) -> np.ndarray:
    _check_file(path)
    try:
        with open_image(path) as opened:
            return _from_pil(opened, str(path))
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is not a picture in a format that can be read",
            hint="give a JPEG, PNG, WebP, TIFF or BMP",
        ) from None
    except PermissionError:
        raise _unreadable(path) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise DataError(
            f"{path} has more pixels than the limit of {limit} million",
            hint="scale it down or cut it into tiles",
        ) from None
    except DECODER_ERRORS as error:
        raise _damaged(str(path), error) from None


def _damaged(where: str, error: BaseException) -> DataError:
    return DataError(f"{where} is truncated or damaged ({one_line(error)})", hint="copy or download it again")


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal, by which a run that goes on tells whether its picture is still the same.

    Raises:
        DataError: The file is missing, empty or cannot be read.
    """
    _check_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError:
        raise _unreadable(path) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({one_line(error)})") from None


def stored_size(path: Path) -> tuple[int, int]:
    """(H, W) of a picture as its pixels are stored, before EXIF turns it; only its head is read.

    Raises:
        DataError: It cannot be read as a picture.
    """
    return _head(path)[0]


def upright_size(path: Path) -> tuple[int, int]:
    """(H, W) of a picture as :func:`read_image` gives it; only its head is read.

    Raises:
        DataError: It cannot be read as a picture.
    """
    (height, width), turn = _head(path)
    return (width, height) if turn in _SWAPPING else (height, width)


def must_turn(size: tuple[int, int] | None, path: Path) -> bool:
    """Whether what counts the stored pixels of a picture, and was made for a size of (H, W), has to be turned upright.

    It has to where EXIF turns the picture and its stored pixels have that size. With another size it was made for the
    upright picture, whatever its format says. A picture that cannot be read turns nothing: who reads it tells. Where
    both sizes are the same, that it is turned is noted, once for the folder of the picture.
    """
    try:
        stored, turn = _head(path)
    except DataError:
        return False
    if turn is None or size != stored:
        return False
    if turn not in _SWAPPING or stored[0] == stored[1]:
        _note_doubtful(path.parent, path.name)
    return True


_noted: set[Path] = set()


def _note_doubtful(folder: Path, name: str) -> None:
    if folder not in _noted:
        _noted.add(folder)
        logger.warning(
            "%s: what a COCO file says of %s is turned as EXIF turns the picture, whose size is the same either way; "
            "so it is of others there. This is wrong of files that earlier versions of vns-sam wrote: write them again",
            folder,
            name,
        )


def turn_upright(mask: np.ndarray, path: Path) -> np.ndarray:
    """Turns a mask (H, W) bool, drawn on the pixels of a picture as they are stored, as EXIF turns the picture.

    Raises:
        DataError: The picture cannot be read.
    """
    turn = _head(path)[1]
    return mask if turn is None else np.asarray(Image.fromarray(mask).transpose(turn))


def turn_corners(corners: np.ndarray, path: Path) -> np.ndarray:
    """Turns corners (N, 2) XY between the pixels of a picture as they are stored, as EXIF turns the picture.

    Raises:
        DataError: The picture cannot be read.
    """
    (height, width), turn = _head(path)
    x, y = corners[:, 0], corners[:, 1]
    places = {
        None: (x, y),
        Image.Transpose.FLIP_LEFT_RIGHT: (width - x, y),
        Image.Transpose.ROTATE_180: (width - x, height - y),
        Image.Transpose.FLIP_TOP_BOTTOM: (x, height - y),
        Image.Transpose.TRANSPOSE: (y, x),
        Image.Transpose.ROTATE_270: (height - y, x),
        Image.Transpose.TRANSVERSE: (height - y, width - x),
        Image.Transpose.ROTATE_90: (y, width - x),
    }
    return np.stack(places[turn], axis=1)


def turn_boxes(boxes: np.ndarray, path: Path) -> np.ndarray:
    """Turns boxes (P, 4) XYXY, right and bottom exclusive; see :func:`turn_corners`."""
    corners = turn_corners(boxes.reshape(-1, 2), path).reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = tuple(turn for number, turn in _TURNS.items() if number > 4)


def _head(path: Path) -> tuple[tuple[int, int], Image.Transpose | None]:
    """(H, W) as stored, and how EXIF turns the picture."""
    _check_file(path)
    try:
        with open_image(path) as opened:
            try:
                turn = _TURNS.get(opened.getexif().get(ORIENTATION, 1))
            except DECODER_ERRORS:
                turn = None
            return _stored(opened), turn
    except DECODER_ERRORS as error:
        raise DataError(f"{path} is not a picture that can be read ({one_line(error)})") from None


def _stored(opened: Image.Image) -> tuple[int, int]:
    """(H, W) of an opened picture as its pixels are stored. Newer Pillows give the size of a TIFF as it will be once
    it is turned, so its tags are asked.
    """
    tags = getattr(opened, "tag_v2", None)
    return (opened.height, opened.width) if tags is None else (tags[_LENGTH], tags[_WIDTH])


def _check_file(path: Path) -> None:
    """Refuses what is no file with content, before a decoder sees it."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, expected an image file")
        if not path.exists():
            raise DataError(f"no image at {path}", hint="check the path and the working directory")
        if not path.is_file():
            raise DataError(f"{path} is not a regular file")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes)", hint="copy or download it again")
    except PermissionError:
        raise _unreadable(path) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} is not a usable path ({one_line(error)})") from None


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path} cannot be read: permission denied", hint="check the permissions of the file")


def _from_pil(image: Image.Image, where: str) -> np.ndarray:
    if 0 in image.size:
        raise DataError(f"{where} has no pixels: it is {image.width} x {image.height}")
    if getattr(image, "is_animated", False) and image.format != "MPO" and image.tell() == 0:
        logger.warning("%s holds %d frames, only the first is used here", where, getattr(image, "n_frames", 2))
    image.load()
    image = _upright(image, where)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_array(_deep_values(image, where), where)
    try:
        return _to_rgb(image)
    except ValueError:
        raise DataError(f"{where} has the colour mode {image.mode}, which has no RGB form here") from None


def _to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) of a picture, transparent pixels over white. It is converted in strips: beside the decoded picture
    there is only the result.
    """
    width, height = image.size
    result = np.empty((height, width, 3), np.uint8)
    rows = max(1, PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        if strip.has_transparency_data:
            rgba = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        result[top : top + rows] = np.asarray(strip.convert("RGB"))
    return result


def _upright(image: Image.Image, where: str) -> Image.Image:
    try:
        turned = image.getexif().get(ORIENTATION, 1) in range(2, 9)
        return ImageOps.exif_transpose(image) if turned else image
    except DECODER_ERRORS as error:
        logger.warning("%s has broken EXIF data, its orientation is ignored (%s)", where, one_line(error))
        return image


def _deep_values(image: Image.Image, where: str) -> np.ndarray:
    """Values of a picture with more than 8 bits: uint16, or float32 in [0, 1]."""
    values = np.asarray(image)
    if image.mode == "F":
        return values
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{where} has values from {values.min()} to {values.max()}, expected 0 to 65535")
    return values.astype(np.uint16)


def _from_array(values: np.ndarray, where: str) -> np.ndarray:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or values.size == 0:
        hint = "move the channels last" if values.ndim == 3 and values.shape[0] in (1, 3, 4) else ""
        raise DataError(f"{where} must have shape (H, W), (H, W, 3) or (H, W, 4), got {values.shape}", hint=hint)
    bytes_ = _to_bytes(values, where)
    if bytes_.shape[2] == 1:
        bytes_ = bytes_.repeat(3, axis=2)
    if bytes_.shape[2] == 4:
        return _from_pil(Image.fromarray(bytes_), where)
    return np.ascontiguousarray(bytes_)


def _to_bytes(values: np.ndarray, where: str) -> np.ndarray:
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint16:
        if 0 < (highest := int(values.max())) < 1 << 14:
            logger.warning("%s uses 16 bits for values up to %d: it reads dark; stretch it to 65535", where, highest)
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"{where} holds floats from {low:g} to {high:g}, expected 0 to 1",
                hint="divide by 255, or by what white is",
            )
        return np.round(values * 255).astype(np.uint8)
    raise DataError(f"{where} holds {values.dtype}, expected uint8, uint16, bool or float in [0, 1]")


def one_line(error: BaseException) -> str:
    """The text of a library's error on one line; its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
