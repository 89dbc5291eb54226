"""From what users pass (lists, arrays, tensors) to prompts that are known to make sense in their picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vns_sam.errors import PromptError
from vns_sam.formats.png import read_masks
from vns_sam.types import PADDING_LABEL, Prompts

logger = logging.getLogger(__name__)


def make_prompts(
    height: int,
    width: int,
    *,
    boxes: Any = None,
    points: Any = None,
    labels: Any = None,
    masks: Any = None,
    classes: Sequence[str] | None = None,
    fractions: bool = False,
    sizes: Sequence[Sequence[int]] = (),
) -> Prompts:
    """Checks prompts against their picture. Row k of everything that is given describes object k.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        boxes: (P, 4) or (4,), XYXY in pixels. A box that sticks out is clipped, with a logged warning.
        points: (P, N, 2), or (N, 2) for one object, XY in pixels; rows may be lists of different lengths.
        labels: 1 object, 0 background, in the shape of the points without the last axis; all 1 when omitted.
        masks: (P, H, W) or (H, W): bool, float in [0, 1], or uint8 up to 255; or files of masks, see
            :class:`vns_sam.prompts.files.MaskFile`.
        classes: One name for each object, or none.
        fractions: Whether boxes and points are fractions of the picture's size instead of pixels.
        sizes: See :func:`check_sizes`.

    Returns:
        Prompts in float32, rows of points padded with label -1.

    Raises:
        PromptError: Nothing is given, a shape is wrong, a value is not finite, a box is reversed, empty or
            outside, a point is outside, values that should be pixels are fractions, a label is neither 0 nor 1, or the
            picture has another size than was annotated.
    """
    check_sizes(sizes, height, width)
    for name, rows in (("boxes", boxes), ("points", points), ("masks", masks)):
        if _is_empty(rows):
            raise PromptError(f"{name} hold no object", hint="leave them out; pass over a picture without objects")
    if points is None and labels is not None:
        raise PromptError("labels were given without points", hint="give one point for each label")
    if fractions:
        scale = np.array([width, height])
        boxes = None if boxes is None else _box_rows(boxes) * [*scale, *scale]
        points = None if points is None else [row * scale for row in _point_rows(points)]
    elif points is not None:
        for row in _point_rows(points):
            _check_unit(row, height, width)
    checked_points, checked_labels = (None, None) if points is None else _points(points, labels, height, width)
    if checked_labels is not None and boxes is None and masks is None:
        _note_background_alone(checked_labels)
    return Prompts(
        boxes=None if boxes is None else _boxes(boxes, height, width),
        points=checked_points,
        labels=checked_labels,
        masks=None if masks is None else _masks(_from_files(masks), height, width),
        classes=None if classes is None else tuple(str(name or "") for name in classes),
    )


def check_sizes(sizes: Sequence[Sequence[int]], height: int, width: int, where: str = "") -> None:
    """Checks that a picture still has the size for which it was annotated; a smaller copy may have taken its place.

    Args:
        sizes: (H, W) that annotations of it were made for; a side that is not above 0 tells nothing.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        where: The picture, for the message.

    Raises:
        PromptError: They were made for another size.
    """
    for stated in sizes:
        if min(stated) > 0 and tuple(stated) != (height, width):
            raise PromptError(
                f"{where}{where and ': '}annotated as {stated[1]} x {stated[0]}, the picture is {width} x {height}",
                hint="take the picture that was annotated, or annotate this one",
            )


def count_objects(given: Mapping[str, Any]) -> int:
    """How many objects the arguments of :func:`make_prompts` describe, before their picture is read.

    Args:
        given: By the names of the arguments.

    Returns:
        Their number; 1 where nothing is given, or what :func:`make_prompts` will refuse.
    """
    for name, depth in (("boxes", 2), ("points", 3), ("masks", 3)):
        rows = given.get(name)
        if rows is None:
            continue
        try:
            return max(1, len(rows) if _are_files(rows) else len(_objects(rows, name, depth=depth)))
        except PromptError:
            return 1
    return 1


def whole_picture(height: int, width: int) -> Prompts:
    """The box around the whole picture, which tells nothing."""
    return Prompts(boxes=np.array([[0, 0, width - 1, height - 1]], np.float32))


def _boxes(given: Any, height: int, width: int) -> np.ndarray:
    boxes = _box_rows(given)
    for box in boxes:
        _check_box(box, height, width)
    clipped = boxes.clip(0, [width, height, width, height])
    for before, after in zip(boxes, clipped, strict=True):
        if (before != after).any():
            logger.warning("box %s is clipped to the image: %s", _text(before), _text(after))
    return clipped.astype(np.float32)


def _box_rows(given: Any) -> np.ndarray:
    """(P, 4), one row for each object."""
    boxes = _floats(given, "boxes")
    boxes = boxes[None] if boxes.shape == (4,) else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise PromptError(f"boxes must have shape (P, 4) as X0 Y0 X1 Y1, got {boxes.shape}")
    return boxes


def _check_box(box: np.ndarray, height: int, width: int) -> None:
    x0, y0, x1, y1 = box
    if not np.isfinite(box).all():
        raise PromptError(f"box {_text(box)} is not finite: every value must be a number")
    if _are_fractions(box):
        meant = np.round(box * [width, height, width, height])
        raise PromptError(
            f"box {_text(box)} lies in one pixel: expected pixels, found fractions of the picture's size",
            hint=f"{_text(meant)}, in the {width} x {height} pixels of this picture",
        )
    if x1 < x0 or y1 < y0:
        fixed = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        raise PromptError(
            f"box {_text(box)} is reversed: X0 Y0 X1 Y1 needs X0 < X1 and Y0 < Y1",
            hint=f"{_text(fixed)}, if corners were swapped; X Y WIDTH HEIGHT is not accepted",
        )
    if x1 == x0 or y1 == y0:
        raise PromptError(
            f"box {_text(box)} is empty: it has no area", hint="give X0 Y0 X1 Y1 with X0 < X1 and Y0 < Y1"
        )
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise PromptError(
            f"box {_text(box)} is outside the image, which is {width} x {height} pixels",
            hint="give pixels of the original picture, not fractions of its size",
        )


def _points(given: Any, labels: Any, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows = _point_rows(given)
    for row in rows:
        _check_points(row, height, width)
    label_rows = [np.ones(len(row)) for row in rows] if labels is None else _rows(labels, "labels", depth=2)
    if [row.shape for row in label_rows] != [row.shape[:1] for row in rows]:
        expected, found = (", ".join(str(len(r)) for r in some) for some in (rows, label_rows))
        raise PromptError(f"each point needs one label: {expected} point(s), but {found} label(s)")
    for row in label_rows:
        if not np.isin(row, (0, 1)).all():
            wrong = row[~np.isin(row, (0, 1))][0]
            raise PromptError(f"a label must be 1 (object) or 0 (background), got {wrong:g}")
    longest = max(len(row) for row in rows)
    points_out = np.zeros((len(rows), longest, 2), np.float32)
    labels_out = np.full((len(rows), longest), PADDING_LABEL, np.int64)
    for k, (row, label_row) in enumerate(zip(rows, label_rows, strict=True)):
        points_out[k, : len(row)], labels_out[k, : len(row)] = row, label_row
    return points_out, labels_out


def _point_rows(given: Any) -> list[np.ndarray]:
    """(N, 2) for each object."""
    rows = _rows(given, "points", depth=3)
    for row in rows:
        if row.ndim != 2 or row.shape[1] != 2 or len(row) == 0:
            raise PromptError(f"the points of one object must have shape (N, 2) as X Y, got {row.shape}")
    return rows


def _check_points(row: np.ndarray, height: int, width: int) -> None:
    for point in row:
        if not np.isfinite(point).all():
            raise PromptError(f"point {_text(point)} is not finite: every value must be a number")
        if not (0 <= point[0] < width and 0 <= point[1] < height):
            raise PromptError(
                f"point {_text(point)} is outside the image, which is {width} x {height} pixels",
                hint="give X Y in pixels of the original picture, from 0 at the left and the top",
            )


def _check_unit(row: np.ndarray, height: int, width: int) -> None:
    """Refuses the points of an object that all lie in the first pixel, as those in fractions do."""
    if _are_fractions(row) and min(height, width) > 1:
        meant = np.round(row[0] * [width, height]).clip(0, [width - 1, height - 1])
        raise PromptError(
            f"point {_text(row[0])} is in the first pixel: expected points in pixels, found fractions of the size",
            hint=f"{_text(meant)}, in the {width} x {height} pixels of this picture",
        )


def _are_fractions(values: np.ndarray) -> bool:
    """Whether values in pixels can only be meant as fractions: all within one pixel, and not whole."""
    return bool((values >= 0).all() and (values <= 1).all() and (values != np.round(values)).any())


def _note_background_alone(labels: np.ndarray) -> None:
    alone = (labels == 0).any(axis=1) & ~(labels == 1).any(axis=1)
    if alone.any():
        logger.warning("object %d has background points alone: add a point on the object", int(np.argmax(alone)))


def _from_files(masks: Any) -> Any:
    """Masks (P, H, W) bool of files, each one object of a file. Anything else as it is."""
    if not _are_files(masks):
        return masks
    read = {path: read_masks(path) for path in dict.fromkeys(path for path, _, _ in masks)}
    found = [read[path][index] for path, _, index in masks]
    if len({mask.shape for mask in found}) > 1:
        raise PromptError(f"masks must have one size, found {sorted({mask.shape for mask in found})} in {masks[0][0]}")
    return np.stack(found)


def _are_files(masks: Any) -> bool:
    return isinstance(masks, list | tuple) and bool(masks) and all(_is_file(mask) for mask in masks)


def _is_file(mask: Any) -> bool:
    return isinstance(mask, list | tuple) and len(mask) == 3 and isinstance(mask[0], str)


def _rows(given: Any, name: str, *, depth: int) -> list[np.ndarray]:
    """One array for each object, see :func:`_objects`."""
    return [_floats(row, name) for row in _objects(given, name, depth=depth)]


def _objects(given: Any, name: str, *, depth: int) -> Sequence[Any] | np.ndarray:
    """What is given for each object; a value of one dimension less than ``depth`` is one object."""
    given = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    if not isinstance(given, list | tuple | np.ndarray):
        raise PromptError(f"{name} must be a list or an array, got {type(given).__name__}")
    try:
        dimensions = np.ndim(given)
    except ValueError:  # ragged: rows of different lengths
        dimensions = depth
    return given if dimensions != depth - 1 else [given]


def _masks(given: Any, height: int, width: int) -> np.ndarray:
    """(P, H, W) float32; nothing larger is made on the way."""
    masks = _numbers(given, "masks")
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or masks.shape[1:] != (height, width):
        raise PromptError(
            f"masks must have shape (P, {height}, {width}), the size of the image, got {masks.shape}",
            hint="resize the mask to the image",
        )
    low, high = float(masks.min()), float(masks.max())
    most = 255 if high > 1 and masks.dtype.kind != "f" else 1
    if not (low >= 0 and high <= most):
        raise PromptError(
            f"masks must be in [0, 1], or whole numbers up to 255, got {low:g} to {high:g}",
            hint="pass probabilities, not logits",
        )
    for k, mask in enumerate(masks):
        if not mask.any():
            raise PromptError(f"mask {k} is empty: it marks no pixel")
    made = masks.astype(np.float32)
    return made if most == 1 else np.divide(made, most, out=made)


def _is_empty(given: Any) -> bool:
    """Whether a list or an array has no row."""
    return (isinstance(given, list | tuple) and not given) or tuple(getattr(given, "shape", ())[:1]) == (0,)


def _floats(given: Any, name: str) -> np.ndarray:
    return _numbers(given, name).astype(np.float64, copy=False)


def _numbers(given: Any, name: str) -> np.ndarray:
    """Numbers of the kind that they are given in."""
    given = given.detach().cpu() if hasattr(given, "detach") else given
    try:
        numbers = np.asarray(given)
        return numbers if numbers.dtype.kind in "biuf" else numbers.astype(np.float64)
    except (ValueError, TypeError):
        raise PromptError(f"{name} must be numbers in rows of equal length, got {str(given)[:60]}") from None


def _text(values: Any) -> str:
    return " ".join(f"{value:g}" for value in values)
