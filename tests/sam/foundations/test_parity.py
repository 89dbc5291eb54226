"""SAM 2.1 and SAM 3 against transformers' classes with the same random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from foundation_models import hf_sam2, hf_sam3, narrow_foundation
from torch import nn

from vns_sam.sam.architectures import RopeVitConfig
from vns_sam.sam.foundations.sam2 import HIERA, build_hf_sam2
from vns_sam.sam.foundations.sam3 import build_hf_sam3
from vns_sam.sam.model import SamModel
from vns_sam.types import PromptBatch, Prompts

ATOL = 1e-4
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base+": {
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 6, 3],
        "global_attention_blocks": [7, 10],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 2, 4, 1],
        "global_attention_blocks": [5, 7],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}
"""Widths, heads and windows of the four sizes; the depth of the two large ones is reduced."""


def ours(theirs: nn.Module) -> SamModel:
    """Our model with the weights of one of transformers'."""
    values = theirs.config.to_dict()  # type: ignore[operator,union-attr]
    build = build_hf_sam3 if values["model_type"].startswith("sam3") else build_hf_sam2
    return build(values, theirs.state_dict(), "transformers")


def pixels(model: SamModel, images: int = 2) -> torch.Tensor:
    side = model.config.image_size
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(1))


def batches(side: int, grid: int) -> dict[str, PromptBatch]:
    """Two prompts of each kind, one a picture."""
    index = torch.arange(2)
    boxes = torch.tensor([[4.0, 8.0, 70.0, 90.0], [20.0, 31.5, 100.0, 60.25]])
    points = torch.tensor([[[9.0, 30.0], [50.0, 60.0]], [[77.0, 8.5], [3.0, 99.0]]])
    labels = torch.tensor([[1, 0], [1, 1]])
    masks = torch.zeros(2, 1, 4 * grid, 4 * grid)
    masks[0, :, 4:9, 2:12] = 1
    masks[1, :, 10:29, 8:20] = 1
    return {
        "box": PromptBatch(index, boxes),
        "points": PromptBatch(index, points=points, labels=labels),
        "mask": PromptBatch(index, masks=masks),
        "box and points": PromptBatch(index, boxes, points, labels),
        "all": PromptBatch(index, boxes, points, labels, masks),
    }


