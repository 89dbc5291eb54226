"""The masks to choose from: a file for each, best first."""

from __future__ import annotations

from pathlib import Path

from vns_sam.images.write import write_mask
from vns_sam.types import Prediction


def candidate_paths(overlay: Path, objects: int, candidates: int) -> list[list[Path]]:
    """The files of each object: ``frog_mask_candidate_0.png`` and so on, of several ``frog_mask_1_candidate_2.png``.

    Args:
        overlay: Where the overlay of the picture goes; the files lie beside it and are called alike.
        objects: Number of objects.
        candidates: Masks that the model offers for each.
    """
    stem = f"{overlay.stem.removesuffix('_overlay')}_mask"
    names = [stem] if objects == 1 else [f"{stem}_{index}" for index in range(objects)]
    return [[overlay.with_name(f"{name}_candidate_{place}.png") for place in range(candidates)] for name in names]


def write_candidates(prediction: Prediction, paths: list[list[Path]]) -> list[Path]:
    """Writes the candidates of a prediction to the files of :func:`candidate_paths`.

    Raises:
        DataError: A place cannot be written.
    """
    written = []
    for offered, files in zip(prediction.candidates or (), paths, strict=True):
        for file, mask in zip(files, offered.masks, strict=True):
            write_mask(file, mask)
            written.append(file)
    return written


def candidate_scores(prediction: Prediction) -> list[list[float]]:
    """Predicted IoU of the candidates of each object."""
    return [[round(float(score), 4) for score in offered.scores] for offered in prediction.candidates or ()]
