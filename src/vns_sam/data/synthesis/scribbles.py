"""Scribbles, points and boxes as a person in a hurry gives them, simulated from masks.

A person draws one stroke or two along the inside of the object, stays off its border and never finishes, and sweeps
once or twice around it for the background. Draws are seeded by the set and the stem, so a picture's label does not
depend on what else is drawn.
"""

from __future__ import annotations

from collections import deque
from zlib import crc32

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from vns_sam.errors import DataError
from vns_sam.metrics.thinning import skeleton
from vns_sam.prompts.codes import BACKGROUND, OBJECT

_MOST_OBJECTS = 4
_SMALL = 0.08
"""Parts of a mask smaller than this share of the largest one are not annotated by themselves."""

_HEADING = 8
"""Steps at the end of a stroke that tell where it was going."""

_THUMB = 160
"""Longer side of the small mask in which the way of a stroke is found."""


def annotation_rng(dataset: str, stem: str, seed: int = 0) -> np.random.Generator:
    """The source of the draws for one picture."""
    return np.random.default_rng([crc32(f"{dataset}/{stem}".encode()), seed])


def draw_scribbles(mask: np.ndarray, rng: np.random.Generator, overshoot: float = 0.0) -> np.ndarray:
    """Draws strokes on the object and on the background.

    Args:
        mask: (H, W) bool.
        rng: Source of the draws.
        overshoot: Share of the strokes on the object that run over its border at one end, by one to three times their
            width, as those of people do; 0 keeps every stroke pixel on its side.

    Returns:
        (H, W) uint8: 0 unlabelled, 1 object, 2 background. Every stroke pixel has the code of its true side, but where
        a stroke overshoots.

    Raises:
        DataError: There is no object, or no background.
    """
    _check(mask)
    width = _stroke_width(mask.shape, rng)
    codes = np.zeros(mask.shape, np.uint8)
    ink = np.zeros(mask.shape, np.uint8)
    for way in _around(mask, rng):
        _draw(ink, way, width)
    codes[(ink > 0) & ~mask] = BACKGROUND
    ink[:] = 0
    ways = [way for part in _parts(mask) for way in _along(part, rng)]
    for way in ways:
        _draw(ink, way, width)
    codes[(ink > 0) & mask] = OBJECT
    if overshoot:
        ink[:] = 0
        for way in ways:
            if rng.random() < overshoot:
                _draw(ink, _over_the_border(way, mask, width, rng), width)
        codes[ink > 0] = OBJECT
    for code, side in ((OBJECT, mask), (BACKGROUND, ~mask)):
        if not (codes == code).any():  # too thin for a stroke: one dot at the deepest pixel
            codes[np.unravel_index(int(_depth(side).argmax()), mask.shape)] = code
    return codes


def draw_points(mask: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Clicks once well inside each larger part of the object and once on the background near it.

    Args:
        mask: (H, W) bool.
        rng: Source of the draws.

    Returns:
        (x, y, label) with 1 object, 0 background.

    Raises:
        DataError: There is no object, or no background.
    """
    _check(mask)
    inside = [(*_deep_pixel(_depth(part), rng), 1) for part in _parts(mask)]
    away = _depth(~mask)
    wanted = float(np.sqrt(mask.sum())) * rng.uniform(0.2, 0.6)
    near = np.where(away > 0, np.exp(-(((away - wanted) / (0.25 * wanted + 1)) ** 2)) + 1e-9, 0)
    return [*inside, (*_draw_pixel(near, rng), 0)]


def draw_boxes(mask: np.ndarray, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Draws a box around each object; parts that lie near each other are one. Sides are off by 1 % of the box, about.

    Args:
        mask: (H, W) bool.
        rng: Source of the draws.

    Returns:
        XYXY with exclusive right and bottom sides, within the picture.

    Raises:
        DataError: There is no object, or no background.
    """
    _check(mask)
    reach = max(3, round(0.03 * max(mask.shape))) | 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8))
    boxes: list[tuple[float, ...]] = []
    for group in _parts(near > 0):
        ys, xs = np.nonzero(group & mask)
        x0, y0, x1, y1 = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        off = rng.normal(0.003, 0.01, 4) * np.array([x1 - x0, y1 - y0] * 2) * np.array([-1, -1, 1, 1])
        left, top, right, bottom = np.round(np.array([x0, y0, x1, y1]) + off)
        left, top = min(max(left, 0), x1 - 1), min(max(top, 0), y1 - 1)
        right, bottom = max(min(right, mask.shape[1]), left + 1), max(min(bottom, mask.shape[0]), top + 1)
        boxes.append((float(left), float(top), float(right), float(bottom)))
    return boxes


