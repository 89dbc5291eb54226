"""One line a model: what a name, a folder and a file are, and that the lines lead somewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from toy import TOY_VIT, toy_sam
from workshop import narrow_sam

from vns_sam.errors import CheckpointError
from vns_sam.sam import registry
from vns_sam.sam.config import SamConfig, VitConfig, vit_config
from vns_sam.sam.model import SamModel
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel
from vns_sam.vns.official import convert_decoder, key_to_official


def test_every_line_leads_to_something() -> None:
    for kind, entry in registry.MODELS.items():
        loader = registry.resolve(entry)
        assert callable(loader)
        if isinstance(loader, type):
            assert loader.__init__.__annotations__ or loader.from_pretrained
            assert kind in (getattr(loader, "config_class", None) or registry_config(loader)).model_type
    assert all(isinstance(registry.resolve(entry), registry.Layout) for entry in registry.LAYOUTS)


def registry_config(kind: type) -> type:
    """The class of a model's configuration, out of its constructor."""
    from typing import get_type_hints

    found: type = get_type_hints(kind.__init__)["config"]
    return found


def test_a_new_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_sam().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "sam"', '"model_type": "new"'))
    with pytest.raises(CheckpointError, match="holds a 'new' model, expected one of 'sam'"):
        registry.load(tmp_path)
    monkeypatch.setitem(registry.MODELS, "new", "test_registry:load_new")
    assert registry.load(tmp_path).name == f"new {tmp_path}"


def load_new(folder: Path, origin: str) -> SamModel:
    model = narrow_sam()
    model.name = f"new {origin}"
    return model


def test_bundled_models_are_the_folders_that_ship() -> None:
    assert registry.bundled()[0] == "vns-sam-tiny"
    assert set(registry.bundled()) == {path.parent.name for path in registry.BUNDLED.glob("*/model.safetensors")}


@pytest.mark.parametrize(
    "vit",
    [TOY_VIT, VitConfig(48, 6, 3, (0, 2, 3, 5), 2, 2.0), VitConfig(24, 4, 2, (0, 1, 2, 3), 5, 4.0)],
    ids=["toy", "other depths", "all global"],
)
def test_a_sam_of_any_numbers_is_known_by_its_tensors(vit: VitConfig, tmp_path: Path) -> None:
    model = SamModel(vit_config(vit, image_size=64)).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    state = {meta(key): value for key, value in model.state_dict().items()}
    wrapped = {f"module.{key}": value.half() for key, value in state.items()}
    torch.save({"model": wrapped, "epoch": 3}, tmp_path / "w.pth")
    again = registry.load(tmp_path / "w.pth")
    expected = vit if vit.window_size < 4 else replace(vit, window_size=4)  # no block has windows
    assert again.config == vit_config(expected, image_size=64)  # type: ignore[union-attr]
    assert all(torch.equal(v.half(), again.state_dict()[k].half()) for k, v in model.state_dict().items())


def meta(key: str) -> str:
    """Meta's name of one of our tensors."""
    from vns_sam.sam.keys import IMAGE_ENCODER, PROMPT_ENCODER, _translator, decoder_key_to_meta

    for prefix, own, back in (
        ("image_encoder.", "image_encoder.vit.", _translator(IMAGE_ENCODER, back=True)),
        ("prompt_encoder.", "prompt_encoder.", _translator(PROMPT_ENCODER, back=True)),
        ("mask_decoder.", "mask_decoder.", decoder_key_to_meta),
    ):
        if key.startswith(own):
            return prefix + back(key.removeprefix(own))
    return key


def test_bare_weights_beside_their_config_are_the_folder(tmp_path: Path) -> None:
    narrow_sam().save_pretrained(tmp_path)
    assert registry.load(tmp_path / "model.safetensors").name == "narrow"


@pytest.fixture
def vns(tmp_path: Path) -> VnsSamModel:
    """A VNS-SAM on a toy ViT, its SAM saved as ``sam``."""
    torch.manual_seed(0)
    sam = SamModel(toy_sam())
    sam.save_pretrained(tmp_path / "sam")
    config = VnsSamConfig.for_sam(sam.config, head_channels=8, mask_prompt="grey")
    return VnsSamModel.from_sam(sam, config).eval()


def merged_state(model: VnsSamModel) -> dict[str, torch.Tensor]:
    """The authors' third format: SAM's whole file, VNS-SAM's tensors among those of its decoder."""
    sam = {meta(key): value for key, value in model.sam.state_dict().items()}
    own = model.decoder.trainable_state_dict()
    return sam | {f"mask_decoder.{key_to_official(key)}": value for key, value in own.items()}


def test_a_merged_file_is_the_vns_sam_not_the_sam_inside(vns: VnsSamModel, tmp_path: Path) -> None:
    torch.save(merged_state(vns), tmp_path / "merged.pth")
    again = registry.load(tmp_path / "merged.pth")
    assert isinstance(again, VnsSamModel)
    assert torch.equal(again.decoder.state_dict()["tokens.weight"], vns.decoder.state_dict()["tokens.weight"])
    assert again.state_dict().keys() == vns.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in vns.state_dict().items())
    again.save_pretrained(tmp_path / "own")
    assert isinstance(registry.load(tmp_path / "own"), VnsSamModel)  # its SAM is found in the file


def test_a_merged_file_with_more_is_refused(vns: VnsSamModel, tmp_path: Path) -> None:
    for added in ("mask_decoder.extra.weight", "image_encoder.blocks.1.adapter.weight"):
        torch.save(merged_state(vns) | {added: torch.zeros(3)}, tmp_path / "more.pth")
        with pytest.raises(CheckpointError, match="has no place for, the first is"):
            registry.load(tmp_path / "more.pth")


def test_a_base_by_relative_path_is_found_from_elsewhere(
    vns: VnsSamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vns.config = replace(vns.config, base="sam")
    vns.save_pretrained("model")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert isinstance(registry.load(tmp_path / "model"), VnsSamModel)


def test_a_relative_base_is_looked_for_beside_the_config(vns: VnsSamModel, tmp_path: Path) -> None:
    vns.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace(f'"base": "{vns.config.base}"', '"base": "../sam"'))
    shutil.move(tmp_path / "model", tmp_path / "moved")
    assert isinstance(registry.load(tmp_path / "moved"), VnsSamModel)


def test_config_of_the_first_release_names_its_vit() -> None:
    old = {"model_type": "sam", "name": "vit_b", "backbone": "vit_b", "level_channels": [768] * 4}
    assert SamConfig.from_dict(old) == vit_config("vit_b")


def test_a_decoder_whose_frozen_part_is_another_sam_is_refused(
    vns: VnsSamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {key_to_official(key): value for key, value in vns.decoder.state_dict().items()}
    monkeypatch.chdir(tmp_path)
    convert_decoder(plain, "epoch_1.pth", tmp_path / "converted", "sam")
    monkeypatch.chdir("/")
    again = registry.load(tmp_path / "converted")  # the base was given by a relative path
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in vns.state_dict().items())
    plain["transformer.norm_final_attn.weight"] = plain["transformer.norm_final_attn.weight"] + 0.1
    with pytest.raises(CheckpointError, match="its frozen part differs from the SAM 'vit_32x8' below it, first in"):
        convert_decoder(plain, "epoch_1.pth", tmp_path / "other", str(tmp_path / "sam"))
    assert not (tmp_path / "other").exists()
