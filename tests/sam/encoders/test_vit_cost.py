"""What the ViT costs, in counts: they hold on any machine and under any load."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vns_sam.sam.encoders.vision_transformer import VisionTransformer

CHANNELS, HEADS, WINDOW, MLP, GRID = 32, 4, 14, 128, 20
CELLS = GRID**2


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operator makes, views apart."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not result._is_view():
            self.elements = max(self.elements, result.numel())
        return result


def block(*, whole: bool):
    vit = VisionTransformer(CHANNELS, HEADS, (whole,), WINDOW, MLP, image_size=16 * GRID)
    return vit.layers[0].eval(), torch.randn(1, GRID, GRID, CHANNELS)


@torch.no_grad()
def test_no_cell_that_only_pads_a_window_is_multiplied_or_asks() -> None:
    layer, x = block(whole=False)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    linear = CELLS * (4 * CHANNELS**2 + 2 * CHANNELS * MLP)
    values = CELLS * WINDOW**2 * CHANNELS
    positions = CELLS * 2 * WINDOW * CHANNELS
    assert counter.get_total_flops() == 2 * (linear + values + positions), "keys are multiplied in place, uncounted"


@torch.no_grad()
def test_a_block_over_the_grid_has_neither_all_scores_nor_the_whole_mlp_in_hand(monkeypatch) -> None:
    monkeypatch.setattr("vns_sam.sam.encoders.vision_transformer.STRIP_CELLS", 4 * GRID)
    monkeypatch.setattr("vns_sam.sam.encoders.relative_attention.SCORES_AT_ONCE", 10 * CELLS)
    layer, x = block(whole=True)
    with Largest() as largest:
        layer(x)
    assert largest.elements == 2 * CELLS * CHANNELS, "keys and values of the grid are the largest"
