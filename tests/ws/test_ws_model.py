"""The segmenter: sizes as measured, any picture, gradients, storage, golden values of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipe_weights import fill
from small import SMALL, small_model

from vns_sam.errors import CheckpointError, DataError, UsageError
from vns_sam.ws.config import WsSamConfig
from vns_sam.ws.head import WsSamOutput
from vns_sam.ws.losses import ws_loss
from vns_sam.ws.model import WsSamModel

GOLDEN = Path(__file__).parents[1] / "golden" / "ws_segmenter.json"
D4 = [(turns, flip) for turns in range(4) for flip in (False, True)]


def size_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def waves(height: int = 45, width: int = 70) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([(0.1 * (k + 1) * x + 0.17 * y).sin() for k in range(3)])[None]


def golden_model(reconstruct: str) -> WsSamModel:
    """The recipe's weights, those of the grouping larger so that places differ in what they are assigned to."""
    model = fill(small_model(reconstruct=reconstruct), "ws")
    for parameter in model.head.grouping.parameters():
        parameter.data *= 6 if parameter.ndim == 2 else 1
    return model


def test_parameters_as_released() -> None:
    with torch.device("meta"):
        model = WsSamModel(WsSamConfig(reconstruct="broadcast"))
    head = model.head
    assert [size_of(block) for block in head.texture] == [1_691_392, 1_855_232, 2_182_912, 2_838_272]
    parts = (head.grouping, head.fusion[0], head.prior, head.stages[0], head, model.backbone)
    assert [size_of(part) for part in parts] == [566_144, 330_338, 9_324_867, 891_025, 23_013_933, 23_508_032]


@torch.no_grad()
@pytest.mark.parametrize("size", [(352, 352), (384, 384)])
def test_shapes_of_the_paper_and_of_the_release(size: tuple[int, int]) -> None:
    output = small_model()(torch.zeros(1, 3, *size))
    assert [tuple(x.shape) for x in output.logits] == [(1, 1, *size)] * 5
    fine, coarse = output.groups[4]
    assert (fine.shape, coarse.shape) == ((1, 4, size[0] // 32, size[1] // 32), (1, 2, size[0] // 32, size[1] // 32))


@torch.no_grad()
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 97), (64, 40)])
def test_any_size(kind: str, height: int, width: int) -> None:
    output = small_model(kind)(torch.randn(2, 3, height, width))
    assert {tuple(x.shape) for x in output.logits} == {(2, 1, height, width)}
    assert all(x.isfinite().all() for x in output.logits)


@torch.no_grad()
def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    model, pixels = small_model(), torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(model(pixels).prediction[1:2], model(pixels[1:2]).prediction, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("reconstruct", ["assign", "broadcast"])
def test_gradients(kind: str, reconstruct: str) -> None:
    torch.manual_seed(0)
    model = small_model(kind, reconstruct=reconstruct).train()
    labels, target = torch.zeros(2, 1, 64, 64, dtype=torch.uint8), torch.rand(2, 1, 64, 64)
    labels[:, :, 30, 10:20], labels[:, :, 5] = 1, 2
    output = model(torch.randn(2, 3, 64, 64))
    terms = ws_loss(output.logits, labels, target, torch.ones_like(target), torch.tensor([True, False]))
    torch.stack([*terms.values()]).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and g.isfinite().all() for name, g in gradients.items() if name.startswith("head"))
    parts = {name.rsplit(".", 3)[0] for name in gradients if name.startswith("head")}
    # the global attention starts as the identity, and a bottleneck of one channel may be shut by its ReLU
    reached = {name.rsplit(".", 3)[0] for name, g in gradients.items() if g is not None and g.any()}
    assert {part for part in parts - reached if "attention" not in part and not part.endswith(".channel")} == set()
    assert any(name.startswith("backbone") and g is not None and g.any() for name, g in gradients.items())


def test_one_picture_cannot_be_trained_on() -> None:
    with pytest.raises(UsageError, match="at least 2 pictures"):
        small_model().train()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (480, 33), (700, 500)])
def test_segment_answers_at_the_pictures_size(shape: tuple[int, int]) -> None:
    probability = small_model().segment(picture(*shape))
    assert (probability.shape, probability.dtype) == (shape, np.float32)
    assert 0 <= probability.min() <= probability.max() <= 1


