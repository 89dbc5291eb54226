"""Every author's file as people have it: wrapped, prefixed, in half precision, a training checkpoint; by its path."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foundation_models import (
    hf_sam2,
    hq_parts,
    meta_sam2_state,
    meta_sam3_state,
    meta_sam31_state,
    mobile_state,
    narrow_foundation,
    shaken,
)
from safetensors.torch import save_file
from torch import nn
from workshop import IMAGES, PROMPTS

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.hq.config import HqSamConfig
from vns_sam.hq.decoder import HqMaskDecoder
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.sam import registry
from vns_sam.sam.config import SamConfig
from vns_sam.sam.foundations import mobile, sam2, sam3
from vns_sam.sam.foundations.sam2 import build_hf_sam2
from vns_sam.sam.foundations.sam3 import build_hf_sam3
from vns_sam.sam.model import SamModel
from vns_sam.sam.zoo import convert_sam, load_sam
from vns_sam.types import PromptBatch

State = dict[str, torch.Tensor]
Authors = Callable[[str], tuple[State, nn.Module]]


@pytest.fixture(scope="module")
def hiera() -> nn.Module:
    """A narrow SAM 2 of transformers."""
    widths = {"embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 4]}
    return hf_sam2(64, blocks_per_stage=[1, 1, 2, 1], global_attention_blocks=[2], **widths)


@pytest.fixture
def authors(
    hiera: nn.Module, sam3: nn.Module, meta_state: State, monkeypatch: pytest.MonkeyPatch, vit: SamModel
) -> Authors:
    """A function from an author to the tensors of a file of theirs, narrow, and the model that it is; the published
    numbers are the narrow ones'.
    """

    def of(author: str) -> tuple[State, nn.Module]:
        if author in ("sam2.1", "hq sam2.1"):
            model: nn.Module = of_sam2(hiera, monkeypatch)
            state = meta_sam2_state(hiera)
        elif author in ("sam3", "sam3.1"):
            model = of_sam3(sam3, author, monkeypatch)
            state = meta_sam3_state(sam3) if author == "sam3" else meta_sam31_state(sam3)
            turns = "detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis"  # stored though it is computed
            state[turns] = torch.ones(4, 2, dtype=torch.complex64)
        elif author in ("mobile-sam", "hq light"):
            model = narrow_foundation("mobile-sam")
            config = model.config
            monkeypatch.setattr(mobile, "mobile_config", lambda: config)
            state = mobile_state(model)
        else:
            state, model = dict(meta_state), vit
        if author == "slimsam":
            state = {name: part for key, value in state.items() for name, part in apart(key, value).items()}
        if author.startswith("hq"):
            assert isinstance(model, SamModel)
            early = {"hq": "level", "hq light": "entry", "hq sam2.1": "none"}[author]
            decoder = shaken(HqMaskDecoder(HqSamConfig.for_sam(model.config, early=early)))
            assert isinstance(decoder, HqMaskDecoder)
            state |= hq_parts(decoder, "sam_mask_decoder." if author == "hq sam2.1" else "mask_decoder.")
            model = HqSamModel(model, decoder).eval()
        return state, model

    return of


def of_sam2(theirs: nn.Module, monkeypatch: pytest.MonkeyPatch) -> SamModel:
    model = build_hf_sam2(theirs.config.to_dict(), theirs.state_dict(), "hub")  # type: ignore[operator,union-attr]
    config = model.config
    monkeypatch.setattr(sam2, "HIERA", {"sam2.1-t": config.backbone})
    monkeypatch.setattr(sam2, "sam2_config", lambda name, backbone: replace(config, name=name, backbone=backbone))
    return model


def of_sam3(theirs: nn.Module, author: str, monkeypatch: pytest.MonkeyPatch) -> SamModel:
    model = build_hf_sam3(theirs.config.to_dict(), theirs.state_dict(), "hub")  # type: ignore[operator,union-attr]
    config = replace(model.config, name=author)

    def narrow(name: str = "sam3") -> SamConfig:
        return replace(config, name=name)

    monkeypatch.setattr(sam3, "sam3_config", narrow)
    return model


def apart(key: str, value: torch.Tensor) -> State:
    """SlimSAM's authors hold query, key and value apart."""
    if ".attn.qkv." not in key:
        return {key: value}
    return {key.replace(".qkv.", f".{part}."): one.clone() for part, one in zip("qkv", value.chunk(3), strict=True)}


@pytest.fixture
def vit(meta_state: State) -> SamModel:
    """The toy SAM on a ViT."""
    from vns_sam.sam.meta import build_meta

    return build_meta(meta_state, "toy.pth")[0]


