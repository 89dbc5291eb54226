"""Maps of strokes as people save them: codes, black and white, trimaps, layers with transparency, colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from vns_sam.errors import DataError, UsageError
from vns_sam.formats.png import LOSSY
from vns_sam.images.opener import open_image
from vns_sam.prompts.codes import BACKGROUND, OBJECT, UNLABELLED

HINT = "a label map holds 0 unlabelled, 1 object, 2 background; see docs/ws-sam-labels.md"
_PAPER_HINT = "say what they mean: data import-labels DIR --object 0, --object 255, or --object 255 --background 0"

Colours = Mapping[tuple[int, int, int], int]
"""RGB -> code."""


class ColourCount:
    """How often the named colours were found in maps, and what else is in these.

    Args:
        colours: The named ones.

    Attributes:
        named: Pixels of each of them.
        others: Pixels of the commonest other colours of each map.
    """

    def __init__(self, colours: Colours) -> None:
        self.colours = colours
        self.named: Counter[tuple[int, int, int]] = Counter()
        self.others: Counter[tuple[int, int, int]] = Counter()

    def missing(self) -> list[str]:
        """One line for each named colour that no map had; none where no map was read."""
        if not self.named and not self.others:
            return []
        others = _shown(np.array([colour for colour, _ in self.others.most_common(3)]))
        more = f"; most of the other pixels are {others}" if others else ""
        return [
            f"no map has the colour {_shown(np.array([colour]))} of the {_MEANS[code]}{more}"
            for colour, code in self.colours.items()
            if not self.named[colour]
        ]

    def add(self, found: np.ndarray, counts: np.ndarray, meant: np.ndarray) -> None:
        """Counts a map: its colours (N, 3), their pixels, and of each the index of the named one, -1 for none."""
        for index, colour in enumerate(self.colours):
            self.named[colour] += int(counts[meant == index].sum())
        left = np.flatnonzero(meant < 0)
        for place in left[np.argsort(-counts[left], kind="stable")][:3]:
            red, green, blue = found[place].tolist()
            self.others[red, green, blue] += int(counts[place])


_NEAR = 40  # how far a channel may be from a named colour: brushes have soft edges, JPEG changes values
_FEW = 64  # a lossless file of so few colours has each of them on purpose; soft edges of coloured strokes bring more
_DAMAGE = 16  # grays that JPEG can make of black
_PLACES = np.array([1, 1 << 8, 1 << 16])  # of red, green and blue in one number
_VOC = np.array(  # Pascal VOC's palette, in which tools write codes: bits of the index by turns, the lowest first
    [
        [sum((index >> 3 * place + channel & 1) << 7 - place for place in range(3)) for channel in range(3)]
        for index in range(256)
    ]
)
_MEANS = {OBJECT: "object", BACKGROUND: "background"}
_MIDDLE = (100, 155)  # gray of what a trimap leaves open


def read_label_map(
    path: Path,
    shape: tuple[int, int] | None = None,
    colours: Colours | None = None,
    count: ColourCount | None = None,
) -> np.ndarray:
    """Reads a label map.

    Without ``colours`` these are understood: the codes 0, 1 and 2; 0 and 255, strokes on the object; a trimap of 0
    (background), a middle gray (unlabelled) and 255 (object); 0 and 1 amid 255, as ScribbleSup has it (255 is
    unlabelled, 0 background); a transparent layer with strokes in one colour, on the object.

    Args:
        path: A picture. The indices of a palette are codes where its colours are Pascal VOC's, or tell nothing; other
            palettes are read by their colours.
        shape: (H, W) of its picture, or None where that is not known.
        colours: What each colour means; other colours are unlabelled. Grays that a palette of codes has not as colours,
            black aside, are its indices.
        count: Is told what of them the map has.

    Returns:
        (H, W) uint8 in {0, 1, 2}.

    Raises:
        DataError: The file is missing or no picture, holds colours or values without a meaning, or has another size.
    """
    try:
        with open_image(path) as file:
            by_index = bool(colours) and _names_indices(file, np.array(list(colours or ())))
            pixels = _colours_of(file, by_index) if colours else _values_of(file, path)
            lossy = file.format in LOSSY
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
    if not colours:
        return _from_values(pixels, path)
    return _from_colours(pixels, colours, path, count, lossy=lossy, by_index=by_index)


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


def _from_colours(
    pixels: np.ndarray, colours: Colours, path: Path, count: ColourCount | None, *, lossy: bool, by_index: bool
) -> np.ndarray:
    """Codes by the nearest named colour in reach; transparent pixels are unlabelled."""
    named = np.array(list(colours), np.int32)
    codes_named = [str(gray) for gray in _grays(named) if 0 < gray <= _DAMAGE]
    if lossy and codes_named:
        raise DataError(
            f"expected a lossless file of the codes {', '.join(codes_named)} at {path}, found one that changes values",
            hint="save the label maps as PNG",
        )
    packed = np.where(pixels[..., 3] < 128, -1, pixels[..., :3].astype(np.int32) @ _PLACES)
    packed, where, pixels_of = np.unique(packed, return_inverse=True, return_counts=True)
    drawn = packed >= 0
    found = packed[:, None] // _PLACES % 256
    off = np.where(drawn[:, None], np.abs(found[:, None] - named).max(axis=-1), 256)
    may_blend = lossy or (len(found) > _FEW and bool((_grays(found) < 0).any()))
    reached = np.where(off <= (0 if by_index else _reach(named, off, may_blend)), off, 256)
    meant = np.where(reached.min(axis=1) < 256, reached.argmin(axis=1), -1)
    if count is not None:
        count.add(found[drawn], pixels_of[drawn], meant[drawn])
    codes = np.array([*colours.values(), UNLABELLED], np.uint8)[meant]
    return codes[where].reshape(pixels.shape[:2])


def _reach(named: np.ndarray, off: np.ndarray, may_blend: bool) -> np.ndarray:
    """How far a channel may be from each of the named colours (K, 3) in a file whose colours are ``off`` (N, K).

    A lossless file of few colours, or of grays alone, has none by chance. There a colour that it holds is that one
    alone, and so is one that is a code: a gray near black, one near another named colour, and in a file of many grays
    each but black and white. Class 2 is then never taken for class 1.
    """
    if may_blend:
        return np.full(len(named), _NEAR)
    grays = _grays(named)
    highest = _NEAR if len(off) <= _FEW else 254
    apart = np.abs(named[:, None] - named).max(axis=-1) + 256 * np.eye(len(named), dtype=np.int32)
    exact = (off == 0).any(axis=0) | (apart.min(axis=0) <= _NEAR) | ((grays > 0) & (grays <= highest))
    return np.where(exact, 0, _NEAR)


def _grays(named: np.ndarray) -> np.ndarray:
    """The values (K,) of colours (K, 3) that are grays, -1 for others."""
    return np.where((named == named[:, :1]).all(axis=1), named[:, 0], -1)


def _palette_of(file: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The indices (H, W) of an open palette map, those in use (K,), and their colours (K, 3)."""
    indices = np.asarray(file)
    used = np.unique(indices)
    palette = np.zeros((256, 3), np.int64)
    given = np.array(file.getpalette("RGB") or [], np.int64).reshape(-1, 3)[:256]
    palette[: len(given)] = given
    return indices, used, palette[used]


