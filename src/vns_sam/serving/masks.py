"""Masks as clients send and get them: COCO run lengths, PNG, polygons."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from vns_sam.formats.polygons import trace
from vns_sam.formats.rle import decode_rle, run_lengths
from vns_sam.images.write import encode_image
from vns_sam.serving.problems import too_large, unusable

_COUNTS = re.compile(r"[0-o]*")
_ENDLESS = re.compile(r"[P-o]{8}")  # one number of more than eight characters: no picture is that large


def read_mask(rle: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) bool from run lengths that a client sent; they are judged before memory is taken for them.

    Raises:
        Problem: They are no run lengths, or not of a picture of this size.
    """
    if tuple(rle["size"]) != size:
        raise unusable(f"a mask must have the size {list(size)} of its picture, got {rle['size']}")
    counts = rle["counts"]
    if isinstance(counts, str) and (not _COUNTS.fullmatch(counts) or _ENDLESS.search(counts)):
        raise unusable("these are no COCO run lengths", hint="as pycocotools writes them")
    numbers = run_lengths(counts)
    if min(numbers, default=0) < 0 or sum(numbers) != size[0] * size[1]:
        raise unusable("the run lengths of a mask do not add up to its size")
    return decode_rle({"size": list(size), "counts": numbers})


def read_masks(
    rles: Sequence[dict[str, Any]], size: tuple[int, int], memory: int, *, packed: bool = False
) -> Iterator[np.ndarray]:
    """The masks (H, W) bool of one picture, made one after the other.

    Args:
        rles: As for :func:`read_mask`.
        size: (H, W) of the picture.
        memory: Bytes that all of them may take; judged before the first is made.
        packed: Whether the caller keeps a bit of each pixel, else a byte.

    Raises:
        Problem: They would take more (413), or see :func:`read_mask`.
    """
    height, width = size
    nbytes = len(rles) * height * width // (8 if packed else 1)
    check_memory(f"{len(rles)} masks of {width} x {height} pixels", nbytes, memory)
    return (read_mask(rle, size) for rle in rles)


def check_memory(what: str, nbytes: int, memory: int) -> None:
    """Checks that what a request wants at once is not more than the server holds.

    Raises:
        Problem: It is (413).
    """
    if nbytes > memory:
        raise too_large(
            f"{what} take {nbytes / 1e6:.0f} MB, the server holds {memory / 1e6:.0f} MB",
            hint="fewer objects or pictures at a time, or serve --memory",
        )


def as_polygons(mask: np.ndarray) -> list[list[list[list[int]]]]:
    """For each part its rings, the outer one first, along the pixels' edges; each ring [[x, y], ...]."""
    return [[ring.tolist() for ring in part] for part in trace(mask)]


def as_png(values: np.ndarray) -> str:
    """A mask (H, W) bool, or values (H, W) in [0, 1], as a grey PNG in base64."""
    grey = values if values.dtype == bool else (values * 255).round().astype(np.uint8)
    return base64.b64encode(encode_image(grey, photo=True)).decode()


def reduced(values: np.ndarray, side: int) -> np.ndarray:
    """Values (H, W) brought to ``side`` pixels at most."""
    scale = side / max(values.shape)
    if scale >= 1:
        return values
    size = max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale))
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)
