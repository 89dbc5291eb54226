"""Average precision of single objects: the COCO protocol on masks, through faster-coco-eval (the extra ``eval``)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from vns_sam.errors import DataError, MissingExtraError
from vns_sam.formats.rle import encode_rle

logger = logging.getLogger(__name__)

Mask = np.ndarray | Mapping[str, Any]
"""A mask (H, W) bool, or its run lengths, see :func:`vns_sam.formats.rle.encode_rle`."""

_ONE_CLASS = 1


def average_precision(
    predictions: Iterable[Sequence[tuple[Mask, float]]], truths: Iterable[Sequence[Mask]]
) -> dict[str, float]:
    """Average precision over the objects of a set, all of one class.

    The 100 predictions of highest score in each picture count. Masks are encoded as they come, so with
    generators only one picture's masks are in memory at a time.

    Args:
        predictions: For each picture its found objects, mask and score; higher scores are surer.
        truths: For each picture its true objects. A mask without pixels is no object.

    Returns:
        ``ap``, the mean over the IoU thresholds 0.50, 0.55, ..., 0.95, and ``ap50``, ``ap75``; all in [0, 1].

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
    categories = [{"id": _ONE_CLASS, "name": "object"}]
    content = {"images": gathered.images, "annotations": gathered.objects, "categories": categories}
    truth = library.COCO(content, print_function=logger.debug)
    measure = library.COCOeval_faster(truth, truth.loadRes(gathered.found), "segm", print_function=logger.debug)
    measure.run()
    stats = measure.stats_as_dict
    return {"ap": stats["AP_all"], "ap50": stats["AP_50"], "ap75": stats["AP_75"]}


class _Gathered:
    """A set's objects, true and found, as entries of COCO files."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.images: list[dict[str, int]] = []
        self.objects: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []

    def add(self, predicted: Sequence[tuple[Mask, float]], true: Sequence[Mask]) -> None:
        """Adds a picture."""
        index = len(self.images) + 1
        found = [(_code(mask), float(score)) for mask, score in predicted]
        objects = [_code(mask) for mask in true]
        height, width = _common_size([*(code for code, _ in found), *objects], index)
        self.images.append({"id": index, "height": height, "width": width})
        for code, score in found:
            if not math.isfinite(score):
                raise DataError(f"expected finite scores, found {score} in picture {index}")
            self.found.append(_annotation(index, code) | {"score": score})
        for code in objects:
            if area := int(self._library.mask.area(code)):
                box = np.asarray(self._library.mask.toBbox(code)).tolist()
                more = {"id": len(self.objects) + 1, "area": area, "bbox": box, "iscrowd": 0}
                self.objects.append(_annotation(index, code) | more)


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


def _annotation(image: int, code: Mapping[str, Any]) -> dict[str, Any]:
    return {"image_id": image, "category_id": _ONE_CLASS, "segmentation": code}


def _common_size(codes: Sequence[Mapping[str, Any]], index: int) -> tuple[int, int]:
    sizes = {(int(code["size"][0]), int(code["size"][1])) for code in codes}
    if len(sizes) > 1:
        raise DataError(f"expected masks of one size in picture {index}, found {sorted(sizes)}")
    return sizes.pop() if sizes else (1, 1)