def _tells_nothing(used: np.ndarray, shades: np.ndarray) -> bool:
    """Whether a palette gives one colour to several of the indices, or each its own number as gray."""
    return len(np.unique(shades, axis=0)) < len(used) or np.array_equal(shades, np.repeat(used[:, None], 3, axis=1))


def _is_voc(used: np.ndarray, shades: np.ndarray) -> bool:
    """Whether the colours are Pascal VOC's; beside index 1 the void, 255, may have any."""
    known = (used < 255) | (1 not in used)
    return np.array_equal(shades[known], _VOC[used[known]])


def _names_indices(file: Image.Image, named: np.ndarray) -> bool:
    """Whether named colours (K, 3) mean the indices of an open map's palette, not its colours."""
    grays = _grays(named)
    if file.mode != "P" or (grays < 0).any():
        return False
    _, used, shades = _palette_of(file)
    are_codes = _tells_nothing(used, shades) or _is_voc(used, shades)
    return are_codes and not np.isin(_grays(shades), grays[grays > 0]).any()


def _colours_of(file: Image.Image, by_index: bool) -> np.ndarray:
    """The colours (H, W, 4) of an open map; with ``by_index`` its indices as grays."""
    colours = np.array(file.convert("RGBA"))
    if by_index:
        colours[..., :3] = np.asarray(file)[..., None]
    return colours


