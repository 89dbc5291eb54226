"""Maps of strokes as people save them: codes, black and white, trimaps, layers with transparency, colours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import ImageColor

from vns_sam.errors import DataError, UsageError
from vns_sam.images.opener import open_image
from vns_sam.prompts.codes import BACKGROUND, OBJECT, UNLABELLED

HINT = "a label map holds 0 unlabelled, 1 object, 2 background; see docs/ws-sam-labels.md"
IMPORT_HINT = "name the colours: vns-sam data import-labels DIR --object red --background blue ..."

Colours = Mapping[tuple[int, int, int], int]
"""RGB -> code."""

_NEAR = 40  # how far a channel may be from a named colour: brushes have soft edges, JPEG changes values
_MIDDLE = (100, 155)  # gray of what a trimap leaves open


def read_label_map(path: Path, shape: tuple[int, int] | None = None, colours: Colours | None = None) -> np.ndarray:
    """Reads a label map.

    Without ``colours`` these are understood: the codes 0, 1 and 2; 0 and 255, strokes on the object; a trimap of 0
    (background), a middle gray (unlabelled) and 255 (object); 0 and 1 amid 255, as ScribbleSup has it (255 is
    unlabelled, 0 background); a transparent layer with strokes in one colour, on the object.

    Args:
        path: A picture; of a palette, the indices are the codes.
        shape: (H, W) of its picture, or None where that is not known.
        colours: What each colour means; other colours are unlabelled.

    Returns:
        (H, W) uint8 in {0, 1, 2}.

    Raises:
        DataError: The file is missing or no picture, holds colours or values without a meaning, or has another size.
    """
    try:
        with open_image(path) as file:
            pixels = np.asarray(file.convert("RGBA")) if colours else np.asarray(file)
    except FileNotFoundError:
        raise DataError(f"expected a label map at {path}, found no file there", hint=HINT) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"expected a label map at {path}, found no picture: {error}", hint="check the file") from None
    if shape is not None and pixels.shape[:2] != shape:
        sizes = [f"{width} x {height}" for height, width in (shape, pixels.shape[:2])]
        raise DataError(
            f"expected a label map of {sizes[0]} pixels at {path}, found {sizes[1]}",
            hint="draw it on the picture itself; a resized label map is no label map",
        )
    return _from_colours(pixels, colours) if colours else _from_values(pixels, path)


def parse_colour(text: str) -> tuple[int, int, int]:
    """A colour of the command line: a name, ``#ff0000``, ``255,0,0``, or a gray value.

    Raises:
        UsageError: It is none.
    """
    values = text.split(",")
    try:
        if all(value.strip().isdecimal() for value in values) and len(values) in (1, 3):
            numbers = [int(value) for value in values] * (3 // len(values))
            if max(numbers) < 256:
                return numbers[0], numbers[1], numbers[2]
        red, green, blue = ImageColor.getrgb(text)[:3]
        return red, green, blue
    except ValueError:
        raise UsageError(f"expected a colour, found '{text}'", hint="red, #ff0000, 255,0,0, or a gray value") from None


def _from_colours(pixels: np.ndarray, colours: Colours) -> np.ndarray:
    """Codes by the nearest named colour; transparent pixels are unlabelled."""
    named = np.array(list(colours), np.int16)
    off = np.abs(pixels[..., None, :3].astype(np.int16) - named).max(axis=-1)
    nearest = off.argmin(axis=-1)
    codes = np.array(list(colours.values()), np.uint8)[nearest]
    codes[(off.min(axis=-1) > _NEAR) | (pixels[..., 3] < 128)] = UNLABELLED
    return codes


def _from_values(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.ndim == 3:
        colours, alpha = pixels[..., :3], pixels[..., -1] if pixels.shape[2] in (2, 4) else None
        if alpha is not None and alpha.min() < alpha.max():
            drawn = np.unique(pixels[alpha >= 128][:, : pixels.shape[2] - 1], axis=0)
            if len(drawn) == 1:
                return (alpha >= 128).astype(np.uint8)
            raise _unknown(f"strokes of {len(drawn)} colours ({_shown(drawn)})", path, IMPORT_HINT)
        if pixels.shape[2] > 2 and np.any(colours[..., 1:] != colours[..., :1]):
            found = np.unique(colours.reshape(-1, 3), axis=0)
            raise _unknown(f"colours ({_shown(found)})", path, IMPORT_HINT)
        pixels = pixels[..., 0]
    values = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    found = np.unique(values).tolist()
    if set(found) <= {UNLABELLED, OBJECT, BACKGROUND}:
        return values.astype(np.uint8)
    if found == [0, 255]:
        return (values > 0).astype(np.uint8)
    if len(found) == 3 and found[::2] == [0, 255] and _MIDDLE[0] <= found[1] <= _MIDDLE[1]:
        return np.select([values == 255, values == 0], [OBJECT, BACKGROUND], UNLABELLED).astype(np.uint8)
    if found == [0, 1, 255] and (values == 255).mean() > 0.5:
        return np.select([values == 1, values == 0], [OBJECT, BACKGROUND], UNLABELLED).astype(np.uint8)
    shown = ", ".join(str(int(code)) for code in found[:6]) + (", ..." if len(found) > 6 else "")
    lossy = path.suffix.lower() in (".jpg", ".jpeg", ".webp")
    raise _unknown(shown, path, f"JPEG changes values: {IMPORT_HINT.replace('red', '255')}" if lossy else HINT)


def _unknown(found: str, path: Path, hint: str) -> DataError:
    return DataError(f"expected the codes 0, 1 and 2 in {path}, found {found}", hint=hint)


def _shown(colours: np.ndarray) -> str:
    some = ", ".join("#" + "".join(f"{value:02x}" for value in colour) for colour in colours[:4].tolist())
    return some + (", ..." if len(colours) > 4 else "")
