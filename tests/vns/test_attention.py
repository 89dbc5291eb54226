from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeModel
from workshop import NARROW, narrow_sam

from vns_sam.errors import DataError, UsageError
from vns_sam.sam.attention import Attention
from vns_sam.sam.model import SamModel
from vns_sam.types import Prompts
from vns_sam.vns.ablations import ABLATIONS
from vns_sam.vns.attention import attention_figure, attention_weights, feature_maps, token_attention
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel

GRID = 4
BOXES = Prompts(boxes=np.float32([[5, 5, 30, 40], [20, 10, 60, 47]]))
MIXED = Prompts(points=np.float32([[[9, 9], [0, 0]], [[30, 20], [40, 30]]]), labels=np.array([[1, -1], [1, 0]]))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def build(variant: str = "official", ablation: str | None = None) -> SamModel | VnsSamModel:
    """A narrow SAM, or a VNS-SAM on it."""
    sam = narrow_sam()
    if variant == "sam":
        return sam
    changes: dict[str, Any] = {"variant": variant, "inner_channels": 8, "head_channels": 8}
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(NARROW, ablation=ablation, **changes)).eval()


def test_weights_are_those_that_mix_the_values() -> None:
    attention = Attention(NARROW.mask_decoder, 2)
    query, key, value = torch.randn(3, 2, 7, 32).unbind()
    weights = attention_weights(attention, query, key)
    values = attention.v_proj(value).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    mixed = attention.out_proj((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixed, attention(query, key, value))


@pytest.mark.parametrize("prompts", [BOXES, MIXED], ids=["boxes", "points"])
@pytest.mark.parametrize("variant", ["official", "paper", "sam"])
def test_each_token_has_a_map_that_sums_to_one(variant: str, prompts: Prompts, image: np.ndarray) -> None:
    maps = token_attention(build(variant), image, prompts)
    tokens = ["SAM mask"] if variant == "sam" else ["SAM mask", "mask", "edge"]
    assert sorted(maps) == sorted(f"{token} token, level {level}" for token in tokens for level in (1, 2))
    for values in maps.values():
        assert values.shape == (2, GRID, GRID)
        np.testing.assert_allclose(values.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert len({values.tobytes() for values in maps.values()}) == len(maps)


@pytest.mark.parametrize("variant", ["official", "paper", "sam"])
def test_level_2_is_what_the_last_attention_uses(
    variant: str, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, used = build(variant), []
    plain, heads = torch.Tensor.softmax, model.config.mask_decoder.num_attention_heads

    def spy(scores: torch.Tensor, dim: int) -> torch.Tensor:
        weights = plain(scores, dim)
        if scores.shape[-1] == GRID**2 and dim == -1:
            by_head = weights.reshape(len(BOXES), heads, -1, GRID**2)
            used.append(by_head.mean(dim=1).unflatten(-1, (GRID, GRID)))
        return weights

    found = token_attention(model, image, BOXES)
    monkeypatch.setattr(torch.Tensor, "softmax", spy)
    model.decode(model.encode([image]), [BOXES], [0])
    names = {"SAM mask": 1}
    if isinstance(model, VnsSamModel):
        names |= {"mask": model.decoder.mask_index, "edge": model.decoder.edge_index}
    for name, place in names.items():
        np.testing.assert_allclose(found[f"{name} token, level 2"], used[-1][:, place].numpy(), atol=1e-5)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_level_1_has_its_own_attention_or_that_of_the_first_layer(variant: str, image: np.ndarray) -> None:
    model = build(variant)
    assert isinstance(model, VnsSamModel)
    own = model.decoder.level1_attention or model.decoder.sam.transformer.layers[0].cross_attn_token_to_image
    assert (variant == "official") == (own is model.decoder.level1_attention)
    for parameter in own.q_proj.parameters():
        parameter.data.zero_()
    for name, values in token_attention(model, image, BOXES).items():
        is_flat = np.allclose(values, 1 / GRID**2)
        assert is_flat == name.endswith("level 1")


def test_nothing_is_left_on_the_model(image: np.ndarray) -> None:
    model = build()
    attention_figure(model, image, BOXES, np.ones((48, 64), bool))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("sam", ["SAM: shallow level", "SAM: deep level"]),
        (
            "paper",
            [
                *("SAM: shallow level", "SAM: deep level", "NSFM: low bands", "NSFM: high bands"),
                *("NSFM: mask feature", "NSFM: edge feature"),
            ],
        ),
    ],
)
def test_features_cover_the_picture_from_0_to_1(variant: str, names: list[str], image: np.ndarray) -> None:
    maps = feature_maps(build(variant), image)
    assert list(maps) == names
    for values in maps.values():
        assert values.shape == (48, 64)
        assert (values.min(), values.max()) == (0, 1)


def test_a_feature_is_bright_where_it_is_strong(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("sam")
    features = model.encode_pixels(torch.zeros(1, 3, 64, 64))
    level = torch.zeros_like(features.levels[0])
    level[:, 1, 3] = -2.0
    changed = replace(features, levels=(level, *features.levels[1:]))
    monkeypatch.setattr(model, "encode_pixels", lambda pixels: changed)
    values = feature_maps(model, image)["SAM: shallow level"]
    assert values[20:28, 52:60].mean() > 0.8
    assert values[:, :32].max() == 0


@pytest.mark.parametrize(("variant", "ablation"), [("paper", "full"), *(("official", name) for name in ABLATIONS)])
def test_every_build_has_a_figure(variant: str, ablation: str, image: np.ndarray) -> None:
    model = build(variant, ablation)
    assert isinstance(model, VnsSamModel)
    figure = attention_figure(model, image, BOXES, np.ones((48, 64), bool))
    columns = 6 if model.decoder.switches.edge_token else 5
    assert figure.shape[1] // 320 == columns
    assert figure.shape[0] // 240 >= len(BOXES) + 1


def test_other_models_are_refused(image: np.ndarray) -> None:
    for call in (lambda: token_attention(FakeModel(), image, BOXES), lambda: feature_maps(FakeModel(), image)):
        with pytest.raises(UsageError, match="found FakeModel"):
            call()


def test_a_truth_of_another_size_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="true mask is 64 x 47, its picture 64 x 48"):
        attention_figure(build("sam"), image, BOXES, np.ones((47, 64), bool))