def _values_of(file: Image.Image, path: Path) -> np.ndarray:
    """The values (H, W) or (H, W, C) of an open map; the indices of a palette where these are codes."""
    if file.mode not in ("P", "PA"):
        return np.asarray(file)
    if file.mode == "P":
        indices, used, shades = _palette_of(file)
        if _tells_nothing(used, shades):
            return indices
        if _is_voc(used, shades):
            if set(used.tolist()) <= {UNLABELLED, OBJECT, BACKGROUND, 255 * (OBJECT in used)}:
                return indices
            if not file.has_transparency_data:
                classes = [str(code) for code in used.tolist() if 0 < code < 255]
                raise _unknown(f"{_some(used)} in Pascal VOC's palette", path, _import_hint(classes[-1:], "codes"))
        if used[-1] <= BACKGROUND and _is_trimap(sorted(shades[:, 0].tolist())) and (shades == shades[:, :1]).all():
            raise _unknown("them in a palette of grays, which are a trimap, too", path, _import_hint(["255", "0"]))
    return np.asarray(file.convert("RGBA" if file.has_transparency_data else "RGB"))


def _is_trimap(found: list[int]) -> bool:
    """Whether sorted gray values are 0, a middle one and 255."""
    return len(found) == 3 and found[::2] == [0, 255] and _MIDDLE[0] <= found[1] <= _MIDDLE[1]


def _from_values(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.ndim == 3:
        colours, alpha = pixels[..., :3], pixels[..., -1] if pixels.shape[2] in (2, 4) else None
        if alpha is not None and alpha.min() < alpha.max():
            strokes = pixels[alpha >= 128][:, : pixels.shape[2] - 1]
            drawn, counts = np.unique(strokes, axis=0, return_counts=True)
            if len(drawn) == 1:
                return (alpha >= 128).astype(np.uint8)
            hint = _import_hint(_commonest(drawn, counts)[:2])
            raise _unknown(f"strokes of {len(drawn)} colours ({_shown(drawn)})", path, hint)
        if pixels.shape[2] > 2 and np.any(colours[..., 1:] != colours[..., :1]):
            found, counts = np.unique(colours.reshape(-1, 3), axis=0, return_counts=True)
            raise _unknown(f"colours ({_shown(found)})", path, _import_hint(_commonest(found, counts)[1:]))
        pixels = pixels[..., 0]
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    found = np.unique(values).tolist()
    if set(found) <= {UNLABELLED, OBJECT, BACKGROUND}:
        return values.astype(np.uint8)
    if found == [0, 255] or (found == [255] and pixels.dtype == bool):
        if (share := (values == 255).mean()) > 0.5:
            raise _unknown(f"255 in {share:.0%} of it and 0, where strokes are the smaller part", path, _PAPER_HINT)
        return (values > 0).astype(np.uint8)
    if _is_trimap(found):
        return np.select([values == 255, values == 0], [OBJECT, BACKGROUND], UNLABELLED).astype(np.uint8)
    if found == [0, 1, 255] and (values == 255).mean() > 0.5:
        return np.select([values == 1, values == 0], [OBJECT, BACKGROUND], UNLABELLED).astype(np.uint8)
    hint = HINT
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        grays, counts = np.unique(values, return_counts=True)
        hint = f"JPEG changes values: {_import_hint(_commonest(grays[:, None], counts)[1:2])}"
    raise _unknown(_some(np.array(found)), path, hint)


def _unknown(found: str, path: Path, hint: str) -> DataError:
    return DataError(f"expected the codes 0, 1 and 2 in {path}, found {found}", hint=hint)


def _import_hint(names: list[str], what: str = "colours") -> str:
    """The command that takes the first of ``names`` for the object and the second, if any, for the background."""
    pairs = zip(("--object", "--background"), names or ["COLOUR"], strict=False)
    options = " ".join(f"{kind} {name}" for kind, name in pairs)
    return f"name the {what}: vns-sam data import-labels DIR {options} ..."


def _commonest(found: np.ndarray, counts: np.ndarray) -> list[str]:
    """Up to three colours of a map that can be told apart, the commonest first, as the command line has them.

    Args:
        found: (N, C) colours or grays, each once.
        counts: (N,) their pixels.
    """
    left = found[np.argsort(-counts, kind="stable")].astype(np.int32)
    chosen: list[np.ndarray] = []
    while len(left) and len(chosen) < 3:
        chosen.append(left[0])
        left = left[np.abs(left - left[0]).max(axis=1) > _NEAR]
    return [f'"{_shown(colour[None])}"' if len(colour) == 3 else str(colour[0]) for colour in chosen]


def _some(values: np.ndarray) -> str:
    return ", ".join(str(int(value)) for value in values[:6]) + (", ..." if len(values) > 6 else "")


def _shown(colours: np.ndarray) -> str:
    some = ", ".join("#" + "".join(f"{value:02x}" for value in colour) for colour in colours[:4].tolist())
    return some + (", ..." if len(colours) > 4 else "")