AUTHORS = ["sam", "slimsam", "sam2.1", "sam3", "sam3.1", "mobile-sam", "hq", "hq light", "hq sam2.1"]


def store(how: str, state: State, path: Path) -> Path:
    """Writes a file as some people do."""
    if how == "safetensors":
        save_file({k: v.contiguous() for k, v in state.items() if not v.is_complex()}, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    content: Any = {
        "bare": state,
        "model": {"model": OrderedDict(state), "epoch": 3},
        "state_dict": {"state_dict": state, "hyper_parameters": {"lr": 0.1}},
        "model_state": {"model_state": state, "iteration": 7, "best_metric": np.float64(0.7)},
        "module.": {f"module.{key}": value for key, value in state.items()},
        "sam.": {f"sam.{key}": value for key, value in state.items()},
        "training": {
            "model": {f"module.{key}": value for key, value in state.items()},
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
            "lr_scheduler": {"last_epoch": 3},
            "args": argparse.Namespace(out=Path("runs"), lr=1e-4),
            "epoch": 3,
        },
    }[how]
    torch.save(content, path)
    return path


WAYS = ["bare", "training", "safetensors", "fp16 model"]
MORE = ["model", "state_dict", "model_state", "module.", "sam.", "fp16 bare", "fp16 training", "fp16 safetensors"]


@pytest.mark.parametrize("how", [*WAYS, *(pytest.param(how, marks=pytest.mark.slow) for how in MORE)])
@pytest.mark.parametrize("author", AUTHORS)
def test_a_file_is_loaded_by_its_path(author: str, how: str, authors: Authors, tmp_path: Path) -> None:
    state, expected = authors(author)
    dtype, how = torch.float16 if how.startswith("fp16 ") else torch.float32, how.removeprefix("fp16 ")
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    model = load_network(store(how, state, tmp_path / "weights.pt"))
    assert type(model) is type(expected)
    found, wanted = model.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        assert torch.equal(value, wanted[key].to(dtype).float()) or not value.is_floating_point(), key
        assert value.dtype == wanted[key].dtype


@pytest.mark.parametrize("author", AUTHORS)
def test_a_loaded_file_answers_as_the_model_that_it_was_made_of(author: str, authors: Authors, tmp_path: Path) -> None:
    state, expected = authors(author)
    torch.save(state, tmp_path / "weights.pt")
    model = load_network(tmp_path / "weights.pt")
    first, second = (one.decode(one.encode(IMAGES), PROMPTS, [0, 1]) for one in (model, expected))  # type: ignore[operator]
    assert torch.equal(first.mask_logits, second.mask_logits)
    assert np.array_equal(first.scores, second.scores)


@torch.no_grad()
def test_hq_light_reads_what_enters_the_third_stage(authors: Authors) -> None:
    """By a hook in the encoder, where the authors take it."""
    _, model = authors("hq light")
    assert isinstance(model, HqSamModel)
    seen: list[torch.Tensor] = []
    stage = model.sam.image_encoder.layers[1]  # type: ignore[index,union-attr]
    stage.downsample.register_forward_hook(lambda _module, _given, out: seen.append(out))
    side = model.preprocessing.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    features = model.encode_pixels(pixels)
    decoder = model.decoder
    assert decoder.early_embedding is not None
    assert decoder.image_embedding is not None
    expected = decoder.early_embedding(seen[0]) + decoder.image_embedding(features.embedding)
    torch.testing.assert_close(features.mined[0], expected, atol=1e-5, rtol=1e-5)
    assert model.config.early_channels == model.sam.config.backbone.widths[2]  # type: ignore[union-attr]


@torch.no_grad()
def test_hq_of_sam2_convolves_the_attended_image_alone_and_adds_the_mask_that_sam_chose(authors: Authors) -> None:
    _, model = authors("hq sam2.1")
    assert isinstance(model, HqSamModel)
    side = model.preprocessing.image_size
    features = model.encode_pixels(torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)))
    assert features.mined == ()
    batch = PromptBatch(torch.tensor([0]), boxes=torch.tensor([[8.0, 8, 90, 70]]))
    sparse, dense = model.sam.embed_prompts(features, batch)
    sam, decoder = model.sam.mask_decoder, model.decoder
    own = torch.cat([sam.obj_score_token.weight, sam.iou_token.weight, sam.mask_tokens.weight, decoder.token.weight])  # type: ignore[union-attr]
    tokens = torch.cat([own[None], sparse], 1)
    pe = model.sam.image_pe((dense.shape[-2], dense.shape[-1])).flatten(2).mT
    keys = (features.embedding + dense).flatten(2).mT
    tokens, keys = sam.transformer(tokens, keys, pe)
    upscaled = sam.upscale(keys, (dense.shape[2], dense.shape[3]), features.finer)
    hq = torch.einsum("pc,pchw->phw", decoder.mask_mlp(tokens[:, 6]), decoder.mask_embedding(upscaled.as_maps()))
    chosen, score = sam.choose(sam.read_masks(tokens, upscaled), sam.read_scores(tokens))
    found = model.decode_batch(features, batch)
    torch.testing.assert_close(found.mask_logits[:, 0], hq + chosen[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.scores, score)


@pytest.mark.parametrize("author", ["hq light", "hq sam2.1"])
def test_an_hq_sam_is_saved_without_its_sam_and_found_again(author: str, authors: Authors, tmp_path: Path) -> None:
    state, expected = authors(author)
    torch.save(state, tmp_path / "weights.pt")
    load_network(tmp_path / "weights.pt").save_pretrained(tmp_path / "own")  # type: ignore[attr-defined]
    again = load_network(tmp_path / "own")
    first, second = (one.decode(one.encode(IMAGES), PROMPTS, [0, 1]) for one in (again, expected))  # type: ignore[operator]
    torch.testing.assert_close(first.mask_logits, second.mask_logits, atol=1e-6, rtol=0)  # another place in memory


@pytest.mark.parametrize(
    ("author", "what"),
    [
        ("sam2.1", "a SAM 2.1 tiny"),
        ("sam3", "a SAM 3"),
        ("sam3.1", "a SAM 3.1"),
        ("mobile-sam", "a MobileSAM"),
        ("hq", "an HQ-SAM"),
        ("hq light", "an HQ-SAM light"),
        ("hq sam2.1", "an HQ-SAM on SAM 2.1 tiny"),
    ],
)
def test_a_file_is_named_for_what_it_is_before_anything_is_built(
    author: str, what: str, authors: Authors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vns_sam.sam import meta

    state, _ = authors(author)
    torch.save({"model": state}, tmp_path / "x.pt")
    monkeypatch.setattr(SamModel, "__init__", lambda *_: pytest.fail("a model was built"))
    if author == "hq":  # its SAM is a ViT: what is added is what is refused
        assert registry.describe(state, tmp_path / "x.pt") == what
        return
    with pytest.raises(CheckpointError, match=rf"x\.pt is {what}; expected a SAM ViT"):
        meta.load_meta(tmp_path / "x.pt")


@pytest.mark.parametrize("author", AUTHORS)
def test_half_a_file_says_what_it_lacks(author: str, authors: Authors, tmp_path: Path) -> None:
    state, _ = authors(author)
    half = {key: value for key, value in state.items() if "iou_prediction_head" not in key}
    assert len(half) < len(state)
    torch.save({"state_dict": half}, tmp_path / "half.pt")
    with pytest.raises(
        CheckpointError, match=r"half\.pt.* lacks 6 of \d+ tensors, the first is 'mask_decoder\.iou_pred"
    ):
        load_network(tmp_path / "half.pt")


@pytest.mark.parametrize("author", AUTHORS)
def test_what_was_added_to_a_file_is_not_dropped(author: str, authors: Authors, tmp_path: Path) -> None:
    state, _ = authors(author)
    torch.save({**state, "mask_decoder.lora.weight": torch.ones(2)}, tmp_path / "more.pt")
    with pytest.raises(CheckpointError, match=r"more\.pt.* holds 1 tensors .* 'mask_decoder\.lora\.weight'"):
        load_network(tmp_path / "more.pt")


def test_a_mobilesam_that_was_tuned_on_other_pictures_gets_its_input_size(authors: Authors, tmp_path: Path) -> None:
    """LiteMedSAM's is 256 pixels, which no tensor tells."""
    state, expected = authors("mobile-sam")
    torch.save(state, tmp_path / "lite_medsam.pth")
    convert_sam(tmp_path / "lite_medsam.pth", tmp_path / "lite", image_size=96)
    model = load_sam(tmp_path / "lite")
    assert model.preprocessing.image_size == model.config.image_size == 96 != expected.config.image_size  # type: ignore[union-attr]
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits.shape[-1] == 24


@pytest.mark.parametrize(
    ("author", "side", "message"),
    [
        ("sam", 512, "the positions of vit_32x8 are for 96 pixels, 512 are not possible"),
        ("sam2.1", 500, "image_size must be a multiple of 32, found 500"),
    ],
)
def test_an_input_size_that_cannot_be(author: str, side: int, message: str, authors: Authors, tmp_path: Path) -> None:
    state, _ = authors(author)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(UsageError, match=message):
        convert_sam(tmp_path / "x.pt", tmp_path / "out", image_size=side)