def _check(mask: np.ndarray) -> None:
    if not mask.any() or mask.all():
        what = "background" if mask.any() else "object"
        raise DataError(f"expected an object and background in the mask, found no {what}")


def _stroke_width(shape: tuple[int, ...], rng: np.random.Generator) -> int:
    return max(2, round(max(shape) * rng.uniform(0.006, 0.01)))


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    """The larger connected parts of a mask, largest first."""
    _, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")[:_MOST_OBJECTS]
    return [ids == 1 + k for k in order if areas[k] >= _SMALL * areas.max()]


def _along(part: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Ways (N, 2) XY of the strokes on one part: along it from near one end to near the other, and maybe a limb."""
    small, scale = _thumb(part)
    depth = _depth(small)
    lines = skeleton(small & (depth > 0.15 * depth.max()))
    first = _longest_way(lines)
    if len(first) < 0.35 * np.sqrt(small.sum()):
        first = _across(small, depth, rng)
    found = [first]
    rest = lines & (cv2.distanceTransform(_not_near(first, small.shape), cv2.DIST_L2, 3) > 1.5 * depth.max())
    limb = _longest_way(rest)
    if len(limb) > 0.4 * len(first) and rng.random() < 0.6:
        found.append(limb)
    ways = []
    for way in found:
        low, high = rng.uniform(0.02, 0.22, 2)
        kept = way[int(low * len(way)) : max(int((1 - high) * len(way)), int(low * len(way)) + 1)]
        room = 0.45 * float(depth[kept[:, 1].astype(int), kept[:, 0].astype(int)].mean())
        ways.append((_by_hand(kept, room, rng) + 0.5) / scale - 0.5)
    return ways


def _over_the_border(way: np.ndarray, mask: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """The end of a stroke that goes on as it went, out of the object and a little further: (N, 2) XY."""
    end = way if rng.random() < 0.5 else way[::-1]
    last = end[-1]
    step = last - end[max(0, len(end) - 1 - _HEADING)]
    length = float(np.hypot(*step))
    turn = rng.uniform(0, 2 * np.pi)
    step = step / length if length > 0 else np.array([np.cos(turn), np.sin(turn)])
    further = last + step * np.arange(max(mask.shape))[:, None]
    inside = [_is_inside(mask, place) for place in further]
    out = inside.index(False) if False in inside else len(inside)
    kept: np.ndarray = further[: out + max(1, round(width * rng.uniform(1, 3)))]
    return kept


def _is_inside(mask: np.ndarray, place: np.ndarray) -> bool:
    x, y = place.round().astype(int)
    return bool(0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x])


def _around(mask: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Ways of the strokes on the background: part of a loop around the object, or where there is room."""
    small, scale = _thumb(mask)
    away = _depth(~small)
    ways = []
    for _ in range(1 if rng.random() < 0.45 else 2):
        free = min(float(away.max()), 0.3 * _THUMB)
        level = (away > rng.uniform(0.25, 0.6) * free).astype(np.uint8)
        rim = max(2, round(0.04 * max(small.shape)))
        contours, _ = cv2.findContours(level, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        runs = [run for contour in contours for run in _off_the_rim(contour[:, 0], small.shape, rim)]
        long = [run for run in runs if len(run) > 0.25 * _THUMB] or sorted(runs, key=len)[-1:]
        if not long:
            continue
        loop = long[rng.integers(len(long))].astype(float)
        length = max(2, round(len(loop) * rng.uniform(0.35, 0.8)))
        start = int(rng.integers(len(loop) - length + 1))
        loop = gaussian_filter1d(loop[start : start + length], 6, axis=0, mode="nearest")
        ways.append((_by_hand(loop, 0.12 * free, rng) + 0.5) / scale - 0.5)
    return ways


def _off_the_rim(contour: np.ndarray, shape: tuple[int, ...], rim: int) -> list[np.ndarray]:
    """The runs of a closed contour (N, 2) XY that stay off the picture's border; the corners there are no stroke."""
    limit = np.array(shape[::-1]) - 1 - rim
    free = ((contour >= rim) & (contour <= limit)).all(axis=1)
    if free.all():
        return [contour]
    start = int(np.flatnonzero(~free)[0])
    contour, free = np.roll(contour, -start, axis=0), np.roll(free, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(int), [0]])))
    return [contour[a:b] for a, b in edges.reshape(-1, 2) if b - a > 2]


