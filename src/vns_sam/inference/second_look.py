"""A second look at a small object: its surroundings are cut out, enlarged to the model's input and asked about again.

A model with a small input sees little of a small object. The two answers are averaged, so that the first keeps the
whole in view and the second adds detail; measured in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vns_sam.dis.model import DisSamModel
from vns_sam.errors import UsageError
from vns_sam.images.geometry import maps_to_original
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import PADDING_LABEL, PromptableModel, Prompts
from vns_sam.ws.model import WsSamModel

ZOOM = 1.5
"""Side of the cut-out relative to the object's longer side."""
LARGEST = 0.7
"""A cut-out that covers more of the picture than this shows nothing new."""
SMALLEST = 32
"""Side of the smallest cut-out in pixels."""
AT_ONCE = 4
"""Cut-outs that are encoded together."""
WANTED_BELOW = 1024
"""Input side in pixels under which a model gains from a second look by default."""


@dataclass(frozen=True)
class Crop:
    """Where to look again for one row of prompts: columns x0 to x1 and rows y0 to y1 of the picture, ends exclusive."""

    row: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The pixels, as an index of (H, W)."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def wants_second_look(model: PromptableModel, asked: bool | None) -> bool:
    """What was asked for, or by default whether the model is known to have a small input and does not refine.

    Raises:
        UsageError: It was asked for, and the model cannot be asked about one object.
    """
    if asked and isinstance(model, WsSamModel):
        raise UsageError(f"'{model.name}' cannot be asked about one object again", hint="leave --second-look out")
    if asked is not None:
        return asked
    if isinstance(model, DisSamModel | WsSamModel) or not isinstance(model, PromptableNetwork):
        return False
    return model.preprocessing.image_size < WANTED_BELOW


def look_again(
    model: PromptableModel, image: np.ndarray, prompts: Prompts, logits: np.ndarray, edges: np.ndarray | None = None
) -> None:
    """Averages a prediction with that of a closer look, in place; objects that fill their picture stay.

    Args:
        model: The model that made the prediction.
        image: (H, W, 3) uint8 RGB.
        prompts: The P prompts.
        logits: (P, H, W) of the first look.
        edges: (P, H, W) edge probability of the first look.
    """
    crops = list(plan_crops(prompts, logits > 0))
    for start in range(0, len(crops), AT_ONCE):
        some = crops[start : start + AT_ONCE]
        features = model.encode([image[crop.window] for crop in some])
        output = model.decode(features, [move_into(prompts, crop) for crop in some], range(len(some)))
        for k, crop in enumerate(some):
            geometry, at = features.geometry[k], (crop.row, *crop.window)
            closer = maps_to_original(output.mask_logits[k : k + 1].float(), geometry)[0]
            logits[at] = (logits[at] + closer.cpu().numpy()) / 2
            if edges is not None and output.edge_logits is not None:
                closer = maps_to_original(output.edge_logits[k : k + 1].float(), geometry)[0].sigmoid()
                edges[at] = (edges[at] + closer.cpu().numpy()) / 2


def plan_crops(prompts: Prompts, masks: np.ndarray) -> Iterator[Crop]:
    """Where a second look is worth while: around the box, else around the mask found and the clicks on it.

    Args:
        prompts: P prompts in a picture (H, W).
        masks: (P, H, W) bool, what was found at first.

    Yields:
        At most one crop for each prompt.
    """
    height, width = masks.shape[1:]
    for row, mask in enumerate(masks):
        extent = _extent(prompts, mask, row)
        if extent is None:
            continue
        x0, y0, x1, y1 = extent
        half = max(x1 - x0, y1 - y0, SMALLEST / ZOOM) * ZOOM / 2
        left, right = (int(np.clip(v, 0, width)) for v in ((x0 + x1) / 2 - half, (x0 + x1) / 2 + half + 1))
        top, bottom = (int(np.clip(v, 0, height)) for v in ((y0 + y1) / 2 - half, (y0 + y1) / 2 + half + 1))
        if right - left > 1 and bottom - top > 1 and (right - left) * (bottom - top) <= LARGEST * height * width:
            yield Crop(row, left, top, right, bottom)


def move_into(prompts: Prompts, crop: Crop) -> Prompts:
    """One row of prompts in the pixels of its crop; clicks outside are dropped."""
    offset = np.array([crop.x0, crop.y0], np.float32)
    size = np.array([crop.x1 - crop.x0, crop.y1 - crop.y0], np.float32)
    at = slice(crop.row, crop.row + 1)
    boxes = points = labels = masks = None
    if prompts.boxes is not None:
        boxes = np.clip(prompts.boxes[at] - np.tile(offset, 2), 0, np.tile(size, 2) - 1)
    if prompts.points is not None and prompts.labels is not None:
        points = prompts.points[at] - offset
        inside = np.all((points >= 0) & (points <= size - 1), axis=2)
        labels = np.where(inside, prompts.labels[at], PADDING_LABEL)
    if prompts.masks is not None:
        masks = prompts.masks[at][:, crop.window[0], crop.window[1]]
    return Prompts(boxes, points, labels, masks)


def _extent(prompts: Prompts, mask: np.ndarray, row: int) -> tuple[float, float, float, float] | None:
    """What one prompt is about, as X0 Y0 X1 Y1; None where it found nothing and has no box."""
    if prompts.boxes is not None:
        x0, y0, x1, y1 = prompts.boxes[row].tolist()
        return x0, y0, x1, y1
    ys, xs = np.nonzero(mask)
    if len(xs) == 0:
        return None
    if prompts.points is not None and prompts.labels is not None:
        clicks = prompts.points[row][prompts.labels[row] == 1]
        xs, ys = np.append(xs, clicks[:, 0]), np.append(ys, clicks[:, 1])
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())
