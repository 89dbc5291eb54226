"""How NSFM lets its bands through: a gate that may close, or the band and what attention adds to it."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from vns_sam.errors import DataError, UsageError
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.nsfm import Aggregation, ChannelAttention, ConvBnRelu, Nsfm, haar
from vns_sam.vns.switches import SWITCHES


def _closed(attention: str) -> Aggregation:
    """An aggregation whose spatial attention is 0 everywhere."""
    torch.manual_seed(0)
    part = Aggregation(8, attention).eval()  # type: ignore[arg-type]
    last = part.spatial_attention[2]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.constant_(last.bias, -100.0)
    return part


def test_a_closed_gate_stops_a_band_and_a_residual_attention_does_not() -> None:
    bands = [torch.randn(2, 8, 6, 4) for _ in range(4)]
    gate, residual = _closed("gate"), _closed("residual")
    merged = residual.reduce(torch.cat(bands[::-1], dim=1))
    merged = residual.channel_attention(merged + residual.residual(merged))
    assert gate(bands).abs().max() < 1e-30
    torch.testing.assert_close(residual(bands), merged)
    assert merged.abs().mean() > 0.1


def test_residual_attention_is_the_gate_and_the_band() -> None:
    torch.manual_seed(1)
    gate = Aggregation(8).eval()
    residual = Aggregation(8, "residual").eval()
    residual.load_state_dict(gate.state_dict())
    bands = [torch.randn(1, 8, 4, 4) for _ in range(4)]
    merged = gate.reduce(torch.cat(bands[::-1], dim=1))
    merged = gate.channel_attention(merged + gate.residual(merged))
    torch.testing.assert_close(residual(bands), merged + gate(bands))


def test_both_bands_follow_the_switch_and_no_tensor_is_new() -> None:
    before, after = Nsfm((8, 8, 8, 8), 8, 32), Nsfm((8, 8, 8, 8), 8, 32, attention="residual")
    assert {k: v.shape for k, v in before.state_dict().items()} == {k: v.shape for k, v in after.state_dict().items()}
    assert after.low is not None
    assert after.high is not None
    assert (after.low.attention, after.high.attention) == ("residual", "residual")


def test_older_configurations_keep_the_gate() -> None:
    assert {switches.band_attention for switches in SWITCHES.values()} == {"gate"}
    given = {"base": "x", "variant": "paper", "switches": {"band_attention": "residual"}}
    assert VnsSamConfig.from_dict(given).method.band_attention == "residual"
    with pytest.raises(UsageError, match="'band_attention' cannot be 'open'"):
        VnsSamConfig.make(**{**given, "switches": {"band_attention": "open"}})


def test_the_bands_are_those_of_the_orthonormal_transform() -> None:
    x = torch.randn(2, 3, 6, 8)
    low, high = haar(x)
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
    cells = x.unfold(2, 2, 2).unfold(3, 2, 2)  # (2, 3, 3, 4, 2, 2)
    expected = rows @ cells @ rows.mT
    torch.testing.assert_close(low, expected[..., 0, 0])
    torch.testing.assert_close(high, expected[..., 1, 1])


def test_without_bands_the_first_and_the_last_level_are_what_is_mined() -> None:
    torch.manual_seed(0)
    nsfm = Nsfm((4, 5, 6, 7), 8, 16).eval()
    for joined in (nsfm.low_with_deep, nsfm.high_with_shallow):
        joined.weight.data[:, :-8] = 0  # what the bands bring
    levels = [torch.randn(1, 4, 4, width) for width in (4, 5, 6, 7)]
    mask, edge = nsfm(levels)
    seen = []
    for k, level in enumerate(levels):
        other = [torch.randn_like(level) if k == i else given for i, given in enumerate(levels)]
        new_mask, new_edge = nsfm(other)
        seen.append((not torch.equal(mask, new_mask), not torch.equal(edge, new_edge)))
    assert seen == [(True, True), (False, False), (False, False), (True, False)]


@pytest.mark.parametrize(("wavelets", "split"), [("none", 0), ("low", 4), ("high", 4), ("both", 4)])
def test_without_wavelets_no_level_is_split(
    wavelets: Literal["none", "low", "high", "both"], split: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[torch.Size] = []
    monkeypatch.setattr("vns_sam.vns.nsfm.haar", lambda level: (calls.append(level.shape), haar(level))[1])
    mask, edge = Nsfm((8, 8, 8, 8), 8, 32, wavelets)([torch.randn(1, 4, 6, 8) for _ in range(4)])
    assert (mask.shape, edge.shape) == ((1, 4, 16, 24), (1, 32, 4, 6))
    assert len(calls) == split


def test_a_channel_is_weighed_by_its_peak_and_its_neighbours() -> None:
    attention = ChannelAttention()
    attention.conv.weight.data = torch.tensor([[[1.0, 2.0, 3.0]]])
    x = torch.zeros(1, 3, 2, 2)
    x[0, :, 0, 1] = torch.tensor([0.1, 0.2, 0.3])
    weight = torch.tensor([2 * 0.1 + 3 * 0.2, 0.1 + 2 * 0.2 + 3 * 0.3, 0.2 + 2 * 0.3]).sigmoid()
    torch.testing.assert_close(attention(x), x * weight[None, :, None, None])


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_block_keeps_the_size_and_has_no_bias(kernel: int) -> None:
    block = ConvBnRelu(3, 4, kernel).eval()
    assert block(torch.randn(1, 3, 6, 8)).shape == (1, 4, 6, 8)
    assert block.conv.bias is None


@pytest.mark.parametrize(("height", "width"), [(5, 6), (6, 5)])
def test_grids_of_odd_sides_are_refused(height: int, width: int) -> None:
    nsfm = Nsfm((4, 5, 6, 7), 8, 16).eval()
    with pytest.raises(DataError, match="even"):
        nsfm([torch.randn(1, height, width, channels) for channels in (4, 5, 6, 7)])
