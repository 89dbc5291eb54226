"""VNS-SAM as a model: on a SAM, saved, loaded, prompted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from workshop import IMAGES, PROMPTS

from vns_sam.errors import CheckpointError
from vns_sam.sam.model import SamModel
from vns_sam.types import PromptableModel, PromptBatch
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def model(sam: SamModel) -> VnsSamModel:
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8)).eval()


def test_it_is_promptable_and_has_an_edge(model: VnsSamModel) -> None:
    assert isinstance(model, PromptableModel)
    output = model.decode(model.encode(IMAGES), PROMPTS, [0, 1])
    assert output.mask_logits.shape == (4, 1, 16, 16)
    assert output.scores.shape == (4,)
    assert output.edge_logits is not None
    assert output.edge_logits.shape == (4, 1, 16, 16)


def test_it_saves_what_is_trained_and_loads_on_its_sam(model: VnsSamModel, sam: SamModel, tmp_path: Path) -> None:
    sam.save_pretrained(tmp_path / "sam")
    model.save_pretrained(tmp_path / "vns")
    again = VnsSamModel.from_pretrained(tmp_path / "vns", SamModel.from_pretrained(tmp_path / "sam"))
    size = (tmp_path / "vns" / "model.safetensors").stat().st_size
    assert size < (tmp_path / "sam" / "model.safetensors").stat().st_size
    expected = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    assert torch.equal(again.decode(again.encode(IMAGES), PROMPTS, [0, 1]).mask_logits, expected)


def test_a_sam_that_is_not_at_hand_is_named(model: VnsSamModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "vns")
    with pytest.raises(CheckpointError, match="narrow"):
        VnsSamModel.from_pretrained(tmp_path / "vns")


def test_a_coarse_mask_enters_as_the_config_says(sam: SamModel) -> None:
    VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8, mask_prompt="grey"))
    assert sam.prompt_encoder.mask_prompt == "grey"


def adapted(sam: SamModel) -> VnsSamModel:
    """A model whose adapter has learnt something."""
    config = VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8, adapter=True)
    model = VnsSamModel.from_sam(sam, config).eval()
    assert model.adapter is not None
    for parameter in model.adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model


def test_training_with_an_adapter_starts_from_the_plain_model(sam: SamModel, model: VnsSamModel) -> None:
    expected = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    config = VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8, adapter=True)
    fresh = VnsSamModel(sam, model.decoder)
    assert fresh.adapter is None
    model.decoder.config = config
    fresh = VnsSamModel(sam, model.decoder).eval()
    assert fresh.adapter is not None
    assert torch.equal(fresh.decode(fresh.encode(IMAGES), PROMPTS, [0, 1]).mask_logits, expected)


def test_an_adapter_is_saved_and_loaded(sam: SamModel, tmp_path: Path) -> None:
    model = adapted(sam)
    model.save_pretrained(tmp_path / "vns")
    again = VnsSamModel.from_pretrained(tmp_path / "vns", sam)
    expected = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    torch.testing.assert_close(again.decode(again.encode(IMAGES), PROMPTS, [0, 1]).mask_logits, expected)
    model.adapter = None
    assert not torch.allclose(model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits, expected, atol=1e-4)


def test_what_is_trained_restores_a_model(sam: SamModel) -> None:
    model = adapted(sam)
    state = {key: value.clone() for key, value in model.trainable_state_dict().items()}
    assert {key.split(".")[0] for key in state} == {"decoder", "adapter"}
    assert len(model.trainable_parameters()) == sum(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        for parameter in model.trainable_parameters():
            parameter.zero_()
    left_out, unknown = model.load_state_dict(state, strict=False)
    assert not unknown
    assert all(".sam." in key or key.startswith("sam.") for key in left_out)
    assert all(torch.equal(value, state[key]) for key, value in model.trainable_state_dict().items())


def test_the_adapters_gradient_is_that_of_the_whole_model(sam: SamModel) -> None:
    """Also through the prompts that the tiny SAM mixes with its embedding: against a difference quotient."""
    model = adapted(sam)
    mixer = sam.prompt_mixer
    assert mixer is not None
    with torch.no_grad():
        for parameter in mixer.blocks.parameters():
            parameter.mul_(4)  # fresh blocks hardly do anything
    assert isinstance(model.adapter, torch.nn.Module)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = PromptBatch(torch.tensor([0]), boxes=torch.tensor([[8.0, 8, 40, 40]]))

    def mean() -> torch.Tensor:
        return model.decode_levels(model.encode_pixels(pixels), batch).mask_logits.mean()

    parameter = next(p for name, p in model.adapter.named_parameters() if name.startswith("up."))
    (gradient,) = torch.autograd.grad(mean(), parameter)
    size = 0.1
    with torch.no_grad():
        parameter.add_(size * gradient / gradient.norm())
        above = mean()
        parameter.sub_(2 * size * gradient / gradient.norm())
        below = mean()
    torch.testing.assert_close((above - below) / (2 * size), gradient.norm(), rtol=0.05, atol=0)
