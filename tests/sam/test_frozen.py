"""What every model on a frozen SAM shares."""

from __future__ import annotations

import pytest
import torch
from workshop import IMAGES, PROMPTS, narrow_sam

from vns_sam.hq.model import HqSamModel
from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.types import Prompts
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


@pytest.fixture(params=["vns-sam", "hq-sam"])
def model(request: pytest.FixtureRequest) -> FrozenSamNetwork:
    if request.param == "hq-sam":
        return HqSamModel.from_sam(narrow_sam()).eval()
    sam = narrow_sam()
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, inner_channels=8, head_channels=8)).eval()


def test_many_prompts_on_two_pictures_equal_one_at_a_time(model: FrozenSamNetwork) -> None:
    together = model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits
    row = 0
    for image, prompts in zip(IMAGES, PROMPTS, strict=True):
        features = model.encode([image])
        for k in range(len(prompts)):
            single = Prompts(**{n: v[k : k + 1] for n, v in vars(prompts).items() if v is not None})
            alone = model.decode(features, [single], [0]).mask_logits
            torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-5)
            row += 1


def test_only_the_added_modules_are_trained(model: FrozenSamNetwork) -> None:
    model.train()
    assert model.decoder.training
    assert not any(module.training for module in model.sam.modules())
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert len(trained) == len(model.trainable_parameters())
    assert all(name.startswith("decoder.") and ".sam." not in name for name in trained)
