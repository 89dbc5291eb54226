import io

import pytest
import torch

from vns_sam.errors import CheckpointError
from vns_sam.inference.load import load_model
from vns_sam.sam.meta import load_meta
from vns_sam.sam.prompt_encoder import MASK_LOGIT
from vns_sam.types import PromptBatch

BOX = torch.tensor([[12.0, 9.0, 70.0, 81.0]])
POINTS, LABELS = torch.tensor([[[30.0, 40.0], [5.0, 90.0]]]), torch.tensor([[1, 0]])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, meta_state):
    path = tmp_path_factory.mktemp("meta") / "sam_vit_test.pth"
    torch.save(meta_state, path)
    return load_meta(path)


def test_every_tensor_is_used(loaded, meta_state):
    _, report = loaded
    assert len(report.used) == len(meta_state)
    assert report.missing == report.left_over == ()
    assert str(report) == f"{len(meta_state)} tensors used, 0 missing, 0 left over"


@pytest.mark.parametrize("given", ["box", "points", "mask", "box+points", "box+mask", "points+mask", "box+points+mask"])
@torch.inference_mode()
def test_output_is_that_of_transformers(given, loaded, hf_sam):
    model, _ = loaded
    generator = torch.Generator().manual_seed(8)
    pixels = torch.randn(2, 3, 96, 96, generator=generator)
    mask = torch.rand(1, 1, 24, 24, generator=generator)
    batch = PromptBatch(
        torch.tensor([1]),
        BOX if "box" in given else None,
        POINTS if "points" in given else None,
        LABELS if "points" in given else None,
        mask if "mask" in given else None,
    )
    masks, scores = model.decode_all(model.encode_pixels(pixels), batch)
    prompts = {
        "input_boxes": BOX[None] if "box" in given else None,
        "input_points": POINTS[None] if "points" in given else None,
        "input_labels": LABELS[None] if "points" in given else None,
        "input_masks": MASK_LOGIT * (2 * mask - 1) if "mask" in given else None,
    }
    for multimask, own in ((False, slice(0, 1)), (True, slice(1, 4))):
        theirs = hf_sam(pixels[1:], **prompts, multimask_output=multimask)
        torch.testing.assert_close(masks[:, own], theirs.pred_masks[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(scores[:, own], theirs.iou_scores[0], atol=1e-5, rtol=1e-5)
    assert masks.std() > 0.1


@pytest.mark.parametrize(
    "added", ["mask_decoder.hf_token.weight", "image_encoder.blocks.0.Adapter.D_fc1.weight", "prompt_encoder.more"]
)
def test_what_was_added_to_sam_is_not_dropped(added, tmp_path, meta_state):
    path = tmp_path / "more.pth"
    torch.save(meta_state | {added: torch.zeros(2, 256)}, path)
    with pytest.raises(CheckpointError, match="1 tensors that this model has no place for, the first is"):
        load_meta(path)


def test_sam_med2d_is_refused_by_its_name(tmp_path, meta_state):
    """Names and shapes of its published file: squeeze and excite, then two convolutions, in each block."""
    width = meta_state["image_encoder.patch_embed.proj.weight"].shape[0]
    shapes = {
        "norm.weight": (width,),
        "norm.bias": (width,),
        "channel.0.weight": (width // 4, width),
        "channel.2.weight": (width, width // 4),
        "spatial.0.weight": (width, width, 3, 3),
        "spatial.2.weight": (width, width, 4, 4),
    }
    added = {f"image_encoder.blocks.{i}.Adapter.{key}": torch.zeros(s) for i in range(4) for key, s in shapes.items()}
    path = tmp_path / "sam-med2d_b.pth"
    torch.save({"model": {**meta_state, **added}, "optimizer": {}}, path)
    with pytest.raises(CheckpointError, match="is a SAM-Med2D: its encoder has an adapter in 4 blocks"):
        load_model(path)
    torch.save({"model": meta_state}, path)
    assert load_model(path).info.input_side == 96


def test_half_precision_weights_become_float32(tmp_path, meta_state):
    path = tmp_path / "half.pth"
    torch.save({key: value.half() for key, value in meta_state.items()}, path)
    assert {value.dtype for value in load_meta(path)[0].state_dict().values()} == {torch.float32}


def saved(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


class Other:
    """Not a tensor: unpickling it would run its code."""


def without_last_block(state):
    return {key: value for key, value in state.items() if ".blocks.7." not in key}


def without_decoder(state):
    return {key: value for key, value in state.items() if not key.startswith("mask_decoder.")}


def with_other_shape(state):
    return state | {"mask_decoder.mask_tokens.weight": torch.zeros(5, 256)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda state: b"", "is damaged or no file of PyTorch weights"),
        (lambda state: b"<html>not found</html>", "is damaged or no file of PyTorch weights"),
        (lambda state: saved(state)[:200_000], "is damaged or no file of PyTorch weights"),
        (lambda state: saved({"model": Other()}), r"loading it would run 'test_meta\.Other'"),
        (lambda state: saved([1, 2]), "must hold a dictionary of tensors, found a list"),
        (lambda state: saved({}), "must hold a dictionary of tensors, found an empty one"),
        (lambda state: saved({"epoch": 3, **state}), "must hold a dictionary of tensors, found a dictionary of int"),
        (lambda state: saved({"conv1.weight": torch.zeros(1)}), "its first tensor is 'conv1.weight'"),
        (
            lambda state: saved(without_last_block(state)),
            "7 blocks, of which 3 attend over the whole grid; expected 4",
        ),
        (lambda state: saved(without_decoder(state)), "lacks 120 of"),
        (lambda state: saved(with_other_shape(state)), r"must have shape \(4, 256\), found \(5, 256\)"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(content, message, tmp_path, meta_state):
    path = tmp_path / "sam.pth"
    path.write_bytes(content(meta_state))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_meta(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*sam\.pth"):
        load_meta(tmp_path / "sam.pth")
