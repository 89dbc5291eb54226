"""The METI decoder: parity with the release, golden values of our own, prompt-major form, what is trained."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from narrow import inputs
from safetensors.torch import load_file

from vns_sam.errors import DataError
from vns_sam.vns.decoder import VnsDecoderOutput, VnsMaskDecoder
from vns_sam.vns.heads import dot
from vns_sam.vns.losses import vns_loss
from vns_sam.vns.official import key_to_official, load_decoder

GOLDEN = Path(__file__).parents[1] / "golden" / "vns_decoder.json"


def released_run(tensors: dict[str, torch.Tensor], case: str, decoder: VnsMaskDecoder) -> VnsDecoderOutput:
    """Runs a case of the fixture, whose images have different numbers of prompt tokens."""
    levels = [tensors[f"{case}.in.interm.{j}"] for j in range(4)]
    mined = decoder.mine(levels)
    rows = [
        decoder(
            tensors[f"{case}.in.image_embeddings"],
            tensors[f"{case}.in.image_pe"],
            tensors[f"{case}.in.sparse.{i}"],
            tensors[f"{case}.in.dense.{i}"],
            levels,
            torch.tensor([i]),
            mined,
        )
        for i in range(2)
    ]
    return VnsDecoderOutput(*(torch.cat([getattr(row, f.name) for row in rows]) for f in fields(VnsDecoderOutput)))


@pytest.fixture(scope="module")
def release(fixtures_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(fixtures_dir / "vns" / "vit_b.safetensors")


@pytest.fixture
def released_decoder(release: dict[str, torch.Tensor]) -> VnsMaskDecoder:
    return load_decoder({key[3:]: value for key, value in release.items() if key.startswith("sd.")})


@torch.no_grad()
def test_outputs_equal_the_release(release: dict[str, torch.Tensor], released_decoder: VnsMaskDecoder) -> None:
    output = released_run(release, "A", released_decoder)
    best = 1 + output.iou_scores[:, 1:].argmax(dim=1)
    found = {
        "fusion_pred": output.mask_logits,
        "masks_hq": output.level2_mask_logits,
        "inter_masks_hq": output.level1_mask_logits,
        "edge_logits": output.edge_logits,
        "edge_pred": output.edge_logits.sigmoid(),
        "inter_edge_pred": output.level1_edge_logits.sigmoid(),
        "masks_sam": output.sam_mask_logits,
        "multimask_masks_sam": output.sam_masks[torch.arange(len(best)), best][:, None],
        "iou_pred": output.iou_scores,
    }
    for name, value in found.items():
        torch.testing.assert_close(
            value, release[f"A.out.{name}"], atol=2e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )


@torch.no_grad()
def test_mined_features_equal_the_release(release: dict[str, torch.Tensor], released_decoder: VnsMaskDecoder) -> None:
    mask, edge = released_decoder.mine([release[f"A.in.interm.{j}"] for j in range(4)])
    torch.testing.assert_close(mask, release["A.mid.neck.mask_feature"], atol=1e-4, rtol=0)
    torch.testing.assert_close(edge, release["A.mid.neck.edge_feature"], atol=1e-4, rtol=0)


def test_a_training_step_equals_the_release(release: dict[str, torch.Tensor], released_decoder: VnsMaskDecoder) -> None:
    output = released_run(release, "T", released_decoder.train())
    terms = vns_loss(output, release["T.in.label"] / 255, release["T.in.edge"])
    names = {
        "mask": "mask_fusion_structure",
        "edge": "edge_final_dice",
        "level1_mask": "mask_inter_structure",
        "level1_edge": "edge_inter_dice",
    }
    for ours, theirs in names.items():
        torch.testing.assert_close(terms[ours], release[f"T.loss.{theirs}"][0], rtol=1e-3, atol=0)
    sum(terms.values(), torch.tensor(0.0)).backward()
    trained = {key_to_official(n): p for n, p in released_decoder.named_parameters() if p.requires_grad}
    assert len(trained) == 100
    for name, parameter in trained.items():
        assert parameter.grad is not None
        torch.testing.assert_close(
            parameter.grad.norm(), release[f"T.gradnorm.{name}"].reshape(()), rtol=1e-3, atol=1e-6
        )
    for name, buffer in released_decoder.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(buffer, release[f"T.bn_after.{key_to_official(name)}"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_golden_values(decoder: VnsMaskDecoder) -> None:
    """Guards the arithmetic of both variants where the authors' outputs are not at hand."""
    output = decoder(**inputs())
    for name, values in json.loads(GOLDEN.read_text())[decoder.config.variant].items():
        torch.testing.assert_close(sample(getattr(output, name)), torch.tensor(values), atol=1e-4, rtol=1e-5)


