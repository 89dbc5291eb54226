"""A camera at night: the picture that a sensor would have given with far too little light.

The picture is brought to linear light, exposed less, tinted, given the noise of a sensor, read out in steps and
encoded as sRGB and JPEG again. The noise is the heteroscedastic Gaussian one of Foi et al. (2008); shot and read noise
are drawn together as in Brooks et al. (2019, "Unprocessing images for learned raw denoising"): both follow the gain.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from scipy.special import ndtr

from vns_sam.lowlight.darkener import Darkened, generator_for
from vns_sam.lowlight.luminance import PAPER_DARKNESS

SPREAD = 0.4
"""Standard deviation of the luminance between pictures, in powers of two."""

SHOT = (1e-5, 4e-4)
"""Least and greatest variance of the shot noise per unit of light; a full sensor is 1."""

TINT = 1.25
"""Greatest gain of red and of blue relative to green; the least is its inverse."""

BITS = (10, 12, 14)
QUALITY = (70, 95)
DARKEST = -14.0
"""Stops beyond which nothing but noise is left."""

STRIP = 2**18
"""Pixels exposed at a time, which bounds memory; the noise does not depend on it."""

_SOLVED_SIDE = 128
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Shot:
    """One picture taken in the dark.

    Attributes:
        stops: Exposure relative to the picture in powers of two, at most 0.
        red: Gain of red relative to green.
        blue: Gain of blue relative to green.
        shot_noise: Variance of the noise per unit of light; a full sensor is 1.
        read_noise: Standard deviation of the noise without light.
        bits: Of the sensor's converter.
        quality: Of the JPEG.
    """

    stops: float
    red: float
    blue: float
    shot_noise: float
    read_noise: float
    bits: int
    quality: int

    @property
    def gains(self) -> np.ndarray:
        """Factors (3,) float32 for red, green and blue in linear light."""
        return (2.0**self.stops * np.array([self.red, 1.0, self.blue])).astype(np.float32)


@dataclass(frozen=True)
class CameraDarkener:
    """The camera model as a :class:`vns_sam.lowlight.darkener.Darkener`.

    Attributes:
        seed: Of all draws; those of one picture follow from it and the picture's name.
        strength: 1 brings pictures to the paper's darkness, mean luminance about 11; 0.5 takes half of the stops.
    """

    seed: int = 0
    strength: float = 1.0

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".jpg"

    @property
    def identity(self) -> dict[str, Any]:
        """All that a result depends on beside the picture and its name."""
        return {"method": "camera", **asdict(self)}

    def __call__(self, image: np.ndarray, name: str) -> Darkened:
        """Darkens one picture (H, W, 3) uint8 RGB."""
        rng = generator_for(self.seed, name)
        shot = draw_shot(image, rng, self.strength)
        return Darkened(take(image, shot, rng), asdict(shot), shot.quality)


def to_linear(image: np.ndarray) -> np.ndarray:
    """SRGB values uint8 as linear light float32 in [0, 1] (IEC 61966-2-1)."""
    return _linear_table()[image]


def draw_shot(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> Shot:
    """Draws how a picture is taken.

    The exposure is metered: at strength 1 the mean luminance of the result, noise included, is expected to be
    :data:`PAPER_DARKNESS` times a log-normal draw. Stops, tint and noise grow with the strength.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: Source of all draws.
        strength: From 0, the picture almost as it is, to 2.
    """
    target = PAPER_DARKNESS * 2 ** (rng.normal(0, SPREAD) - SPREAD**2 * np.log(2) / 2)  # the mean of draws is 1
    red, blue = TINT ** rng.uniform(-1, 1, 2)
    log_shot = rng.uniform(*np.log(SHOT))
    log_read = rng.normal(2.18 * log_shot + 1.20, 0.26)  # Brooks et al., section 3.1; of the variance
    full = Shot(
        stops=0.0,
        red=float(red),
        blue=float(blue),
        shot_noise=float(np.exp(log_shot)),
        read_noise=float(np.exp(log_read / 2)),
        bits=int(rng.choice(BITS)),
        quality=int(rng.integers(QUALITY[0], QUALITY[1] + 1)),
    )
    return Shot(
        stops=strength * _meter(image, full, target),
        red=full.red**strength,
        blue=full.blue**strength,
        shot_noise=strength * full.shot_noise,
        read_noise=strength * full.read_noise,
        bits=full.bits,
        quality=full.quality,
    )


def take(image: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Takes a picture (H, W, 3) uint8 RGB once more, as ``shot`` says; the JPEG is left to whoever stores it."""
    taken = np.empty_like(image)
    rows = max(1, STRIP // image.shape[1])
    for top in range(0, len(image), rows):
        taken[top : top + rows] = _expose(image[top : top + rows], shot, rng)
    return taken


def _expose(image: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    light = to_linear(image)
    light *= shot.gains
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(np.float32(shot.shot_noise) * light + np.float32(shot.read_noise**2))
    light += noise
    top = 2**shot.bits - 1
    codes = np.clip(light * np.float32(top) + np.float32(0.5), 0, top).astype(np.uint16)
    return _encoding_table(shot.bits)[codes]


def blend(bright: np.ndarray, dark: np.ndarray, strength: float) -> np.ndarray:
    """A picture between two of the same view, (H, W, 3) uint8 RGB each: ``strength`` of the stops that part them."""
    light = (to_linear(np.maximum(image, 1)) for image in (bright, dark))  # half a step of light, since 0 has no stops
    mixed = next(light) ** np.float32(1 - strength) * next(light) ** np.float32(strength)
    return (_to_srgb(np.minimum(mixed, 1.0)) * 255 + 0.5).astype(np.uint8)


def _meter(image: np.ndarray, shot: Shot, target: float) -> float:
    """Stops, at most 0, that bring the expected mean luminance of a picture to ``target``, by bisection."""
    scale = min(1.0, _SOLVED_SIDE / max(image.shape[:2]))
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    light = to_linear(cv2.resize(image, size, interpolation=cv2.INTER_AREA)) * shot.gains
    low, high = DARKEST, 0.0
    for _ in range(18):
        middle = (low + high) / 2
        if _expected(light * np.float32(2.0**middle), shot) > target:
            high = middle
        else:
            low = middle
    return high


def _expected(light: np.ndarray, shot: Shot) -> float:
    """Expected mean luminance of light (..., 3): noise that is cut off below zero makes the dark brighter."""
    sd = np.sqrt(shot.shot_noise * light + shot.read_noise**2)
    z = light / sd
    kept = light * ndtr(z) + sd * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return float((_to_srgb(np.minimum(kept, 1.0)) * 255 @ _WEIGHTS).mean())


def _to_srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


@cache
def _linear_table() -> np.ndarray:
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _encoding_table(bits: int) -> np.ndarray:
    """8 bit sRGB value of each code of a converter."""
    return (_to_srgb(np.arange(2**bits) / (2**bits - 1)) * 255 + 0.5).astype(np.uint8)
