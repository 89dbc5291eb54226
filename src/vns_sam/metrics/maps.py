"""E, F, weighted F, S and MAE of a gray map against a mask, computed by PySODMetrics (the extra ``eval``).

Sources: E, Fan et al. 2018; F, Achanta et al. 2009; weighted F, Margolin et al. 2014; S, Fan et al. 2017; MAE, Perazzi
et al. 2012. What counts for an empty or a full truth is in ``docs/metrics.md``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from scipy.special import expit

from vns_sam.errors import DataError, MissingExtraError

MAP_METRICS = (
    "mae",
    "s",
    "weighted_f",
    "mean_e",
    "max_e",
    "adaptive_e",
    "mean_f",
    "max_f",
    "adaptive_f",
)

CURVE_LENGTH = 256
"""Thresholds of the curves of E and F, from the highest gray level to the lowest."""

BETA_SQUARED = 0.3
"""Weight of precision in F, the field's choice; weighted F has 1."""


def check_library() -> None:
    """Checks, without importing it, that PySODMetrics is installed.

    Raises:
        MissingExtraError: It is not.
    """
    if importlib.util.find_spec("py_sod_metrics") is None:
        raise _missing()


def saliency_map(logits: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """The gray map of a prediction as the authors score it: sigmoid, stretched to its own range, truncated to 8 bit.

    A constant map has no range and is not stretched.

    Args:
        logits: (H, W) float.
        counted: Pixels (H, W) bool that count, None where all do; the others are 0 and have no part in the range.

    Returns:
        (H, W) uint8; unless constant, its least value is 0 and its greatest 255.

    Raises:
        DataError: The logits are empty or hold NaN, or no pixel counts.
    """
    if counted is not None:
        whole = np.zeros(counted.shape, np.uint8)
        whole[counted] = saliency_map(logits[counted])
        return whole
    probability = expit(np.asarray(logits, np.float32))
    if probability.size == 0 or np.isnan(probability).any():
        raise DataError(f"expected logits without NaN, found {probability.shape} with NaN or without pixels")
    low, high = probability.min(), probability.max()
    if high > low:
        probability = (probability - low) / (high - low)
    return (probability * 255).astype(np.uint8)


def map_scores(
    probability: np.ndarray, truth: np.ndarray, metrics: Collection[str], counted: np.ndarray | None = None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Scores one map.

    Args:
        probability: (H, W) uint8; stretched to its own range unless it is constant.
        truth: (H, W) bool of the same size.
        metrics: Some of :data:`MAP_METRICS`.
        counted: Pixels (H, W) bool that count, None where all do; at the others map and truth are empty. MAE, E and F
            are taken of the counted pixels, S with quarters of the picture of which only these count. Weighted F knows
            no found background, so that pixels without an error have no part in it.

    Returns:
        The metrics asked for, without ``max_e`` and ``max_f``, whose maximum is taken over the mean curve of a
        set; and for these the curve ``"e"`` or ``"f"``, (256,) float32. Everything is finite. E may exceed 1 by
        1 / (pixels - 1), as its definition divides by pixels - 1.

    Raises:
        MissingExtraError: PySODMetrics is not installed.
    """
    try:
        import py_sod_metrics as library
    except ImportError:
        raise _missing() from None
    whole = _stretched(probability, counted), truth
    pair = whole if counted is None else (whole[0][counted][None], truth[counted][None])
    values: dict[str, float] = {}
    curves: dict[str, np.ndarray] = {}
    if "mae" in metrics:
        values["mae"] = float(_mae(library, *pair))
    if "s" in metrics:
        values["s"] = float(_s(library, *whole, counted))
    if "weighted_f" in metrics:
        values["weighted_f"] = float(_weighted_f(library, *whole))
    for letter, sweep in (("e", _e), ("f", _f)):
        mean, top, adaptive = (f"{kind}_{letter}" for kind in ("mean", "max", "adaptive"))
        if not {mean, top, adaptive} & set(metrics):
            continue
        at_own_threshold, curve = sweep(library, *pair)
        if mean in metrics:
            values[mean] = float(curve.mean())
        if adaptive in metrics:
            values[adaptive] = float(at_own_threshold)
        if top in metrics:
            curves[letter] = curve.astype(np.float32)
    return values, curves


def _missing() -> MissingExtraError:
    return MissingExtraError("pysodmetrics", extra="eval", purpose="scoring with E, F, weighted F, S or MAE")


def _stretched(probability: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """What PySODMetrics makes of a map: float64 in [0, 1], 0 where pixels do not count. Done here, it is done once for
    all measures.
    """
    if counted is not None:
        whole = np.zeros(counted.shape)
        whole[counted] = _stretched(probability[counted])
        return whole
    values = probability / 255
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values


# PySODMetrics' measures gather a set; a fresh one for each picture gives that picture's score.


def _mae(library: Any, probability: np.ndarray, truth: np.ndarray) -> float:
    measure = library.MAE()
    measure.step(probability, truth, normalize=False)
    return measure.get_results()["mae"]


def _s(library: Any, probability: np.ndarray, truth: np.ndarray, counted: np.ndarray | None = None) -> float:
    measure = library.Smeasure()
    similarity = measure.ssim
    # An object at the last row or column leaves quarters without pixels, whose weight is 0 and similarity 0 / 0.
    measure.ssim = lambda a, b: similarity(a, b) if a.size else 0.0
    if counted is None:
        measure.step(probability, truth, normalize=False)
    else:
        measure.region = lambda *_: _regions(measure.ssim, probability, truth, counted)
        measure.step(probability[counted][None], truth[counted][None], normalize=False)
    return measure.get_results()["sm"]


def _regions(
    similarity: Callable[..., float], probability: np.ndarray, truth: np.ndarray, counted: np.ndarray
) -> float:
    """The region-aware half of S where not every pixel counts: the similarities of the four quarters around the
    object's centre, each of its counted pixels and weighted by their share.
    """
    y, x = (int(centre) + 1 for centre in np.argwhere(truth).mean(axis=0).round())
    total = 0.0
    for rows in (slice(0, y), slice(y, None)):
        for columns in (slice(0, x), slice(x, None)):
            inside = counted[rows, columns]
            quarter = (each[rows, columns][inside][None] for each in (probability, truth))
            total += similarity(*quarter) * np.count_nonzero(inside) / np.count_nonzero(counted)
    return total


def _weighted_f(library: Any, probability: np.ndarray, truth: np.ndarray) -> float:
    measure = library.WeightedFmeasure()
    measure.step(probability, truth, normalize=False)
    return measure.get_results()["wfm"]


def _e(library: Any, probability: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    measure = library.Emeasure()
    measure.step(probability, truth, normalize=False)
    result = measure.get_results()["em"]
    if truth.size == 1:  # the definition divides by pixels - 1
        return min(result["adp"], 1.0), np.minimum(result["curve"], 1.0)
    return result["adp"], result["curve"]


def _f(library: Any, probability: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    handler = library.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=BETA_SQUARED)
    measure = library.FmeasureV2({"f": handler})
    measure.step(probability, truth, normalize=False)
    result = measure.get_results()["f"]
    return result["adaptive"], result["dynamic"]
