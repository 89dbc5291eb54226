"""Objects of COCO annotation files as pictures of ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np

from vns_sam.errors import DataError

Segmentation = Sequence[Sequence[float]] | Mapping[str, Any]


@dataclass(frozen=True)
class Annotated:
    """The objects of one picture.

    Attributes:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        segmentations: Of each object: polygons, or a run-length code. Crowds are left out.
    """

    height: int
    width: int
    segmentations: tuple[Segmentation, ...]


def read_annotations(content: bytes, where: str) -> dict[str, Annotated]:
    """Reads a COCO file.

    Args:
        content: The JSON text.
        where: Its name, for messages.

    Returns:
        By picture, its file name without folders; pictures without objects included.

    Raises:
        DataError: It is no COCO file.
    """
    try:
        raw = json.loads(content)
        pictures = {picture["id"]: picture for picture in raw["images"]}
        objects: dict[Any, list[Segmentation]] = {key: [] for key in pictures}
        for annotation in raw["annotations"]:
            if annotation["image_id"] in objects and not annotation.get("iscrowd"):
                objects[annotation["image_id"]].append(annotation["segmentation"])
        return {
            PurePosixPath(str(picture["file_name"]).replace("\\", "/")).name: Annotated(
                int(picture["height"]), int(picture["width"]), tuple(objects[key])
            )
            for key, picture in pictures.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"expected a COCO file with images and annotations at {where}, found {type(error).__name__}: {error}",
            hint="download it again",
        ) from None


def draw_objects(annotated: Annotated) -> np.ndarray:
    """Draws the objects of a picture, the largest first, so that small ones stay visible.

    Returns:
        (H, W) uint16: 1, 2, ... in the order of the file, 0 is background.

    Raises:
        DataError: A segmentation is neither polygons nor a run-length code of the picture's size.
    """
    masks = [_mask(segmentation, annotated.height, annotated.width) for segmentation in annotated.segmentations]
    ids = np.zeros((annotated.height, annotated.width), np.uint16)
    for index in sorted(range(len(masks)), key=lambda i: -int(masks[i].sum())):
        ids[masks[index]] = index + 1
    return ids


def _mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    try:
        if isinstance(segmentation, Mapping):
            return _from_runs(segmentation, height, width)
        mask = np.zeros((height, width), np.uint8)
        for polygon in segmentation:
            corners = np.asarray(polygon, np.float64).reshape(-1, 2)
            # COCO counts from the corner of a pixel, OpenCV from its centre; 4 binary digits of a pixel are kept.
            fixed = np.round((corners - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 1, shift=4)
        return mask.astype(bool)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"expected polygons or a run-length code of {width} x {height} pixels, found {error}",
            hint="download the annotations again",
        ) from None


def _from_runs(code: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """COCO's run-length code, (H, W) bool: runs of background and object by turns, column after column."""
    counts = _unpack(code["counts"]) if isinstance(code["counts"], str) else list(code["counts"])
    if list(code["size"]) != [height, width] or sum(counts) != height * width:
        raise ValueError(f"one of size {code['size']}, {sum(counts)} pixels")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def _unpack(text: str) -> list[int]:
    """Runs of COCO's compressed code: 5 bits a character, each run after the second less the one two before."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
