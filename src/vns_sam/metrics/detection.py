"""Average precision of single objects: the COCO protocol on masks, through faster-coco-eval (the extra ``eval``)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from vns_sam.errors import DataError, MissingExtraError
from vns_sam.formats.rle import encode_rle

logger = logging.getLogger(__name__)

Mask = np.ndarray | Mapping[str, Any]
"""A mask (H, W) bool, or its run lengths, see :func:`vns_sam.formats.rle.encode_rle`."""

PRECISIONS = ("ap", "ap50", "ap75")
_ALL_AREAS = 0
_THRESHOLDS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}


@dataclass(frozen=True)
class Finding:
    """One found object.

    Attributes:
        mask: Its mask.
        score: The higher, the surer.
        label: Its class.
    """

    mask: Mask
    score: float
    label: str = ""


@dataclass(frozen=True)
class Truth:
    """One true object.

    Attributes:
        mask: Its mask; one without pixels is no object.
        label: Its class.
    """

    mask: Mask
    label: str = ""


def average_precision(predictions: Iterable[Sequence[Finding]], truths: Iterable[Sequence[Truth]]) -> dict[str, float]:
    """Average precision of a set: the mean over its classes; see :func:`precision_by_class`.

    Returns:
        ``ap``, the mean over the IoU thresholds 0.50, 0.55, ..., 0.95, and ``ap50``, ``ap75``; all in [0, 1].
    """
    by_class = precision_by_class(predictions, truths)
    return {name: float(np.mean([values[name] for values in by_class.values()])) for name in PRECISIONS}


def precision_by_class(
    predictions: Iterable[Sequence[Finding]], truths: Iterable[Sequence[Truth]]
) -> dict[str, dict[str, float]]:
    """Average precision over the objects of each class that has true objects; only objects of one class compete.

    The 100 predictions of a class and picture with the highest scores count. Masks are encoded as they come, so with
    generators only one picture's masks are in memory at a time.

    Args:
        predictions: For each picture its found objects.
        truths: For each picture its true objects.

    Returns:
        By class, sorted, ``ap``, ``ap50`` and ``ap75`` as :func:`average_precision` has them.

    Raises:
        DataError: The two differ in number of pictures, a picture's masks differ in size, a score is not finite,
            or there is no true object.
        MissingExtraError: faster-coco-eval is not installed.
    """
    library = _library()
    gathered = _Gathered(library)
    for predicted, true in zip_longest(predictions, truths):
        if predicted is None or true is None:
            raise DataError("expected predictions and truths of the same pictures, found one list longer")
        gathered.add(predicted, true)
    if not gathered.objects:
        raise DataError("expected at least one true object, found none", hint="check the set's masks_instance/")
    categories = [{"id": number, "name": label or "object"} for label, number in gathered.classes.items()]
    content = {"images": gathered.images, "annotations": gathered.objects, "categories": categories}
    truth = library.COCO(content, print_function=logger.debug)
    measure = library.COCOeval_faster(truth, truth.loadRes(gathered.found), "segm", print_function=logger.debug)
    measure.run()
    precision = np.asarray(measure.eval["precision"])[..., _ALL_AREAS, -1]  # thresholds, recalls, classes
    order = {number: place for place, number in enumerate(measure.params.catIds)}
    found = {}
    for label in sorted(gathered.classes):
        own = precision[..., order[gathered.classes[label]]]
        if (own > -1).any():  # a class without true objects has none
            found[label] = {name: float(own[part].mean()) for name, part in _THRESHOLDS.items()}
    return found


class _Gathered:
    """A set's objects, true and found, as entries of COCO files."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.images: list[dict[str, int]] = []
        self.objects: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []
        self.classes: dict[str, int] = {}

    def add(self, predicted: Sequence[Finding], true: Sequence[Truth]) -> None:
        """Adds a picture."""
        index = len(self.images) + 1
        found = [(_code(each.mask), float(each.score)) for each in predicted]
        objects = [_code(each.mask) for each in true]
        height, width = _common_size([*(code for code, _ in found), *objects], index)
        self.images.append({"id": index, "height": height, "width": width})
        for (code, score), given in zip(found, predicted, strict=True):
            if not math.isfinite(score):
                raise DataError(f"expected finite scores, found {score} in picture {index}")
            self.found.append(self._annotation(index, code, given.label) | {"score": score})
        for code, truth in zip(objects, true, strict=True):
            if area := int(self._library.mask.area(code)):
                box = np.asarray(self._library.mask.toBbox(code)).tolist()
                more = {"id": len(self.objects) + 1, "area": area, "bbox": box, "iscrowd": 0}
                self.objects.append(self._annotation(index, code, truth.label) | more)

    def _annotation(self, image: int, code: Mapping[str, Any], label: str) -> dict[str, Any]:
        number = self.classes.setdefault(label, len(self.classes) + 1)
        return {"image_id": image, "category_id": number, "segmentation": code}


def check_precision() -> None:
    """Checks, before any work, that what average precision needs is there.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    _library()


def _library() -> Any:
    try:
        import faster_coco_eval
    except ImportError:
        raise MissingExtraError("faster-coco-eval", extra="eval", purpose="average precision") from None
    return faster_coco_eval


def _code(mask: Mask) -> dict[str, Any]:
    if not isinstance(mask, np.ndarray):
        return dict(mask)
    if mask.ndim != 2 or mask.dtype != bool or mask.size == 0:
        raise DataError(f"expected a mask (H, W) bool, found {mask.shape} {mask.dtype}")
    return encode_rle(mask)


def _common_size(codes: Sequence[Mapping[str, Any]], index: int) -> tuple[int, int]:
    sizes = {(int(code["size"][0]), int(code["size"][1])) for code in codes}
    if len(sizes) > 1:
        raise DataError(f"expected masks of one size in picture {index}, found {sorted(sizes)}")
    return sizes.pop() if sizes else (1, 1)
