"""Simulated prompts: equal to the authors' code on the same draws, and right on masks worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vns_sam.prompts.simulate import (
    NO_BOX,
    box_from_mask,
    noise_box,
    noise_mask,
    official_box,
    random_points,
    sample_official_prompts,
    sample_paper_prompts,
)
from vns_sam.types import PromptBatch


@pytest.fixture(scope="module")
def reference(fixtures_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(fixtures_dir / "vns" / "aux.safetensors")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def square(side: int = 64, top: int = 10, left: int = 20, height: int = 12, width: int = 6) -> torch.Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def labels(*masks: torch.Tensor) -> torch.Tensor:
    return torch.stack(masks)[:, None].float() * 255


def kind(batch: PromptBatch) -> str:
    (name,) = (k for k in ("boxes", "points", "masks") if getattr(batch, k) is not None)
    return name


def test_boxes_equal_the_authors(reference: dict[str, torch.Tensor]) -> None:
    boxes, valid = box_from_mask(reference["prompt.labels"] > 128)
    assert valid.all()
    torch.testing.assert_close(boxes, reference["prompt.boxes"], rtol=0, atol=0)


def test_noise_boxes_equal_the_authors(reference: dict[str, torch.Tensor]) -> None:
    boxes = noise_box(reference["prompt.boxes"], seeded(11))
    torch.testing.assert_close(boxes, reference["prompt.noise_box"], rtol=0, atol=1e-4)


def test_points_equal_the_authors(reference: dict[str, torch.Tensor]) -> None:
    generator = seeded(12)
    points = [random_points(label > 128, 10, generator) for label in reference["prompt.labels"]]
    torch.testing.assert_close(torch.stack(points), reference["prompt.points_k10"], rtol=0, atol=0)


def test_coarse_masks_equal_the_authors(reference: dict[str, torch.Tensor]) -> None:
    coarse = noise_mask(reference["prompt.labels"][:, None] / 255, seeded(13))
    torch.testing.assert_close(255 * coarse, reference["prompt.noise_mask"], rtol=0, atol=0)


@pytest.mark.parametrize("as_float", [False, True])
def test_box_corners_are_the_outermost_pixels(as_float: bool) -> None:
    mask = square() * 0.6 if as_float else square()
    boxes, valid = box_from_mask(mask)
    assert boxes.tolist() == [20, 10, 25, 21]
    assert valid


def test_box_of_an_empty_mask_is_flagged() -> None:
    masks = torch.stack([square(), torch.zeros(64, 64, dtype=torch.bool), torch.ones(64, 64, dtype=torch.bool)])
    boxes, valid = box_from_mask(masks)
    assert valid.tolist() == [True, False, True]
    assert boxes[1:].tolist() == [[0, 0, 0, 0], [0, 0, 63, 63]]
    assert official_box(masks)[1].tolist() == list(NO_BOX)


def test_noise_box_stays_in_the_square_and_near_the_box() -> None:
    boxes = torch.tensor([[0.0, 0.0, 63.0, 63.0], [10.0, 10.0, 30.0, 50.0]]).repeat(200, 1)
    moved = noise_box(boxes, seeded(0), side=64)
    assert moved.min() >= 0
    assert moved.max() <= 64
    size = boxes[:, 2:] - boxes[:, :2]
    assert ((moved - boxes).abs() <= size.repeat(1, 2) * 0.1 + 1e-4).all()
    assert (moved - boxes).abs().max() > 3
    torch.testing.assert_close(noise_box(boxes, seeded(0), scale=0), boxes)


def test_the_authors_square_ends_at_1024() -> None:
    moved = noise_box(torch.tensor([[0.0, 0.0, 1024.0, 1024.0]]).repeat(50, 1), seeded(0))
    assert moved.max() == 1024


def test_points_are_distinct_object_pixels_in_xy_order() -> None:
    points = random_points(square(), 40, seeded(1)).long()
    assert len(set(map(tuple, points.tolist()))) == 40
    assert square()[points[:, 1], points[:, 0]].all()


@pytest.mark.parametrize(("pixels", "expected"), [(0, 0), (3, 3), (12, 10)])
def test_small_objects_give_as_many_points_as_they_have(pixels: int, expected: int) -> None:
    assert random_points(square(height=pixels, width=1), 10, seeded(1)).shape == (expected, 2)


def test_coarse_mask_is_changed_at_detail_only() -> None:
    mask = labels(square(256, 64, 64, 128, 128)) / 255
    coarse = noise_mask(mask, seeded(2))
    changed = coarse != mask
    assert set(coarse.unique().tolist()) == {0.0, 1.0}
    assert changed.any()
    assert not changed[..., 80:176, 80:176].any()
    assert not changed[..., :48, :].any()


def test_simulation_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    sample_official_prompts(labels(square(), square()), seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sample", [sample_official_prompts, sample_paper_prompts])
def test_every_image_gets_one_prompt_of_a_uniform_kind(sample) -> None:  # type: ignore[no-untyped-def]
    batches = sample(labels(*[square()] * 600), seeded(3))
    rows = torch.cat([batch.image_index for batch in batches]).tolist()
    assert sorted(rows) == list(range(600))
    counts = {kind(batch): len(batch) for batch in batches}
    assert set(counts) == {"boxes", "points", "masks"}
    assert all(150 < n < 250 for n in counts.values())
    for batch in batches:
        if batch.points is not None and batch.labels is not None:
            assert batch.points.shape == (len(batch), 10, 2)
            assert (batch.labels == 1).all()
        if batch.masks is not None:
            assert batch.masks.shape == (len(batch), 1, 16, 16)


@pytest.mark.parametrize("sample", [sample_official_prompts, sample_paper_prompts])
def test_the_object_of_a_soft_label_is_above_128(sample) -> None:  # type: ignore[no-untyped-def]
    soft = 128.0 * square(top=2, left=2, height=40, width=40) + 1.0 * square()
    batches = sample(soft[None, None].repeat(60, 1, 1, 1), seeded(8))
    (boxes,) = (batch.boxes for batch in batches if batch.boxes is not None)
    assert boxes.unique(dim=0).tolist() == [[20, 10, 25, 21]]


@pytest.mark.parametrize(("level", "coarse"), [(127, 0), (128, 1)])
def test_a_label_without_detail_is_its_own_coarse_mask(level: int, coarse: int) -> None:
    batches = sample_official_prompts(torch.full((20, 1, 64, 64), float(level)), seeded(9))
    (masks,) = (batch.masks for batch in batches if batch.masks is not None)
    assert masks.unique().tolist() == [coarse]


def test_a_coarse_mask_is_above_a_half() -> None:
    assert not noise_mask(torch.full((1, 1, 64, 64), 0.5), seeded(0)).any()


def test_official_rule_drops_points_for_the_whole_batch() -> None:
    small = square(height=3, width=1)
    kinds = {kind(b) for b in sample_official_prompts(labels(*[square()] * 99, small), seeded(4))}
    assert kinds == {"boxes", "masks"}
    equal = {kind(b) for b in sample_official_prompts(labels(*[small] * 99), seeded(4))}
    assert equal == {"boxes", "points", "masks"}


def test_paper_rule_keeps_points_and_skips_empty_labels() -> None:
    images = labels(*[square()] * 40, *[square(height=3, width=1)] * 40, square(height=0))
    batches = sample_paper_prompts(images, seeded(5))
    assert sorted(i for b in batches for i in b.image_index.tolist()) == list(range(80))
    assert {b.points.shape[1] for b in batches if b.points is not None} == {10, 3}
    assert sample_paper_prompts(labels(square(height=0)), seeded(5)) == []


def test_official_rule_gives_empty_labels_the_authors_box() -> None:
    batches = sample_official_prompts(labels(*[square(height=0)] * 20), seeded(6))
    assert {kind(b) for b in batches} == {"boxes", "masks"}
    for batch in batches:
        if batch.boxes is not None:
            assert batch.boxes[0].tolist() == list(NO_BOX)


def test_the_box_of_nothing_is_that_of_the_authors() -> None:
    assert official_box(torch.zeros(1, 4, 4)).tolist() == [[1e8, 1e8, 0, 0]]


def test_a_mask_of_numbers_is_object_above_a_half() -> None:
    mask = torch.tensor([[[0.0, 0.5, 0.6, 1.0]]])
    assert official_box(mask).tolist() == official_box(mask > 0.5).tolist() == [[2, 0, 3, 0]]
