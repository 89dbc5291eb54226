"""Published files: synthetic ones in each author's layout give the same model as the weights that they are made of."""

from __future__ import annotations

import pytest
import torch
from foundation_models import hf_sam2, hf_sam3, meta_sam2_state, meta_sam3_state, mobile_state, shaken
from torch import nn

from vns_sam.errors import CheckpointError
from vns_sam.sam.architectures import HieraConfig, RopeVitConfig, TinyVitConfig
from vns_sam.sam.foundations import mobile, sam2, sam3
from vns_sam.sam.model import SamModel

WIDE = {"hidden_size": 256, "mlp_dim": 2048, "num_attention_heads": 8, "iou_head_hidden_dim": 256}
NARROW = HieraConfig((24, 48, 96, 192), (1, 2, 3, 1), (1, 2, 4, 8), (4,))
HALF = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])


def cast(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}


def same(model: SamModel, other: SamModel, dtype: torch.dtype) -> None:
    """Equal weights, which are float32 whatever the file has."""
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert torch.equal(value, theirs[key].to(dtype).float()) or not value.is_floating_point(), key
        assert not value.is_floating_point() or value.dtype == torch.float32


@HALF
def test_metas_sam2_file(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sam2.HIERA, "sam2.1-x", NARROW)
    theirs = hf_sam2(
        decoder=WIDE,
        fpn={},
        embed_dim_per_stage=[24, 48, 96, 192],
        blocks_per_stage=[1, 2, 3, 1],
        global_attention_blocks=[4],
    )
    values = theirs.config.to_dict()  # type: ignore[operator,union-attr]
    expected = sam2.build_hf_sam2(values, theirs.state_dict(), "hub")
    state = meta_sam2_state(theirs)
    assert sam2.holds_sam2(state)
    model, report = sam2.build_sam2(cast(state, dtype), "sam2.1_hiera_x.pt", sam2.meta_to_own)
    assert not report.missing
    same(model, expected, dtype)
    assert model.config.backbone == expected.config.backbone
    assert model.name == "sam2.1-x"
    assert model.preprocessing.image_size == 1024


@pytest.mark.parametrize(
    ("name", "size"), [("sam2.1-t", 38.9), ("sam2.1-s", 46.0), ("sam2.1-b+", 80.8), ("sam2.1-l", 224.4)]
)
def test_a_published_size_is_known_by_its_width_and_depth(name: str, size: float) -> None:
    """Meta's sizes in millions count the memory for video, 3.6 to 10.3 of them, which is not read."""
    with torch.device("meta"):
        blank = SamModel(sam2.sam2_config(name, sam2.HIERA[name]))
    count = sum(value.numel() for value in blank.parameters()) / 1e6
    assert size - 10.5 < count < size - 3.5
    assert len(blank.image_encoder.blocks) == sum(sam2.HIERA[name].depths)  # type: ignore[arg-type]


def test_a_hiera_of_no_known_size_is_named() -> None:
    state = {
        "image_encoder.trunk.pos_embed_window": torch.zeros(1, 80, 8, 8),
        "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(80, 3, 7, 7),
        "image_encoder.trunk.blocks.0.norm1.weight": torch.zeros(80),
    }
    with pytest.raises(CheckpointError, match=r"Hiera of width 80 with 1 blocks, expected 96 with 12 \(sam2.1-t\)"):
        sam2.build_sam2(state, "x.pt", sam2.meta_to_own)


@HALF
def test_metas_sam3_file_and_the_whole_folder_of_transformers(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = hf_sam3(levels=(4.0, 2.0, 1.0, 0.5))
    values = theirs.config.to_dict()  # type: ignore[operator,union-attr]
    expected = sam3.build_hf_sam3(values, theirs.state_dict(), "hub")
    state = meta_sam3_state(theirs)
    assert sam3.holds_sam3(state)
    monkeypatch.setattr(sam3, "sam3_config", lambda: expected.config)
    model, report = sam3.build_sam3(cast(state, dtype), "sam3.pt", sam3.meta_to_own)
    assert not report.missing
    same(model, expected, dtype)
    whole = {}
    for key, value in theirs.state_dict().items():
        if key.startswith("vision_encoder.backbone."):
            whole[f"detector_model.{key}"] = value
        elif key.startswith("vision_encoder.neck."):
            whole[f"detector_model.{key}"] = value + 1  # the detector's pyramid is another
            whole[key.replace("vision_encoder.neck.", "tracker_neck.")] = value
        else:
            whole[f"tracker_model.{key}"] = value
    video = {"model_type": "sam3_video", "tracker_config": values}
    monkeypatch.undo()
    same(sam3.build_hf_sam3(video, cast(whole, dtype), "hub"), expected, dtype)


def test_sam3_has_the_published_numbers() -> None:
    config = sam3.sam3_config()
    assert (config.image_size, config.stride, config.level_channels) == (1008, 14, (1024,) * 4)
    with torch.device("meta"):
        model = SamModel(config)
    assert model.grid == 72
    count = sum(value.numel() for value in model.image_encoder.parameters())
    assert 446e6 < count < 462e6  # 454 million with the detector's pyramid instead of the tracker's


@HALF
def test_mobilesams_file(dtype: torch.dtype) -> None:
    model = shaken(SamModel(mobile.mobile_config()))
    assert isinstance(model, SamModel)
    state = mobile_state(model)
    assert mobile.holds_mobile(state)
    assert not sam2.holds_sam2(state)
    assert "image_encoder.layers.1.blocks.0.attn.attention_biases" in state
    assert "mask_decoder.transformer.layers.0.mlp.lin1.weight" in state
    loaded, report = mobile.build_mobile(cast(state, dtype), "mobile_sam.pt")
    assert not report.missing
    same(loaded, model, dtype)
    parameters = sum(value.numel() for value in model.parameters())
    assert parameters + 2 * 320 + 320 * 1000 + 1000 == 10_130_092  # of the published file, its classifier included


def test_a_config_brings_its_numbers_back() -> None:
    for config in (
        mobile.mobile_config(TinyVitConfig((8, 12, 20, 40), heads=(2, 4, 5, 10))),
        sam2.sam2_config("sam2", NARROW),
        sam3.sam3_config(RopeVitConfig(width=128)),
    ):
        import json

        assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_half_a_file_is_named() -> None:
    state = mobile_state(shaken(nn.Identity()))
    state["image_encoder.patch_embed.seq.0.c.weight"] = torch.zeros(32, 3, 3, 3)
    with pytest.raises(CheckpointError, match=r"half.pt \(mobile-sam\) lacks \d+ of \d+ tensors"):
        mobile.build_mobile(state, "half.pt")
