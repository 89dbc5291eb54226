"""Masks to choose from: a PNG for each that the model offers for an object, best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from vns_sam.formats.result import Files, Result, each_object
from vns_sam.images.write import encode_image

NAME = "candidates"
ENDING = "_candidate.png"

MOST = 4
"""Files of an object at most: three of a SAM, and one more of a VNS-SAM or HQ-SAM. Names are planned before a model is
loaded; a place that the model has no mask for stays empty."""


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture: ``frog_mask_candidate_0.png``, of several ``frog_mask_1_candidate_2.png``."""
    masks = each_object(stem, "_mask.png", objects)
    stems = [PurePosixPath(mask).with_suffix("").as_posix() for mask in masks]
    return [f"{mask}_candidate_{place}.png" for mask in stems for place in range(MOST)]


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A file for each mask; none where none was asked for."""
    files: Files = {}
    for index, offered in enumerate(result.prediction.candidates or ()):
        for place, mask in enumerate(offered.masks[:MOST]):
            files[paths[index * MOST + place]] = encode_image(mask)
    return files