def ask(
    theirs: nn.Module,
    images: torch.Tensor | None,
    batch: PromptBatch,
    *,
    many: bool,
    embeddings: list[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Transformers' masks (P, M, 4g, 4g) and scores (P, M), of pictures or of their embeddings."""
    out = theirs(
        pixel_values=images,
        image_embeddings=embeddings,
        input_points=None if batch.points is None else batch.points[:, None],
        input_labels=None if batch.labels is None else batch.labels[:, None],
        input_boxes=None if batch.boxes is None else batch.boxes[:, None],
        input_masks=None if batch.masks is None else 10 * (2 * batch.masks - 1),
        multimask_output=many,
    )
    return out.pred_masks[:, 0], out.iou_scores[:, 0]


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_every_size_of_sam2_encodes_and_decodes_as_transformers_does(size: str) -> None:
    theirs = hf_sam2(**SIZES[size])
    model = ours(theirs)
    images = pixels(model)
    features = model.encode_pixels(images)
    for mine, other in zip((*features.finer, features.embedding), theirs.get_image_embeddings(images), strict=True):
        torch.testing.assert_close(mine, other, atol=ATOL, rtol=0)
    batch = batches(128, 8)["box"]
    masks, scores = model.decode_all(features, batch)
    expected, iou = ask(theirs, images, batch, many=True)
    torch.testing.assert_close(masks[:, 1:], expected, atol=ATOL, rtol=0)
    torch.testing.assert_close(scores[:, 1:], iou, atol=ATOL, rtol=0)


PUBLISHED = {"hidden_size": 256, "mlp_dim": 2048, "num_attention_heads": 8, "iou_head_hidden_dim": 256}


def check_all_kinds(theirs: nn.Module, model: SamModel) -> None:
    """One picture at the model's own size, encoded once: every kind of prompt, three masks and one, and one by one."""
    images = pixels(model, 1)
    features, embedding = model.encode_pixels(images), theirs.get_image_embeddings(images)  # type: ignore[operator]
    for mine, other in zip((*features.finer, features.embedding), embedding, strict=True):
        torch.testing.assert_close(mine, other, atol=ATOL, rtol=0)
    for batch in batches(model.config.image_size, model.grid).values():
        batch = replace(batch, image_index=torch.zeros_like(batch.image_index))
        masks, scores = model.decode_all(features, batch)
        single = model.decode_batch(features, batch)
        for row in range(2):
            one = PromptBatch(
                **{key: None if value is None else value[row : row + 1] for key, value in vars(batch).items()}
            )
            expected, iou = ask(theirs, None, one, many=True, embeddings=embedding)
            torch.testing.assert_close(masks[row, 1:], expected[0], atol=ATOL, rtol=0)
            torch.testing.assert_close(scores[row, 1:], iou[0], atol=ATOL, rtol=0)
            expected, iou = ask(theirs, None, one, many=False, embeddings=embedding)
            torch.testing.assert_close(single.mask_logits[row], expected[0], atol=ATOL, rtol=0)
            torch.testing.assert_close(single.scores[row], iou[0, 0], atol=ATOL, rtol=0)
            alone = model.decode_batch(features, one)
            torch.testing.assert_close(single.mask_logits[row], alone.mask_logits[0], atol=ATOL, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", HIERA)
@torch.no_grad()
def test_sam2_of_the_published_size_on_1024_pixels(name: str) -> None:
    """All numbers are those of the published file, depth included."""
    hiera = HIERA[name]
    theirs = hf_sam2(
        1024,
        PUBLISHED,
        {},
        embed_dim_per_stage=[*hiera.widths],
        blocks_per_stage=[*hiera.depths],
        num_attention_heads_per_stage=[*hiera.heads],
        global_attention_blocks=[*hiera.global_blocks],
        window_size_per_stage=[*hiera.windows],
        window_positional_embedding_background_size=[hiera.background, hiera.background],
    )
    model = ours(theirs)
    assert (model.config.backbone, model.name) == (hiera, name)
    check_all_kinds(theirs, model)


@pytest.mark.slow
@torch.no_grad()
def test_sam3_of_the_published_width_on_1008_pixels() -> None:
    """A quarter of the published 32 blocks, the rest as published."""
    published = RopeVitConfig(depth=8, global_blocks=(1, 3, 5, 7))
    theirs = hf_sam3(
        1008,
        decoder=PUBLISHED,
        hidden_size=published.width,
        num_hidden_layers=published.depth,
        num_attention_heads=published.heads,
        intermediate_size=published.mlp,
        window_size=published.window,
        pretrain_image_size=336,
        global_attn_indexes=[*published.global_blocks],
    )
    for value in theirs.parameters():  # else maps of this width have deviations of 50, and rounding shows
        value.mul_(0.5 if value.ndim > 1 else 1.0)
    model = ours(theirs)
    assert model.config.backbone == published
    check_all_kinds(theirs, model)


@pytest.mark.parametrize("kind", ["box", "points", "mask", "box and points", "all"])
@pytest.mark.parametrize("which", ["sam2", "sam3"])
@torch.no_grad()
def test_prompts_of_every_kind(which: str, kind: str, request: pytest.FixtureRequest) -> None:
    theirs = request.getfixturevalue(which)
    model = ours(theirs)
    images, batch = pixels(model), batches(model.config.image_size, model.grid)[kind]
    features = model.encode_pixels(images)
    masks, scores = model.decode_all(features, batch)
    expected, iou = ask(theirs, images, batch, many=True)
    torch.testing.assert_close(masks[:, 1:], expected, atol=ATOL, rtol=0)
    torch.testing.assert_close(scores[:, 1:], iou, atol=ATOL, rtol=0)
    single = model.decode_batch(features, batch)
    expected, iou = ask(theirs, images, batch, many=False)
    torch.testing.assert_close(single.mask_logits, expected, atol=ATOL, rtol=0)
    torch.testing.assert_close(single.scores, iou[:, 0], atol=ATOL, rtol=0)


def test_an_unstable_single_mask_gives_way_to_the_best_of_three(sam2: nn.Module) -> None:
    """The area above 0.05 is that above -0.05 but for one cell in a hundred, then for three; then there is none."""
    decoder = ours(sam2).mask_decoder
    masks = torch.full((3, 4, 10, 20), -1.0)
    masks[:2, 0, :5] = 1.0
    masks[0, 0, 0, 0] = 0.0
    masks[1, 0, 0, :3] = 0.0
    masks[:, 1:] = torch.arange(3.0)[:, None, None]
    scores = torch.tensor([[0.5, 0.1, 0.7, 0.6]]).repeat(3, 1)
    chosen, best = decoder.choose(masks, scores)
    assert torch.equal(chosen[:, 0], torch.stack([masks[0, 0], masks[1, 2], masks[2, 0]]))
    assert best.tolist() == scores[0, [0, 2, 0]].tolist()
    theirs, iou = sam2.mask_decoder._dynamic_multimask_via_stability(masks[:, None], scores[:, None])  # type: ignore[union-attr,operator]
    assert torch.equal(theirs[:, 0], chosen)
    assert torch.equal(iou[:, 0, 0], best)


@torch.no_grad()
def test_levels_are_the_stages_of_hiera(sam2: nn.Module) -> None:
    model = ours(sam2)
    images = pixels(model)
    features = model.encode_pixels(images)
    stages = sam2.vision_encoder.backbone(images).intermediate_hidden_states  # type: ignore[union-attr,operator]
    assert [level.shape[-1] for level in features.levels] == [*model.config.level_channels] == [1536, 768, 384, 768]
    for place, side in ((0, 4), (1, 2), (2, 1)):
        level = (
            features.levels[place].unflatten(-1, (-1, side, side)).permute(0, 1, 4, 2, 5, 3).flatten(1, 2).flatten(2, 3)
        )
        torch.testing.assert_close(level, stages[place], atol=ATOL, rtol=0)
    torch.testing.assert_close(features.levels[3].mean((1, 2)), stages[3].mean((1, 2)), atol=ATOL, rtol=0)


@torch.no_grad()
def test_levels_are_the_global_blocks_of_sam3(sam3: nn.Module) -> None:
    model = ours(sam3)
    images = pixels(model)
    features = model.encode_pixels(images)
    hidden = sam3.vision_encoder.backbone(images, output_hidden_states=True).hidden_states  # type: ignore[union-attr,operator]
    for level, index in zip(features.levels, (1, 3, 5, 7), strict=True):
        torch.testing.assert_close(level, hidden[index + 1].view_as(level), atol=ATOL, rtol=0)


@torch.no_grad()
def test_the_mark_of_no_past_is_on_the_map_that_is_read() -> None:
    """Transformers, with the four maps that are published, puts it on the fourth, which nothing reads."""
    theirs = hf_sam3(levels=(4.0, 2.0, 1.0, 0.5))
    model = ours(theirs)
    images = pixels(model)
    mark = theirs.no_memory_embedding[0, 0][:, None, None]  # type: ignore[index]
    other = theirs.get_image_embeddings(images)[2]  # type: ignore[operator]
    torch.testing.assert_close(model.encode_pixels(images).embedding, other + mark, atol=ATOL, rtol=0)


@pytest.mark.parametrize("which", ["sam2", "sam3", "vit", "mobile-sam"])
def test_ragged_calls_equal_one_at_a_time(which: str, request: pytest.FixtureRequest) -> None:
    ours_alone = which in ("vit", "mobile-sam")
    model = narrow_foundation(which) if ours_alone else ours(request.getfixturevalue(which))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((96, 130), (140, 60))]
    coarse = np.zeros((1, 96, 130), np.float32)
    coarse[:, 20:60, 40:100] = 1
    entries = [
        (0, Prompts(boxes=np.array([[6.0, 8, 80, 60], [30, 20, 120, 90], [1, 2, 30, 40]]))),
        (1, Prompts(points=np.array([[[9.0, 8], [30, 50]], [[5, 100], [0, 0]]]), labels=np.array([[1, 0], [1, -1]]))),
        (0, Prompts(masks=coarse)),
        (1, Prompts(boxes=np.array([[1.0, 2, 30, 60]]))),
    ]
    together = model.decode(model.encode(images), [given for _, given in entries], [i for i, _ in entries])
    row = 0
    for image, given in entries:
        features = model.encode([images[image]])
        for k in range(len(given)):
            one = Prompts(**{key: value[k : k + 1] for key, value in vars(given).items() if value is not None})
            alone = model.decode(features, [one], [0])
            torch.testing.assert_close(together.mask_logits[row], alone.mask_logits[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(together.scores[row], alone.scores[0], atol=1e-5, rtol=0)
            row += 1
    assert row == len(together.scores) == 7


def test_a_picture_is_stretched_over_the_square(sam2: nn.Module) -> None:
    """SAM 2 and 3 keep no aspect: a box on an upright picture lands where both axes say."""
    model = ours(sam2)
    image = np.zeros((64, 256, 3), np.uint8)
    image[:, 128:] = 255
    fitted, geometry = model.preprocessing(image, torch.device("cpu"))
    assert fitted.shape == (3, 128, 128)
    assert geometry.scale_xy == (0.5, 2.0)
    white = (255 - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(fitted[:, :, 70:], white[:, None, None].expand(3, 128, 58), atol=1e-5, rtol=0)