def sample(maps: torch.Tensor) -> torch.Tensor:
    """32 evenly spaced values, or all of a small tensor."""
    flat = maps.flatten()
    return flat[:: max(1, len(flat) // 32)][:32]


@torch.no_grad()
@pytest.mark.parametrize("grid", [(4, 4), (6, 2)])
@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_prompts_do_not_feel_each_other(decoder: VnsMaskDecoder, grid: tuple[int, int], tokens: int) -> None:
    given = inputs(grid=grid, tokens=tokens)
    together = decoder(**given)
    assert together.mask_logits.shape == (3, 1, 4 * grid[0], 4 * grid[1])
    for row, image in enumerate(given["image_index"].tolist()):
        alone = decoder(
            given["image_embeddings"][image : image + 1],
            given["image_pe"],
            given["sparse"][row : row + 1],
            given["dense"][row : row + 1],
            [level[image : image + 1] for level in given["levels"]],
            torch.tensor([0]),
        )
        for field in fields(VnsDecoderOutput):
            expected = getattr(alone, field.name)[0]
            scale = max(1.0, expected.abs().max().item())
            torch.testing.assert_close(getattr(together, field.name)[row], expected, atol=1e-5 * scale, rtol=0)


@torch.no_grad()
def test_the_short_way_of_inference_gives_the_same(decoder: VnsMaskDecoder) -> None:
    given = inputs()
    full = decoder(**given)
    mined = decoder.mine(given.pop("levels"))
    short = decoder.decode_final(**given, mined=mined)
    torch.testing.assert_close(short.mask_logits, full.mask_logits)
    torch.testing.assert_close(short.edge_logits, full.edge_logits)
    torch.testing.assert_close(short.scores, full.iou_scores[:, 0])


@torch.no_grad()
def test_a_threshold_moves_the_final_mask_alone(decoder: VnsMaskDecoder) -> None:
    given = inputs()
    full = decoder(**given)
    decoder.config = replace(decoder.config, mask_threshold=0.5)
    torch.testing.assert_close(decoder(**given).mask_logits, full.mask_logits)  # what is trained
    mined = decoder.mine(given.pop("levels"))
    moved = decoder.decode_final(**given, mined=mined)
    torch.testing.assert_close(moved.mask_logits, full.mask_logits - 0.5)
    torch.testing.assert_close(moved.edge_logits, full.edge_logits)


@torch.no_grad()
def test_inference_may_add_sams_own_mask(decoder: VnsMaskDecoder) -> None:
    given = inputs()
    full = decoder(**given)
    decoder.config = replace(decoder.config, sum_with_sam=True)
    mined = decoder.mine(given.pop("levels"))
    summed = decoder.decode_final(**given, mined=mined).mask_logits
    torch.testing.assert_close(summed, full.mask_logits + full.sam_mask_logits)


def test_sam_is_frozen_and_everything_else_learns(decoder: VnsMaskDecoder) -> None:
    before = {key: value.clone() for key, value in decoder.sam.state_dict().items()}
    decoder.train()
    assert not decoder.sam.training
    output = decoder(**inputs())
    label = torch.zeros(3, 1, 16, 16)
    label[:, :, 4:12, 4:12] = 1
    sum(vns_loss(output, label, label).values(), torch.tensor(0.0)).backward()
    for name, parameter in decoder.named_parameters():
        assert (parameter.grad is None) == name.startswith("sam."), name
    assert all(torch.equal(before[key], value) for key, value in decoder.sam.state_dict().items())
    assert not any(key.startswith("sam.") for key in decoder.trainable_state_dict())


@pytest.mark.parametrize(("channels", "grid"), [(12, (3, 4)), (11, (4, 4))])
def test_levels_of_another_shape_are_refused(decoder: VnsMaskDecoder, channels: int, grid: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"even|channels"):
        decoder.mine([torch.zeros(1, *grid, channels)] * 4)


def test_the_gradient_of_a_map_lies_as_the_map() -> None:
    feature = torch.randn(2, 8, 6, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    vector = torch.randn(2, 8)
    read = dot(vector, feature)
    torch.testing.assert_close(read, torch.einsum("pc,pchw->phw", vector, feature)[:, None])
    torch.testing.assert_close(dot(vector, feature[:1]), torch.einsum("pc,chw->phw", vector, feature[0])[:, None])
    (gradient,) = torch.autograd.grad(read.sum(), feature)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
