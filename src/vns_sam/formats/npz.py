"""NumPy archives: masks, scores, boxes and classes of one picture, for programs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.images.write import encode_archive
from vns_sam.types import Prediction

NAME = "npz"
ENDING = "_mask.npz"


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file: ``masks`` (P, H, W) bool, ``scores`` (P,), ``boxes`` (P, 4), ``classes`` (P,), ``alpha`` if any."""
    prediction = result.prediction
    arrays: dict[str, np.ndarray] = {
        "masks": np.asarray(prediction.masks, bool),
        "scores": prediction.scores,
        "boxes": prediction.boxes,
        "classes": np.array(result.labels, dtype=str),
    }
    alphas = result.alphas
    if alphas is not None:
        arrays["alpha"] = alphas
    return {paths[0]: encode_archive(_entry(name, array) for name, array in arrays.items())}


def _entry(name: str, array: np.ndarray) -> tuple[str, bytes]:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return f"{name}.npy", file.getvalue()


def read(content: bytes, where: str) -> Prediction:
    """Reads such an archive; logits are those of certain answers.

    Raises:
        DataError: It is another archive.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            found: dict[str, Any] = {name: archive[name] for name in archive.files}
        masks = np.asarray(found["masks"], bool)
        alpha = found["alpha"].astype(np.float32) / 255 if "alpha" in found else None
        logits = np.where(masks, np.float32(10), np.float32(-10))
        classes = tuple(map(str, found["classes"]))
        return Prediction(masks, logits, found["scores"], None, found["boxes"], alpha, classes=classes)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"expected masks, scores, boxes and classes in {where}: {error}") from None


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)
