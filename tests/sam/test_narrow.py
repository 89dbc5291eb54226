"""Half precision: models take it, and a CPU without instructions for it does not pay for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vns_sam.dis.alone import IsNetModel
from vns_sam.dis.config import IsNetConfig
from vns_sam.sam import narrow
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.registry import load
from vns_sam.sam.zoo import load_sam
from vns_sam.types import ImageFeatures, Prompts
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel


@pytest.fixture(params=[False, True], ids=["emulated", "native"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the CPU is said to have the instructions."""
    monkeypatch.setattr(narrow, "has_instructions", lambda dtype: request.param or dtype is torch.float32)
    return request.param


class Dtypes(TorchDispatchMode):
    """Collects what products of matrices and convolutions are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket in {torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm}:
            self.seen |= {x.dtype for x in args if isinstance(x, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "dtype", "error"), [("sam-tiny", torch.float16, 0.03), ("vns-sam-tiny", torch.bfloat16, 0.08)]
)
def test_a_model_takes_half_precision_and_answers_nearly_the_same(name: str, dtype: torch.dtype, error: float) -> None:
    image = np.full((32, 96, 3), 90, np.uint8)
    image[10:30, 10:60] = (220, 180, 40)
    box, click = np.array([[10, 10, 60, 30]]), np.array([[[30, 20]]])
    prompts = [Prompts(boxes=box), Prompts(points=click, labels=np.array([[1]]))]
    model = load(name)
    known = model.decode(model.encode([image]), prompts, [0, 0])
    model = model.to(dtype)
    features = model.encode([image])
    assert features.embedding.dtype is dtype
    found = model.decode(features, prompts, [0, 0])
    different = (known.mask_logits > 0) != (found.mask_logits.float() > 0)
    assert different.float().mean() < 0.02
    np.testing.assert_allclose(found.scores, known.scores, atol=error)


def own_scores() -> PromptableNetwork:
    """A fresh VNS-SAM on the bundled SAM, with a head that judges its own masks."""
    torch.manual_seed(0)
    sam = load_sam("sam-tiny")
    return VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, own_scores=True)).eval()


def is_net() -> PromptableNetwork:
    """A small IS-Net alone, with random weights."""
    torch.manual_seed(0)
    return IsNetModel(IsNetConfig(width=1 / 16, image_size=128)).eval()


@pytest.mark.parametrize("make", [own_scores, partial(load, "dis-sam-tiny"), partial(load, "ws-sam-tiny"), is_net])
def test_every_kind_of_model_takes_half_precision(make: Callable[[], PromptableNetwork]) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    image[10:40, 10:50] = (220, 180, 40)
    model = make()
    prompts = [Prompts(boxes=np.array([[10, 10, 50, 40]]))] if model.info.prompts else []
    known = model.decode(model.encode([image]), prompts, [0])
    model = model.to(torch.bfloat16)
    features = model.encode([image])
    found = model.decode(features, prompts, [0])
    kept = model.decode(ImageFeatures.from_arrays(features.arrays()), prompts, [0])
    np.testing.assert_array_equal(kept.scores, found.scores)
    np.testing.assert_array_equal(kept.logits(0), found.logits(0))
    assert ((known.logits(0, (48, 64)) > 0) != (found.logits(0, (48, 64)) > 0)).mean() < 0.02
    np.testing.assert_allclose(found.scores, known.scores, atol=0.08)


def test_products_are_computed_in_what_the_cpu_multiplies(native: bool) -> None:
    model = load("vns-sam-tiny").to(torch.bfloat16)
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16)
    with torch.no_grad(), Dtypes() as dtypes:
        embedding = model.foundation.encode_pixels(pixels, model.adapter).embedding
    assert (torch.bfloat16 in dtypes.seen) is native
    assert embedding.dtype is torch.bfloat16


def test_wide_copies_leave_the_model_and_its_gradients_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "has_instructions", lambda dtype: False)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 2)).bfloat16()
    kept = layer[0].weight
    x = torch.ones(3, 4, dtype=torch.bfloat16)
    with torch.no_grad():
        narrow.call(layer, x)
    assert layer[0].weight is kept
    assert kept.dtype is torch.bfloat16
    sum(narrow.call(layer, x)).sum().backward()
    assert kept.grad is not None


def test_whole_numbers_of_bits_need_no_help() -> None:
    assert narrow.has_instructions(torch.float32)
    assert isinstance(narrow.has_instructions(torch.bfloat16), bool)
    assert isinstance(narrow.has_instructions(torch.float16), bool)