@pytest.mark.parametrize(("turns", "flip"), D4)
def test_segment_keeps_pictures_upright(turns: int, flip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def red(pixels: torch.Tensor) -> WsSamOutput:
        return WsSamOutput((pixels[:, :1],), {})

    def turned(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(array[:, ::-1] if flip else array, turns))

    model, image = small_model(), np.zeros((64, 96, 3), np.uint8)
    image[:20, :40, 0] = 255
    monkeypatch.setattr(model, "forward", red)
    np.testing.assert_allclose(model.segment(turned(image)), turned(model.segment(image)), atol=2e-3)


def test_the_network_never_sees_more_than_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = small_model(), []
    forward = model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda pixels: seen.append(pixels.shape) or forward(pixels))
    assert model.segment(np.zeros((200, 9000, 3), np.uint8)).shape == (200, 9000)
    assert seen == [(1, 3, 64, 64)]


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected an image"):
        small_model().segment(image)


def test_segmenting_needs_eval_mode() -> None:
    with pytest.raises(UsageError, match="eval mode"):
        small_model().train().segment(picture(9, 9))


@pytest.mark.parametrize("kind", SMALL)
def test_saved_and_read_again(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small_model(kind, name="mine", grouping_levels=(3, 4), prototypes=(3, 2))
    model.save_pretrained(tmp_path)
    again = WsSamModel.from_pretrained(tmp_path)
    assert (again.config, again.name, again.training) == (model.config, "mine", False)
    np.testing.assert_allclose(again.segment(picture(40, 60)), model.segment(picture(40, 60)), atol=1e-6)


def test_half_precision_on_disk(tmp_path: Path) -> None:
    model = small_model()
    model.save_pretrained(tmp_path, dtype=torch.float16)
    again = WsSamModel.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    np.testing.assert_allclose(again.segment(picture(40, 60)), model.segment(picture(40, 60)), atol=0.02)


def test_a_head_on_a_pretrained_backbone(tmp_path: Path) -> None:
    backbone = small_model("pvt_v2").backbone
    backbone.network.save_pretrained(tmp_path)  # type: ignore[union-attr, operator]
    model = WsSamModel.from_backbone(tmp_path, channels=16, image_size=64).eval()
    torch.testing.assert_close(model.backbone.state_dict(), backbone.state_dict())
    model.save_pretrained(tmp_path / "model")
    assert WsSamModel.from_pretrained(tmp_path / "model").config == model.config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chanels": 16}, "no field 'chanels'"),
        ({"backbone": "resnet5"}, "no backbone 'resnet5'"),
        ({"channels": 24}, "multiple of 16"),
        ({"image_size": 31}, "from 32 to 16384, found 31"),
        ({"reconstruct": "paste"}, "'assign' or 'broadcast'"),
        ({"prototypes": (4,)}, "must be 2 values"),
        ({"iterations": 0}, "from 1 to 1024, found 0"),
        ({"grouping_levels": (4, 5)}, "from 1 to 4, found 5"),
        ({"grouping_levels": (4, 4)}, "different levels"),
    ],
)
def test_refused_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WsSamConfig.make(**values)
    with pytest.raises(CheckpointError):
        WsSamConfig.from_dict(values)


def test_a_configuration_survives_json() -> None:
    config = WsSamConfig.make(backbone="pvtv2-b2", reconstruct="broadcast", grouping_levels=[3, 4])
    assert WsSamConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_groups_of_every_level_can_be_looked_at() -> None:
    groups = small_model(grouping_levels=(1, 2, 3, 4))(torch.randn(1, 3, 64, 64)).groups
    assert {level: tuple(fine.shape[-2:]) for level, (fine, _) in groups.items()} == {
        1: (16, 16),
        2: (8, 8),
        3: (4, 4),
        4: (2, 2),
    }


@torch.no_grad()
@pytest.mark.parametrize("reconstruct", ["assign", "broadcast"])
def test_golden_values(reconstruct: str) -> None:
    output = golden_model(reconstruct)(waves())
    expected = json.loads(GOLDEN.read_text())[reconstruct]
    for logits, values in zip(output.logits, expected["logits"], strict=True):
        assert logits[0, 0, ::11, ::17].flatten().tolist() == pytest.approx(values, abs=1e-4)
    assert output.groups[4][0].flatten().tolist() == pytest.approx(expected["fine"], abs=1e-4)
