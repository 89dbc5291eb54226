"""What WS-SAM's feature grouping put together, and how its answer grows from coarse to fine."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from vns_sam.images.overlay import Colour
from vns_sam.images.tiles import CELL, TRUTH, Tile, View, check_size, grid
from vns_sam.types import Prompts
from vns_sam.ws.config import STRIDE
from vns_sam.ws.head import WsSamOutput
from vns_sam.ws.model import WsSamModel

COLOURS: tuple[Colour, ...] = (
    (68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119), (187, 187, 187),
)  # fmt: skip
"""Of the groups, told apart by the colour-blind as well (Tol's "bright"); with more groups they come again."""
STRENGTH = 0.75
"""How much of a tile is the groups' colours; the rest is the picture in gray."""


def inside(model: WsSamModel, image: np.ndarray, prompts: Prompts, truth: np.ndarray) -> tuple[str, np.ndarray]:
    """The figure of a WS-SAM's inside, see :func:`groups_figure`, after its kind; it takes no prompts."""
    return "groups", groups_figure(model, image, truth)


def groups_figure(model: WsSamModel, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Draws the groups of a picture, each level in a row, then its five answers; truth outlined in green.

    A place has the colours of the prototypes that it was assigned to, mixed by their shares: a map of one colour shows
    that nothing was told apart.

    Args:
        model: A WS-SAM.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: The truth has another size than the picture.
    """
    check_size(image, truth, "the true mask")
    output, view = _look(model, image), View(image)
    side = model.config.image_size

    def tile(picture: np.ndarray, caption: str) -> Tile:
        view.draw_outline(picture, truth, TRUTH, width=1.7)
        return Tile(picture, caption)

    first = tile(view.image.copy(), "picture, truth")
    rows: list[list[Tile]] = []
    for level, both in output.groups.items():
        row = [first] if not rows else []
        for kind, shares in zip(("fine", "coarse"), both, strict=True):
            title = f"{shares.shape[1]} {kind} groups, level {level}"
            row.append(tile(_coloured(view, _squared(shares, side)), title))
        rows.append(row)
    names = ["global prior", *(f"answer, level {level}" for level in range(len(output.logits) - 1, 0, -1))]
    answers = (_squared(logits, side)[0].sigmoid().numpy() for logits in output.logits)
    rows.append([tile(view.heat(one), name) for one, name in zip(answers, names, strict=True)])
    return grid(rows, cell=CELL)


def _look(model: WsSamModel, image: np.ndarray) -> WsSamOutput:
    """What the head says of a picture, at the levels' own sizes."""
    found: list[WsSamOutput] = []
    handle = model.head.register_forward_hook(lambda head, given, output: found.append(output))
    try:
        model.segment(image)
    finally:
        handle.remove()
    return found[0]


def _squared(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Maps (1, N, h, w) of the padded input at the size of the square one, (N, S, S)."""
    padded = side + -side % STRIDE
    full = F.interpolate(maps.float(), (padded, padded), mode="bilinear", align_corners=False)
    return full[0, :, :side, :side].cpu()


def _coloured(view: View, shares: torch.Tensor) -> np.ndarray:
    """The groups' colours by their shares (N, S, S) over the picture in gray."""
    colours = np.array([COLOURS[k % len(COLOURS)] for k in range(len(shares))], np.float32)
    mixed = sum(view.soft(one.numpy())[..., None] * colour for one, colour in zip(shares, colours, strict=True))
    gray = view.image.mean(axis=2, keepdims=True)
    return (STRENGTH * mixed + (1 - STRENGTH) * gray).round().clip(0, 255).astype(np.uint8)
