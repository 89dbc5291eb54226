"""How much darkened pictures are like real dark ones: the paper's Table XVI, and a kernel distance of features.

The kernel inception distance (Binkowski et al. 2018) is the unbiased squared maximum mean discrepancy with the kernel
(x·y / d + 1)³. Its features are those of the bundled sam-tiny, not of Inception: nothing is downloaded, and numbers
compare with each other but not with published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vns_sam.data.pairs import picture_folder
from vns_sam.errors import DataError
from vns_sam.images.find import find_images
from vns_sam.images.read import read_image
from vns_sam.lowlight.luminance import Luminance, measure, pooled
from vns_sam.sam.promptable import PromptableNetwork

SIDE = 256
"""Side in pixels of the square to which pictures are resized for their features."""

LEVEL_SCALES = (7.3, 4.3, 4.4, 3.7)
"""Root mean square of the features of sam-tiny's levels on the 100 daylight pictures of berkeley: divided by it, none
outweighs the others."""

LEAST = 4
"""Pictures that a set needs for a distance."""

HALVES = 200
"""Random halves over which a distance is averaged."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one kind, as far as a report needs them.

    Attributes:
        name: Such as "camera".
        luminance: Of each picture.
        features: (N, D) float64, a row for each picture.
        left_out: How many were not dark enough.
        broken: One line for each picture that cannot be read.
    """

    name: str
    luminance: tuple[Luminance, ...]
    features: np.ndarray
    left_out: int = 0
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class RealismRow:
    """One set in the report.

    Attributes:
        name: Of the set.
        pictures: How many were measured.
        left_out: How many were not dark enough.
        mean: Mean luminance in [0, 255], each picture counting alike.
        sd: Standard deviation of luminance over all pixels.
        sd_of_means: Standard deviation of the pictures' mean luminance.
        kid: Distance from the real set; None for the real set itself.
        kid_error: Its standard error.
    """

    name: str
    pictures: int
    left_out: int
    mean: float
    sd: float
    sd_of_means: float
    kid: float | None
    kid_error: float | None


def gather(
    name: str,
    folder: Path,
    model: PromptableNetwork,
    *,
    below: float = 256.0,
    limit: int | None = None,
    progress: Progress = lambda done, total: None,
) -> PictureSet:
    """Reads a set for the report.

    Args:
        name: What the report calls it.
        folder: A set, see :mod:`vns_sam.data.pairs`, or a folder of pictures.
        model: Whose features are taken.
        below: Pictures of this mean luminance and more are left out.
        limit: Pictures taken at most of those that are dark enough, spread evenly over their names.
        progress: Told about every picture, with how many are done and how many there are.

    Raises:
        DataError: There is no picture, or too few are left.
    """
    place = picture_folder(folder)
    names = find_images(place)
    lights: dict[str, Luminance] = {}
    broken = []
    for done, file in enumerate(names, 1):
        try:
            light = measure(read_image(place / file))
        except DataError as error:
            broken.append(error.message)
        else:
            if light.mean < below:
                lights[file] = light
        progress(done, len(names))
    taken, left_out = [*lights], len(names) - len(lights) - len(broken)
    if limit is not None and len(taken) > limit:
        taken = [taken[k * len(taken) // limit] for k in range(limit)]
    if len(taken) < LEAST:
        raise DataError(
            f"expected {LEAST} pictures or more below a luminance of {below:g} in {folder}, found {len(taken)}"
        )
    features = np.stack([picture_features(model, read_image(place / file)) for file in taken])
    return PictureSet(name, tuple(lights[file] for file in taken), features, left_out, tuple(broken))


@torch.inference_mode()
def picture_features(model: PromptableNetwork, image: np.ndarray) -> np.ndarray:
    """Features (D,) float64 of a picture (H, W, 3) uint8: the means over the grid of all levels of the encoder."""
    square = np.array(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))
    pixels = torch.from_numpy(square).to(model.device).permute(2, 0, 1)[None].float()
    levels = model.encode_pixels(model.preprocessing.normalise(pixels)).levels
    scaled = [level.float().mean((0, 1, 2)) / scale for level, scale in zip(levels, LEVEL_SCALES, strict=True)]
    return torch.cat(scaled).double().cpu().numpy()


def kernel_distance(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """KID of two sets of features (N, D) and (M, D), and its standard error.

    The distance is the mean over random halves of both sets. Their standard deviation is the standard error of the
    distance of the whole sets (the jackknife that deletes a half: Shao and Wu 1989).

    Raises:
        DataError: A set has fewer than four rows.
    """
    if min(len(first), len(second)) < LEAST:
        raise DataError(f"expected {LEAST} pictures or more in each set, found {len(first)} and {len(second)}")
    both = np.concatenate([first, second])
    kernel = (both @ both.T / both.shape[1] + 1) ** 3
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(HALVES):
        a = rng.permutation(len(first))[: len(first) // 2]
        b = len(first) + rng.permutation(len(second))[: len(second) // 2]
        within = _mean_of_others(kernel[np.ix_(a, a)]) + _mean_of_others(kernel[np.ix_(b, b)])
        found.append(within - 2 * kernel[np.ix_(a, b)].mean())
    return float(np.mean(found)), float(np.std(found))


def _mean_of_others(kernel: np.ndarray) -> float:
    """Mean of a square matrix without its diagonal: what makes the estimate unbiased."""
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))


def compare(real: PictureSet, others: Iterable[PictureSet], *, seed: int = 0) -> list[RealismRow]:
    """The rows of the report: the other sets in their order, then the real one."""
    rows = [_row(each, kernel_distance(each.features, real.features, seed=seed)) for each in others]
    return [*rows, _row(real, None)]


def _row(pictures: PictureSet, kid: tuple[float, float] | None) -> RealismRow:
    light = pooled(pictures.luminance)
    spread = float(np.std([each.mean for each in pictures.luminance]))
    distance, error = (None, None) if kid is None else kid
    count = len(pictures.luminance)
    return RealismRow(pictures.name, count, pictures.left_out, light.mean, light.sd, spread, distance, error)


def to_markdown(rows: Sequence[RealismRow]) -> str:
    """The report as a table."""
    lines = [
        "| set | pictures | mean luminance | sd over pixels | sd of means | KID |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        count = f"{row.pictures} of {row.pictures + row.left_out}" if row.left_out else f"{row.pictures}"
        kid = "" if row.kid is None else f"{row.kid:.3f} ± {row.kid_error:.3f}"
        lights = " | ".join(f"{value:.2f}" for value in (row.mean, row.sd, row.sd_of_means))
        lines.append(f"| {row.name} | {count} | {lights} | {kid} |")
    return "\n".join(lines) + "\n"


def to_json(rows: Sequence[RealismRow]) -> dict[str, Any]:
    """The report for ``write_json``."""
    return {"features": "sam-tiny", "side": SIDE, "halves": HALVES, "rows": [asdict(row) for row in rows]}