def _across(small: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bent line through a compact part, where the middle line is too short to be a stroke."""
    ys, xs = np.nonzero(depth > 0.25 * depth.max())
    pixels = np.stack([xs, ys], axis=1).astype(float)
    centre = pixels.mean(axis=0)
    turn = rng.uniform(0, np.pi)
    axis = np.array([np.cos(turn), np.sin(turn)])
    along = (pixels - centre) @ axis
    ends = pixels[int(along.argmin())], pixels[int(along.argmax())]
    bend = centre + np.array([-axis[1], axis[0]]) * rng.normal(0, 0.5) * depth.max()
    t = np.linspace(0, 1, max(8, round(float(np.ptp(along)))))[:, None]
    return (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * bend + t**2 * ends[1]


def _longest_way(lines: np.ndarray) -> np.ndarray:
    """The longest of the shortest ways (N, 2) XY between two pixels of the largest piece of thin lines, nearly."""
    count, ids, stats, _ = cv2.connectedComponentsWithStats(lines.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros((0, 2))
    ys, xs = np.nonzero(ids == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
    pixels = {(int(x), int(y)) for x, y in zip(xs, ys, strict=True)}
    far = _flood((int(xs[0]), int(ys[0])), pixels)[0]
    end, came_from = _flood(far, pixels)
    way = [end]
    while way[-1] != far:
        way.append(came_from[way[-1]])
    return np.array(way, float)


def _flood(
    start: tuple[int, int], pixels: set[tuple[int, int]]
) -> tuple[tuple[int, int], dict[tuple[int, int], tuple[int, int]]]:
    """The pixel that is reached last from ``start``, and where each one was reached from."""
    came_from = {start: start}
    queue = deque([start])
    last = start
    while queue:
        last = x, y = queue.popleft()
        for near in ((x + dx, y + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            if near in pixels and near not in came_from:
                came_from[near] = last
                queue.append(near)
    return last, came_from


def _by_hand(way: np.ndarray, room: float, rng: np.random.Generator) -> np.ndarray:
    """Smooths a way as a hand does and lets it drift sideways by ``room`` at most, with a little tremor."""
    steps = max(4, len(way))
    at = np.linspace(0, len(way) - 1, steps)
    smooth = np.stack([np.interp(at, np.arange(len(way)), way[:, axis]) for axis in (0, 1)], axis=1)
    smooth = gaussian_filter1d(smooth, min(5.0, steps / 6), axis=0, mode="nearest")
    drift = gaussian_filter1d(rng.standard_normal((steps, 2)), min(12.0, steps / 4), axis=0, mode="reflect")
    drift *= min(room, 6.0) / max(1e-6, float(np.abs(drift).max()))
    tremor = gaussian_filter1d(rng.standard_normal((steps, 2)), 1.5, axis=0, mode="reflect") * min(0.3, room)
    return smooth + drift + tremor


def _draw(ink: np.ndarray, way: np.ndarray, width: int) -> None:
    fixed = np.round(way * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(ink, [fixed], False, 1, width, cv2.LINE_8, shift=4)


def _thumb(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """The mask at a longer side of at most ``_THUMB``, nothing lost, and its scale."""
    scale = min(1.0, _THUMB / max(mask.shape))
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return small >= min(0.5, float(small.max())), scale


def _not_near(way: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    free = np.ones(shape, np.uint8)
    x, y = way.round().astype(int).T
    free[y, x] = 0
    return free


def _deep_pixel(depth: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    return _draw_pixel(depth.astype(np.float64) ** 3, rng)


def _draw_pixel(weights: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    mass = np.cumsum(weights.ravel(), dtype=np.float64)
    y, x = divmod(int(np.searchsorted(mass, rng.random() * mass[-1], side="right")), weights.shape[1])
    return x, y


def _depth(mask: np.ndarray) -> np.ndarray:
    """Distance (H, W) of each pixel of a mask from its outside; beyond the picture counts as more of the same."""
    depth: np.ndarray = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return depth
