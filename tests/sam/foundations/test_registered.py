"""Files and folders of the foundations as people have them, by their path alone."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from foundation_models import hf_sam2, hf_sam3, meta_sam2_state, mobile_state, narrow_foundation
from safetensors.torch import save_file
from torch import nn

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.inference.load import check_model_name, load_network
from vns_sam.sam import registry
from vns_sam.sam.architectures import HieraConfig, TinyVitConfig
from vns_sam.sam.config import SamConfig
from vns_sam.sam.foundations import mobile, sam2
from vns_sam.sam.foundations.names import CONFIGS, named_config
from vns_sam.sam.meta import load_meta
from vns_sam.sam.model import SamModel

SMALL = {"embed_dim_per_stage": [24, 48, 96, 192], "blocks_per_stage": [1, 2, 3, 1], "global_attention_blocks": [4]}
NARROW = HieraConfig((24, 48, 96, 192), (1, 2, 3, 1), (1, 2, 4, 8), (4,))
DECODER = {"hidden_size": 256, "mlp_dim": 2048, "num_attention_heads": 8, "iou_head_hidden_dim": 256}


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """A narrow SAM 2 behind the published decoder."""
    return hf_sam2(decoder=DECODER, fpn={}, **SMALL)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the narrow Hiera were one of the published sizes."""
    monkeypatch.setitem(sam2.HIERA, "sam2.1-s", NARROW)


def same_image_encoder(model: object, theirs: nn.Module) -> bool:
    assert isinstance(model, SamModel)
    mine = model.state_dict()["image_encoder.patch_embed.weight"]
    return torch.equal(mine, theirs.state_dict()["vision_encoder.backbone.patch_embed.projection.weight"].to(mine))


@pytest.mark.parametrize(
    "wrapped", ["bare", "model", "state_dict", "model_state", "module.", "sam.", "safetensors", "fp16"]
)
def test_a_file_of_sam2_however_it_is_wrapped(wrapped: str, theirs: nn.Module, known: None, tmp_path: Path) -> None:
    state = meta_sam2_state(theirs)
    path = tmp_path / "sam2.1_hiera_small.pt"
    if wrapped == "safetensors":
        path = tmp_path / "sam2.safetensors"
        save_file(state, path)
    elif wrapped.endswith("."):
        torch.save({f"{wrapped}{key}": value for key, value in state.items()}, path)
    elif wrapped == "fp16":
        torch.save({"model": {key: value.half() for key, value in state.items()}}, path)
    else:
        torch.save(state if wrapped == "bare" else {wrapped: OrderedDict(state), "epoch": 3}, path)
    model = load_network(path)
    assert isinstance(model, SamModel)
    assert model.config == sam2.sam2_config("sam2.1-s", NARROW)
    found = model.state_dict()["image_encoder.patch_embed.weight"]
    expected = theirs.state_dict()["vision_encoder.backbone.patch_embed.projection.weight"]
    torch.testing.assert_close(found, expected, atol=1e-3 if wrapped == "fp16" else 0, rtol=0)


def test_a_folder_of_transformers_and_its_weights_alone(theirs: nn.Module, known: None, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "hub")  # type: ignore[operator]
    config = tmp_path / "hub" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "sam2_video"}))
    assert same_image_encoder(load_network(tmp_path / "hub"), theirs)
    assert same_image_encoder(load_network(tmp_path / "hub" / "model.safetensors"), theirs)
    config.unlink()
    assert same_image_encoder(load_network(tmp_path / "hub" / "model.safetensors"), theirs)


def test_a_folder_of_sam3(tmp_path: Path) -> None:
    other = hf_sam3()
    other.save_pretrained(tmp_path)  # type: ignore[operator]
    model = load_network(tmp_path)
    assert isinstance(model, SamModel)
    assert (model.name, model.grid, model.config.stride) == ("sam3", 8, 14)


def test_a_processor_beside_says_how_pixels_enter(theirs: nn.Module, known: None, tmp_path: Path) -> None:
    for name, model in {"sam2": theirs, "sam3": hf_sam3()}.items():
        model.save_pretrained(tmp_path / name)  # type: ignore[operator]
        processor = {"image_mean": [0.1, 0.2, 0.4], "image_std": [1, 1, 1]}
        (tmp_path / name / "processor_config.json").write_text(json.dumps({"image_processor": processor}))
        loaded = load_network(tmp_path / name)
        assert isinstance(loaded, SamModel)
        assert (loaded.config.mean, loaded.config.std) == ((25.5, 51, 102), (255, 255, 255))


