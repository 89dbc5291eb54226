"""A promptable model without weights that answers with the colour of the first click, and pictures for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vns_sam.images.geometry import fit, resize_image
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.prompt_rows import row_geometry
from vns_sam.sam.promptable import batch_prompts
from vns_sam.types import ImageFeatures, ModelInfo, Prompts

SIDE = 64


class ColourModel:
    """Finds what has the red of the first click, or of a box's middle; counts its pictures.

    Args:
        blind: Numbers of the pictures, in order of encoding, in which it finds nothing.
    """

    info = ModelInfo("colours", "colours")

    def __init__(self, blind: Sequence[int] = ()) -> None:
        self.blind = set(blind)
        self.encoded = 0

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Keeps the red channel of each picture in its square."""
        geometry = tuple(fit(*image.shape[:2], SIDE) for image in images)
        reds = torch.full((len(images), 1, SIDE, SIDE), 999.0)
        for k, (image, one) in enumerate(zip(images, geometry, strict=True)):
            red = resize_image(image, one)[..., 0].astype(np.float32)
            reds[k, 0, : one.fitted_height, : one.fitted_width] = torch.from_numpy(red)
            if self.encoded in self.blind:
                reds[k] = 999
            self.encoded += 1
        return ImageFeatures(reds, (), geometry)

    def decode(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int], **_: bool
    ) -> MapAnswers:
        """Logits +8 on that colour, -8 elsewhere; the clicked pixel must be in the picture."""
        maps: dict[int, torch.Tensor] = {}
        for rows, batch in batch_prompts(prompts, image_index, features.geometry, Preprocessing(SIDE, stride=4)):
            for k, row in enumerate(rows):
                red = features.embedding[batch.image_index[k], 0]
                place = batch.points[k, 0] if batch.points is not None else batch.boxes[k].view(2, 2).mean(0)
                x, y = place.int().tolist()
                hit = (red - red[y, x]).abs() < 40
                maps[row] = torch.where(hit & (red < 256), 8.0, -8.0)
        logits = torch.stack([maps[row] for row in sorted(maps)])[:, None]
        scores = np.full(len(logits), 0.75, np.float32)
        return MapAnswers(logits, scores, row_geometry(features, prompts, image_index))


def frog_picture() -> tuple[np.ndarray, np.ndarray]:
    """A picture (48, 64, 3) with one object of another colour, and the object's mask."""
    mask = np.zeros((48, 64), bool)
    mask[10:34, 8:40] = True
    mask[10:18, 24:40] = False
    image = np.full((48, 64, 3), 60, np.uint8)
    image[mask] = 200
    return image, mask


def frog_strokes() -> np.ndarray:
    """A label map for :func:`frog_picture`."""
    codes = np.zeros((48, 64), np.uint8)
    codes[25, 12:36] = 1
    codes[42, 5:60] = 2
    return codes


def write_pond(root: Path, names: Sequence[str] = ("eel.png", "frog.png", "newt.png")) -> tuple[Path, Path]:
    """A set with masks and its label maps: both folders."""
    image, mask = frog_picture()
    for folder in ("pond/images", "pond/masks", "labels"):
        (root / folder).mkdir(parents=True)
    for name in names:
        Image.fromarray(image).save(root / "pond" / "images" / name)
        Image.fromarray(mask).save(root / "pond" / "masks" / name)
        Image.fromarray(frog_strokes()).save(root / "labels" / name)
    return root / "pond", root / "labels"
