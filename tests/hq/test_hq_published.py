"""HQ-SAM's published weights: equal to transformers' SamHQ, found by name, and re-saved without the SAM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from vns_sam.errors import CheckpointError
from vns_sam.hq.config import HqSamConfig
from vns_sam.hq.decoder import HqMaskDecoder
from vns_sam.hq.model import HqSamModel
from vns_sam.hq.published import load_hf
from vns_sam.inference.load import load_network
from vns_sam.sam import registry
from vns_sam.sam.keys import decoder_key_to_meta
from vns_sam.sam.registry import PUBLISHED
from vns_sam.sam.zoo import load_sam
from vns_sam.types import PromptBatch

BOX = torch.tensor([[12.0, 9.0, 70.0, 81.0]])
POINTS, LABELS = torch.tensor([[[30.0, 40.0], [5.0, 90.0]]]), torch.tensor([[1, 0]])
AUTHORS = {
    "token": "hf_token",
    "mask_mlp": "hf_mlp",
    "early_embedding": "compress_vit_feat",
    "image_embedding": "embedding_encoder",
    "mask_embedding": "embedding_maskfeature",
}


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory, hf_hq: transformers.SamHQModel) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    hf_hq.save_pretrained(folder)
    return folder


def outputs(model: HqSamModel, batch: PromptBatch) -> torch.Tensor:
    generator = torch.Generator().manual_seed(8)
    with torch.inference_mode():
        features = model.encode_pixels(torch.randn(2, 3, 96, 96, generator=generator))
        return model.decode_batch(features, batch).mask_logits


@pytest.mark.parametrize("token_only", [False, True])
@pytest.mark.parametrize("given", ["box", "points", "box+points"])
@torch.inference_mode()
def test_output_is_that_of_transformers(
    given: str, token_only: bool, hf_folder: Path, hf_hq: transformers.SamHQModel
) -> None:
    model = load_hf(hf_folder, "here")
    generator = torch.Generator().manual_seed(8)
    pixels = torch.randn(2, 3, 96, 96, generator=generator)
    box, points = "box" in given, "points" in given
    batch = PromptBatch(torch.tensor([1]), BOX if box else None, POINTS if points else None, LABELS if points else None)
    maps = model.decode_maps(model.encode_pixels(pixels), batch)
    mask = maps.hq_mask_logits if token_only else maps.hq_mask_logits + maps.sam_masks[:, :1]
    theirs = hf_hq(
        pixels[1:],
        input_boxes=BOX[None] if box else None,
        input_points=POINTS[None] if points else None,
        input_labels=LABELS[None] if points else None,
        multimask_output=False,
        hq_token_only=token_only,
    )
    torch.testing.assert_close(mask, theirs.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps.iou_scores[:, :1], theirs.iou_scores[0], atol=1e-5, rtol=1e-5)
    assert mask.std() > 0.1


def test_the_authors_file_and_transformers_folder_are_one_model(
    hf_folder: Path, tmp_path: Path, hf_hq: transformers.SamHQModel
) -> None:
    model = load_network(hf_folder)
    assert isinstance(model, HqSamModel)
    file = tmp_path / "sam_hq_vit_test.pth"
    torch.save(authors_state(model), file)
    again = load_network(file)
    assert isinstance(again, HqSamModel)
    assert (again.name, again.config.base) == ("hq_vit_32x8", str(file))
    batch = PromptBatch(torch.tensor([0, 1]), BOX.repeat(2, 1))
    torch.testing.assert_close(outputs(model, batch), outputs(again, batch), atol=1e-5, rtol=1e-5)


def test_a_published_file_names_its_sam_by_its_own_name(
    hf_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by this machine's copy of the file."""
    original = load_network(hf_folder)
    assert isinstance(original, HqSamModel)
    file = tmp_path / "cache" / "sam_hq_vit_tiny.pth"
    file.parent.mkdir()
    torch.save(authors_state(original), file)
    monkeypatch.setattr(registry, "download", lambda name, weights: file)
    model = load_network("hq_mobile-sam")
    assert isinstance(model, HqSamModel)
    assert {model.config.base, model.decoder.config.base} == {"hq_mobile-sam"}
    model.save_pretrained(tmp_path / "own")
    again = load_network(tmp_path / "own")
    assert again.info.digest == model.info.digest


def test_saved_again_it_finds_the_sam_where_it_came_from(hf_folder: Path, tmp_path: Path) -> None:
    model = load_network(hf_folder)
    assert isinstance(model, HqSamModel)
    model.save_pretrained(tmp_path / "own")
    again = load_network(tmp_path / "own")
    assert isinstance(again, HqSamModel)
    assert not [key for key in load_file(tmp_path / "own" / "model.safetensors") if key.startswith("sam.")]
    batch = PromptBatch(torch.tensor([1]), BOX)
    torch.testing.assert_close(outputs(model, batch), outputs(again, batch), atol=1e-5, rtol=1e-5)
    sam = load_sam(hf_folder)
    assert all(torch.equal(value, sam.state_dict()[key]) for key, value in model.sam.state_dict().items())


@pytest.mark.parametrize(
    ("name", "channels", "trained"),
    [("vit_b", 768, 1_071_104), ("vit_l", 1024, 1_333_248), ("vit_h", 1280, 1_595_392)],
)
def test_parameters_are_those_of_the_papers(name: str, channels: int, trained: int) -> None:
    with torch.device("meta"):
        decoder = HqMaskDecoder(HqSamConfig(name, early_channels=channels))
    assert sum(value.numel() for value in decoder.parameters() if value.requires_grad) == trained
    assert PUBLISHED[f"hq_{name}"].parameters == PUBLISHED[name].parameters + trained


def test_a_file_that_lacks_a_tensor_is_refused(hf_folder: Path, tmp_path: Path) -> None:
    model = load_network(hf_folder)
    assert isinstance(model, HqSamModel)
    state = authors_state(model)
    del state["mask_decoder.hf_token.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match=r"cut\.pth lacks 1 of \d+ tensors, the first is 'token\.weight'"):
        load_network(tmp_path / "cut.pth")


def test_without_network_one_line_names_the_authors_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"hq_vit_l \(syscv-community/sam-hq-vit-large, 1\.25 GB\)") as caught:
        load_network("hq_vit_l")
    assert "sam_hq_vit_l.pth" in caught.value.hint


def authors_state(model: HqSamModel) -> dict[str, torch.Tensor]:
    """The tensors as the authors name them: the inverse of the loader's table, written down apart from it."""
    sam = {meta_name(key): value for key, value in model.sam.state_dict().items()}
    trained = {}
    for key, value in model.decoder.trainable_state_dict().items():
        part, rest = key.split(".", 1)
        plain = decoder_key_to_meta(key).split(".", 1)[1] if part == "mask_mlp" else rest
        trained[f"mask_decoder.{AUTHORS[part]}.{plain}"] = value.clone()
    return {**sam, **trained}


def meta_name(key: str) -> str:
    from vns_sam.sam import keys

    tables = {
        "image_encoder.vit.": ("image_encoder.", keys.IMAGE_ENCODER),
        "prompt_encoder.": ("prompt_encoder.", keys.PROMPT_ENCODER),
        "mask_decoder.": ("mask_decoder.", keys.DECODER),
    }
    for prefix, (theirs, table) in tables.items():
        if key.startswith(prefix):
            return theirs + keys._translator(table, back=True)(key.removeprefix(prefix))
    return key
