"""Objects of COCO annotation files as pictures of ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.rle import decode_rle, fill_polygon, number_objects

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
    return number_objects(masks, annotated.height, annotated.width)


def _mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    try:
        if isinstance(segmentation, Mapping):
            if list(segmentation["size"]) != [height, width]:
                raise ValueError(f"run lengths of size {segmentation['size']}")
            return decode_rle(segmentation)
        polygons = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
        drawn = np.stack([np.zeros((height, width), bool), *(fill_polygon(p, height, width) for p in polygons)])
        return np.asarray(drawn.any(axis=0))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"expected polygons or a run-length code of {width} x {height} pixels, found {error}",
            hint="download the annotations again",
        ) from None
