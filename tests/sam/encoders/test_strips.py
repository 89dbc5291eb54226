"""Hiera and SAM 3's ViT work in strips on a CPU: the same numbers as in one piece."""

from __future__ import annotations

import pytest
import torch
from foundation_models import narrow_foundation

from vns_sam.sam.encoders import windows


@pytest.mark.parametrize("name", ["sam2", "sam3"])
@torch.no_grad()
def test_strips_do_not_change_the_maps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = narrow_foundation(name)
    side = model.config.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = []
    for cells in (1, 40, 10**6):  # the narrowest strips, some, the whole
        monkeypatch.setattr(windows, "STRIP_CELLS", cells)
        features = model.encode_pixels(pixels)
        found.append((features.embedding, *features.finer, *features.levels))
    for few, some, whole in zip(*found, strict=True):
        torch.testing.assert_close(few, whole, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(some, whole, atol=1e-5, rtol=1e-5)


def test_a_strip_is_whole_rows_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "STRIP_CELLS", 60)
    assert [part.shape[1] for part in windows.strips(torch.zeros(1, 10, 8, 2), 3)] == [6, 4]
    assert [part.shape[1] for part in windows.strips(torch.zeros(1, 10, 8, 2))] == [7, 3]
    assert [part.shape[1] for part in windows.strips(torch.zeros(1, 10, 90, 2), 4)] == [4, 4, 2]
    on_meta = torch.zeros(1, 10, 8, 2, device="meta")
    assert [part.shape[1] for part in windows.strips(on_meta, 3)] == [10]
