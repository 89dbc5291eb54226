"""The scores of a picture and of a set."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vns_sam.errors import DataError, UsageError
from vns_sam.metrics.hce import hce
from vns_sam.metrics.iou import boundary_iou, iou
from vns_sam.metrics.maps import CURVE_LENGTH, MAP_METRICS, check_library, map_scores, saliency_map

__all__ = [
    "METRICS",
    "ImageScores",
    "check_installed",
    "parse_metrics",
    "saliency_map",
    "score_image",
    "summarise",
]

METRICS = ("iou", "biou", *MAP_METRICS, "hce")
"""Every metric, in the order of tables."""


@dataclass(frozen=True)
class ImageScores:
    """One prediction against one truth.

    Attributes:
        values: The metrics asked for, without ``max_e`` and ``max_f``.
        curves: ``"e"`` for ``max_e``, ``"f"`` for ``max_f``: the measure at 256 thresholds, (256,) float32.
    """

    values: dict[str, float]
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready and exact; a curve is its 1024 bytes in base64, little-endian."""
        curves = {k: base64.b64encode(c.astype("<f4").tobytes()).decode("ascii") for k, c in self.curves.items()}
        return {"values": self.values, "curves": curves}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageScores:
        """Reads :meth:`to_json` back.

        Raises:
            DataError: It is something else.
        """
        try:
            curves = {str(k): _read_curve(text) for k, text in value["curves"].items()}
            return cls({str(k): float(v) for k, v in value["values"].items()}, curves)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"expected the scores of a picture, found something else: {error}") from None


def parse_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Checks names of metrics; each once, in the order of :data:`METRICS`.

    Raises:
        UsageError: A name is unknown, or there is none.
    """
    asked = list(names)
    for name in asked:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown metric '{name}'", hint=f"{hint} one of {', '.join(METRICS)}".strip())
    if not asked:
        raise UsageError("expected at least one metric, found none", hint=f"some of {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in asked)


def check_installed(metrics: Iterable[str]) -> None:
    """Checks, before any work, that what some metrics need is there.

    Raises:
        MissingExtraError: It is not.
    """
    if set(metrics) & set(MAP_METRICS):
        check_library()


def score_image(
    found: np.ndarray,
    probability: np.ndarray | None,
    truth: np.ndarray,
    metrics: Sequence[str],
    skeletons: Path | None = None,
    counted: np.ndarray | None = None,
) -> ImageScores:
    """Scores one prediction.

    Args:
        found: The predicted mask, (H, W) bool; IoU and boundary IoU are taken of it.
        probability: The predicted map, (H, W) uint8, see :func:`saliency_map`; all other metrics are taken of it.
            None stands for ``found`` as a map of 0 and 255.
        truth: The true mask, (H, W) bool.
        metrics: Some of :data:`METRICS`.
        skeletons: Folder that keeps the skeletons of true masks, which only HCE needs; None keeps none.
        counted: Pixels (H, W) bool that count, None where all do. Mask, map and truth have to be empty at the others,
            where nothing is then wrong; the measures of maps leave them out, too.

    Raises:
        UsageError: A metric is unknown.
        DataError: Sizes or types differ from the above, there is no pixel, or the folder cannot be written.
        MissingExtraError: A metric needs PySODMetrics, which is not installed.
    """
    metrics = parse_metrics(metrics)
    _check(found, probability, truth, counted)
    values: dict[str, float] = {}
    if "iou" in metrics:
        values["iou"] = iou(found, truth)
    if "biou" in metrics:
        values["biou"] = boundary_iou(found, truth)
    if probability is None:
        probability = found.astype(np.uint8) * 255
    if "hce" in metrics:
        values["hce"] = hce(probability, truth, skeletons)
    of_map = [name for name in metrics if name in MAP_METRICS]
    if not of_map:
        return ImageScores(values)
    map_values, curves = map_scores(probability, truth, of_map, counted)
    return ImageScores(values | map_values, curves)


def summarise(scores: Iterable[ImageScores]) -> dict[str, float]:
    """Scores of a set: means over its pictures; ``max_e`` and ``max_f`` are the maximum of the mean curve.

    Returns:
        The metrics in the order of :data:`METRICS`.

    Raises:
        DataError: There is no picture, or the pictures were scored with different metrics.
    """
    sums: dict[str, float] = {}
    curves: dict[str, np.ndarray] = {}
    names: frozenset[str] | None = None
    count = 0
    for picture in scores:
        asked = frozenset(picture.values) | {f"max_{letter}" for letter in picture.curves}
        if names is not None and asked != names:
            raise DataError(f"expected the same metrics for each picture, found {sorted(names)} and {sorted(asked)}")
        names, count = asked, count + 1
        for name, value in picture.values.items():
            sums[name] = sums.get(name, 0.0) + value
        for letter, curve in picture.curves.items():
            curves[letter] = curves.get(letter, 0.0) + curve.astype(np.float64)
    if names is None:
        raise DataError("expected at least one scored picture, found none", hint="check the set and its list")
    means = {name: total / count for name, total in sums.items()}
    means |= {f"max_{letter}": float(total.max()) / count for letter, total in curves.items()}
    return {name: means[name] for name in METRICS if name in means}


def _read_curve(text: str) -> np.ndarray:
    curve = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    if curve.shape != (CURVE_LENGTH,):
        raise ValueError(f"a curve of {curve.size} values")
    return curve


def _check(found: np.ndarray, probability: np.ndarray | None, truth: np.ndarray, counted: np.ndarray | None) -> None:
    """Refuses what cannot be scored."""
    if truth.ndim != 2 or truth.size == 0:
        raise DataError(f"expected a true mask (H, W) with pixels, found shape {truth.shape}")
    for name, array, kind in (
        ("mask", found, np.bool_),
        ("map", probability, np.uint8),
        ("true mask", truth, np.bool_),
        ("mask of what counts", counted, np.bool_),
    ):
        if array is None:
            continue
        if array.dtype != kind:
            raise DataError(f"expected a {name} of {np.dtype(kind)}, found {array.dtype}")
        if array.shape != truth.shape:
            raise DataError(
                f"expected a {name} of shape {truth.shape} as the true mask has, found {array.shape}",
                hint="bring the prediction to the size of the truth",
            )
    if counted is None:
        return
    if not counted.any():
        raise DataError("expected pixels that count, found none")
    for name, array in (("mask", found), ("map", probability), ("true mask", truth)):
        if array is not None and array[~counted].any():
            raise DataError(f"expected a {name} that is empty where pixels do not count, found another")
