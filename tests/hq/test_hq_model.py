"""HQ-SAM as a model: on a SAM, saved, loaded, prompted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from workshop import IMAGES, PROMPTS, narrow_sam

from vns_sam.errors import CheckpointError
from vns_sam.hq.config import HqSamConfig
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.types import PromptableModel


def test_it_is_promptable(model: HqSamModel) -> None:
    assert isinstance(model, PromptableModel)
    output = model.decode(model.encode(IMAGES), PROMPTS, [0, 1])
    assert output.mask_logits.shape == (4, 1, 16, 16)
    assert output.scores.shape == (4,)
    assert output.edge_logits is None


def test_the_mask_is_the_sum_unless_the_token_is_asked_for_alone(model: HqSamModel) -> None:
    both = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    model.config = replace(model.config, hq_token_only=True)
    alone = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    assert (both - alone).abs().mean() > 1e-3


def test_it_saves_what_is_trained_and_loads_on_its_sam(model: HqSamModel, tmp_path: Path) -> None:
    model.sam.save_pretrained(tmp_path / "sam")
    own = HqSamModel.from_sam(
        narrow_sam(), replace(model.config, base=str(tmp_path / "sam"), hq_token_only=True)
    ).eval()
    own.save_pretrained(tmp_path / "hq")
    again = load_network(tmp_path / "hq")
    assert isinstance(again, HqSamModel)
    assert again.config == own.config
    expected = own.decode(own.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    found = again.decode(again.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_weights_of_another_encoder_are_refused() -> None:
    sam = narrow_sam()
    with pytest.raises(CheckpointError, match="made for an encoder with 768 channels, narrow has 384"):
        HqSamModel.from_sam(sam, replace(HqSamConfig.for_sam(sam.config), early_channels=768))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"base": "x", "hq_token": 1}, "unknown key 'hq_token'"), ({}, "must hold 'base'")],
)
def test_configs_that_are_none(values: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        HqSamConfig.from_dict(values)
