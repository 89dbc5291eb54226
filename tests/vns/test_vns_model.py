"""VNS-SAM as a model: on a SAM, saved, loaded, prompted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.model import SamModel
from vns_sam.types import PromptableModel, Prompts
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


@pytest.fixture
def model(sam: SamModel) -> VnsSamModel:
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8)).eval()


IMAGES = [np.random.default_rng(i).integers(0, 255, (40 + 8 * i, 64, 3), dtype=np.uint8) for i in range(2)]
PROMPTS = [
    Prompts(boxes=np.array([[4.0, 4, 30, 30], [10, 6, 60, 38]])),
    Prompts(points=np.array([[[20.0, 20], [5, 5]], [[8, 9], [0, 0]]]), labels=np.array([[1, 0], [1, -1]])),
]


def test_it_is_promptable_and_has_an_edge(model: VnsSamModel) -> None:
    assert isinstance(model, PromptableModel)
    output = model.decode(model.encode(IMAGES), PROMPTS, [0, 1])
    assert output.mask_logits.shape == (4, 1, 16, 16)
    assert output.scores.shape == (4,)
    assert output.edge_logits is not None
    assert output.edge_logits.shape == (4, 1, 16, 16)


def test_many_prompts_on_two_pictures_equal_one_at_a_time(model: VnsSamModel) -> None:
    together = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    row = 0
    for image, prompts in zip(IMAGES, PROMPTS, strict=True):
        features = model.encode([image])
        for k in range(len(prompts)):
            single = Prompts(**{n: v[k : k + 1] for n, v in vars(prompts).items() if v is not None})
            alone = model.decode(features, [single], [0]).mask_logits
            torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)
            row += 1


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


def test_gradients_reach_the_added_modules_only(model: VnsSamModel) -> None:
    model.train()
    assert not model.sam.training
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith("decoder.") and ".sam." not in name for name in trained)


def test_a_coarse_mask_enters_as_the_config_says(sam: SamModel) -> None:
    VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8, mask_prompt="grey"))
    assert sam.prompt_encoder.mask_prompt == "grey"
