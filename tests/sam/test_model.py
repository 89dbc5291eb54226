"""SAM on the tiny backbone: prompts steer it, gradients reach its parts, its folder brings it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from workshop import narrow_sam

from vns_sam.errors import CheckpointError
from vns_sam.sam.losses import sam_loss
from vns_sam.sam.model import SamModel
from vns_sam.sam.prompt_encoder import SamPromptEncoder
from vns_sam.types import PromptBatch, Prompts


@pytest.fixture(scope="module")
def model() -> SamModel:
    return narrow_sam()


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def batch(count: int = 2, side: int = 64) -> dict[str, PromptBatch]:
    """One batch of each kind for so many pictures."""
    index = torch.arange(count)
    boxes = torch.tensor([[4.0, 8.0, 40.0, 50.0]]).repeat(count, 1)
    points = torch.tensor([[[9.0, 30.0], [50.0, 60.0]]]).repeat(count, 1, 1)
    labels = torch.tensor([[1, 0]]).repeat(count, 1)
    masks = torch.zeros(count, 1, side // 4, side // 4)
    masks[..., 4:9, 2:12] = 1
    return {
        "box": PromptBatch(index, boxes),
        "points": PromptBatch(index, points=points, labels=labels),
        "mask": PromptBatch(index, masks=masks),
        "all": PromptBatch(index, boxes, points, labels, masks),
    }


@pytest.mark.parametrize(("kind", "tokens"), [("box", 2), ("points", 3), ("mask", 0), ("all", 4)])
@torch.no_grad()
def test_shapes_of_every_kind_of_prompt(model: SamModel, kind: str, tokens: int) -> None:
    features = model.encode_pixels(torch.randn(2, 3, 64, 64))
    assert features.embedding.shape == (2, 32, 4, 4)
    prompts = batch()[kind]
    sparse, dense = model.embed_prompts(features, prompts)
    assert sparse.shape == (2, tokens, 32)
    assert dense.shape == (2, 32, 4, 4)
    masks, scores = model.decode_all(features, prompts)
    assert masks.shape == (2, 4, 16, 16)
    assert scores.shape == (2, 4)
    out = model.decode_batch(features, prompts)
    assert torch.equal(out.mask_logits, masks[:, :1])
    assert torch.equal(out.scores, scores[:, 0])


@torch.no_grad()
def test_input_need_not_be_square(model: SamModel) -> None:
    features = model.encode_pixels(torch.randn(1, 3, 64, 96))
    masks, _ = model.decode_all(features, batch(1)["box"])
    assert masks.shape == (1, 4, 16, 24)


def test_ragged_prompts_on_many_pictures_equal_one_at_a_time(model: SamModel) -> None:
    images = pictures((48, 64), (64, 40))
    coarse = np.zeros((1, 48, 64), np.float32)
    coarse[:, 10:30, 20:50] = 1
    entries = [
        (0, Prompts(boxes=np.array([[3.0, 4, 40, 30]]))),
        (1, Prompts(points=np.array([[[9.0, 8], [30, 50]]]), labels=np.array([[1, 0]]))),
        (0, Prompts(masks=coarse)),
        (1, Prompts(boxes=np.array([[1.0, 2, 30, 60]]))),
        (0, Prompts(points=np.array([[[50.0, 20]]]), labels=np.array([[1]]))),
    ]
    together = model.decode(model.encode(images), [given for _, given in entries], [i for i, _ in entries])
    for row, (image, given) in enumerate(entries):
        alone = model.decode(model.encode([images[image]]), [given], [0])
        torch.testing.assert_close(together.mask_logits[row], alone.mask_logits[0], atol=1e-5, rtol=0)
        assert together.scores[row] == pytest.approx(alone.scores[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["box", "points", "mask"])
def test_gradients_reach_every_part(kind: str) -> None:
    model = narrow_sam().train()
    features = model.encode_pixels(torch.randn(2, 3, 64, 64))
    target = torch.zeros(2, 16, 16)
    target[:, 4:10, 3:9] = 1
    torch.stack(list(sam_loss(*model.decode_all(features, batch()[kind]), target).values())).sum().backward()
    assert model.prompt_mixer is not None
    parts = {
        "stem": model.image_encoder.stem,
        "neck": model.image_encoder.neck,
        "mixer": model.prompt_mixer,
        "upscaling": model.mask_decoder.upscale_conv2,
        "scores": model.mask_decoder.iou_prediction_head,
        "prompts": model.prompt_encoder.mask_embed if kind == "mask" else model.prompt_encoder.point_embed,
    }
    for name, part in parts.items():
        assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0), (torch.float16, 2e-2)])
def test_folder_brings_the_model_back(model: SamModel, tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    model.save_pretrained(tmp_path, dtype=dtype)
    back = SamModel.from_pretrained(tmp_path)
    assert back.config == model.config
    assert not back.training
    assert all(value.dtype == torch.float32 for value in back.state_dict().values() if value.is_floating_point())
    image = pictures((48, 64))
    given = [Prompts(boxes=np.array([[3.0, 4, 40, 30]]))]
    first, second = (m.decode(m.encode(image), given, [0]).mask_logits for m in (model, back))
    torch.testing.assert_close(first, second, atol=tolerance * first.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("change", "says", "hint"),
    [
        ({"image_sise": 64}, "unknown key 'image_sise'", "image_size"),
        ({"mask_decoder": {"hidden": 32}}, "config.json: 'mask_decoder' has the unknown key 'hidden'", ""),
        ({"name": None}, "must hold 'name'", ""),
        ({"model_type": "vns-sam"}, "holds a 'vns-sam' model", ""),
    ],
)
def test_wrong_configurations_are_named(
    model: SamModel, tmp_path: Path, change: Mapping[str, object], says: str, hint: str
) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    values = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    with pytest.raises(CheckpointError, match=says) as caught:
        SamModel.from_pretrained(tmp_path)
    assert hint in caught.value.hint


@torch.no_grad()
def test_a_point_is_embedded_by_place_and_label() -> None:
    torch.manual_seed(0)
    encoder = SamPromptEncoder(32)

    def embed(x: float, y: float, label: int) -> torch.Tensor:
        given = PromptBatch(torch.tensor([0]), points=torch.tensor([[[x, y]]]), labels=torch.tensor([[label]]))
        return encoder(given, (4, 6))[0][0]

    weights = [part.weight[0] for part in encoder.point_embed]
    torch.testing.assert_close(embed(9, 5, 1) - embed(9, 5, 0), torch.stack([weights[1] - weights[0], 0 * weights[0]]))
    place = encoder.shared_embedding(torch.tensor([9.5 / 96, 5.5 / 64]))
    torch.testing.assert_close(embed(9, 5, 1)[0], place + weights[1])
    torch.testing.assert_close(embed(9, 5, 1)[1], encoder.not_a_point_embed.weight[0])


@pytest.mark.parametrize(("kind", "low", "high"), [("logits", -10.0, 10.0), ("grey", 0.0, 255.0)])
@torch.no_grad()
def test_a_coarse_mask_enters_as_logits_or_grey(kind: str, low: float, high: float) -> None:
    torch.manual_seed(0)
    encoder = SamPromptEncoder(32, kind)  # type: ignore[arg-type]
    masks = (torch.rand(1, 1, 16, 16) > 0.5).float()
    _, dense = encoder(PromptBatch(torch.tensor([0]), masks=masks), (4, 4))
    torch.testing.assert_close(dense, encoder.mask_embed(torch.where(masks > 0, high, low)))