@pytest.mark.parametrize("name", ["sam2", "sam3", "mobile-sam"])
def test_a_folder_of_ours_brings_a_foundation_back(name: str, tmp_path: Path) -> None:
    model = narrow_foundation(name)
    model.save_pretrained(tmp_path)
    back = load_network(tmp_path)
    assert isinstance(back, SamModel)
    assert back.config == model.config
    mine, other = model.state_dict(), back.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in mine.items())


def test_what_a_file_is_instead_is_said_before_anything_is_built(
    theirs: nn.Module, known: None, tmp_path: Path
) -> None:
    torch.save(meta_sam2_state(theirs), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt is a SAM 2.1 small; expected a SAM ViT"):
        load_meta(tmp_path / "a.pt")
    torch.save({"image_encoder.patch_embed.seq.0.c.weight": torch.ones(1)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"b.pt is a MobileSAM; expected a SAM ViT"):
        load_meta(tmp_path / "b.pt")


def test_half_a_file_is_named_for_what_it_is(theirs: nn.Module, known: None, tmp_path: Path) -> None:
    state = meta_sam2_state(theirs)
    half = {key: value for key, value in state.items() if not key.startswith("sam_mask_decoder.transformer.")}
    torch.save({"model": half}, tmp_path / "half.pt")
    with pytest.raises(
        CheckpointError, match=r"half.pt \(sam2.1-s\) lacks \d+ of \d+ tensors, the first is 'mask_decoder"
    ):
        load_network(tmp_path / "half.pt")


def test_a_foreign_tensor_is_refused(known: None, theirs: nn.Module, tmp_path: Path) -> None:
    torch.save({**meta_sam2_state(theirs), "lora.weight": torch.ones(2)}, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match=r"more.pt \(sam2.1-s\) holds 1 tensors .* 'lora.weight'"):
        load_network(tmp_path / "more.pt")


@pytest.mark.parametrize(
    "key", ["image_encoder.trunk.body.stem.0.c.weight", "vision_encoder.backbone.timm_model.stem.w"]
)
def test_edgetam_is_refused_by_name(key: str, tmp_path: Path) -> None:
    torch.save({"model": {key: torch.ones(2)}}, tmp_path / "edgetam.pt")
    with pytest.raises(CheckpointError, match=r"edgetam.pt is an EdgeTAM") as caught:
        load_network(tmp_path / "edgetam.pt")
    assert "mobile-sam" in caught.value.hint


@pytest.mark.parametrize("kind", ["edgetam", "edgetam_video"])
def test_a_folder_of_edgetam_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(CheckpointError, match=r"is an EdgeTAM: its image encoder comes from timm"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"embed_dim_per_stage": [25, 48, 96, 192]}, "'image_encoder.pos_embed' must have shape"),
        ({"blocks_per_stage": "many"}, "depths must be a list"),
        ({"num_attention_heads_per_stage": [5, 2, 4, 8]}, "widths must be multiples of heads"),
    ],
)
def test_a_wrong_number_in_a_hub_config_is_named(
    change: dict[str, object], says: str, theirs: nn.Module, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)  # type: ignore[operator]
    config = tmp_path / "config.json"
    values = json.loads(config.read_text())
    values["vision_config"]["backbone_config"] |= change
    config.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=says):
        load_network(tmp_path)


def test_mobilesam_by_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = mobile.mobile_config(TinyVitConfig((8, 12, 16, 24), (1, 1, 2, 1), (1, 2, 2, 3), (7, 3, 4, 3)))
    model = SamModel(config).eval()
    torch.save(mobile_state(model), tmp_path / "mobile_sam.pt")
    monkeypatch.setattr(mobile, "mobile_config", lambda: config)
    back = load_network(tmp_path / "mobile_sam.pt")
    assert back.name == "mobile-sam"
    assert torch.equal(back.state_dict()["image_encoder.neck.0.weight"], model.image_encoder.neck[0].weight)


def test_names() -> None:
    for name in CONFIGS:
        check_model_name(name)
        assert isinstance(named_config(name), SamConfig)
        assert named_config(name).name == name
    check_model_name("sam2.1-b+")
    check_model_name("sam2.1-b++dis-sam-tiny")
    check_model_name("sam2.1-l+dis-sam-tiny")
    with pytest.raises(UsageError, match=r"unknown model 'sam2.1-x'"):
        check_model_name("sam2.1-l+sam2.1-x")
    with pytest.raises(UsageError, match="by the name of a SAM, found 'sam4'"):
        named_config("sam4")
    assert {row.name: row.licence for row in registry.catalog()}["sam3"] == "SAM License"
