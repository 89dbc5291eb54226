"""Any SAM-shaped ViT: SlimSAM's pruned ones by the numbers on the hub, MedSAM, what others tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from workshop import IMAGES, PROMPTS

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError
from vns_sam.inference.load import load_network
from vns_sam.sam.config import VitConfig
from vns_sam.sam.model import SamModel
from vns_sam.sam.transformers_folder import write_transformers
from vns_sam.types import PromptBatch

SLIM = {"SlimSAM-50": (384, 1536), "SlimSAM-77": (168, 696)}
"""Width and MLP in the ``config.json`` of the hub's folders, which says nothing else."""
BOX = torch.tensor([[40.0, 30.0, 200.0, 170.0], [100.0, 20.0, 180.0, 240.0]])
POINTS, LABELS = torch.tensor([[[60.0, 90.0], [9.0, 200.0]]]).repeat(2, 1, 1), torch.tensor([[1, 0], [1, 1]])


def hf_vit(side: int, **vision: Any) -> transformers.SamModel:
    """Transformers' ``SamModel`` with random weights that all matter, and Meta's eps in the two-way blocks."""
    torch.manual_seed(0)
    config = transformers.SamConfig(
        vision_config={"image_size": side, **vision},
        prompt_encoder_config={"image_size": side},
        mask_decoder_config={"layer_norm_eps": 1e-5},
    )
    model = transformers.SamModel(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            matrix = value.ndim > 1 and not name.endswith(("rel_pos_h", "rel_pos_w", "pos_embed", "_embed.weight"))
            value.add_(noise / value[0].numel() ** 0.5 if matrix else 0.1 * noise)
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model


def published(theirs: transformers.SamModel, folder: Path, width: int, mlp: int) -> Path:
    """A folder as the hub has it: a ``config.json`` of two numbers."""
    theirs.save_pretrained(folder)
    config = {"architectures": ["SamModel"], "model_type": "sam", "initializer_range": 0.02, "torch_dtype": "float32"}
    parts = {"mask_decoder_config": {"model_type": ""}, "prompt_encoder_config": {"model_type": ""}}
    vision = {"hidden_size": width, "mlp_dim": mlp, "model_type": ""}
    (folder / "config.json").write_text(json.dumps({**config, **parts, "vision_config": vision}))
    return folder


def check_parity(theirs: transformers.SamModel, model: SamModel, side: int, atol: float = 1e-4) -> None:
    """Embedding, masks and scores for boxes, points, a mask, and all together."""
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    features = model.encode_pixels(pixels)
    torch.testing.assert_close(features.embedding, theirs.get_image_embeddings(pixels), atol=atol, rtol=0)
    coarse = torch.rand(2, 1, side // 4, side // 4, generator=torch.Generator().manual_seed(2))
    index = torch.tensor([0, 0])
    for batch in (
        PromptBatch(index, BOX),
        PromptBatch(index, points=POINTS, labels=LABELS),
        PromptBatch(index, masks=coarse),
        PromptBatch(index, BOX, POINTS, LABELS, coarse),
    ):
        masks, scores = model.decode_all(features, batch)
        for many, own in ((False, slice(0, 1)), (True, slice(1, 4))):
            for row in range(2):
                pair = slice(row, row + 1)
                out = theirs(
                    image_embeddings=features.embedding,
                    input_boxes=None if batch.boxes is None else batch.boxes[None, pair],
                    input_points=None if batch.points is None else batch.points[None, pair],
                    input_labels=None if batch.labels is None else batch.labels[None, pair],
                    input_masks=None if batch.masks is None else 10 * (2 * batch.masks[pair] - 1),
                    multimask_output=many,
                )
                torch.testing.assert_close(masks[pair, own], out.pred_masks[0], atol=atol, rtol=1e-4)
                torch.testing.assert_close(scores[pair, own], out.iou_scores[0], atol=atol, rtol=0)


@pytest.mark.parametrize("name", SLIM)
@torch.no_grad()
def test_a_slimsam_is_known_by_its_tensors(name: str, tmp_path: Path) -> None:
    """A quarter of the input, two of three blocks in windows: the rest is the published numbers."""
    width, mlp = SLIM[name]
    theirs = hf_vit(256, hidden_size=width, mlp_dim=mlp)
    folder = published(theirs, tmp_path / "hub", width, mlp)
    for path in (folder, folder / "model.safetensors"):
        model = load_network(path)
        assert isinstance(model, SamModel)
        vit = VitConfig(width, 12, 12, (2, 5, 8, 11), 14, mlp / width)
        assert (model.config.backbone, model.config.image_size) == (vit, 256)
    check_parity(theirs, model, 256)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SLIM, "vit_b"])
@torch.no_grad()
def test_parity_at_full_size(name: str, tmp_path: Path) -> None:
    """1024 pixels, all blocks: on processors with AVX-512 the two ways round by up to 2e-4."""
    width, mlp = SLIM.get(name, (768, 3072))
    theirs = hf_vit(1024, hidden_size=width, mlp_dim=mlp)
    model = load_network(published(theirs, tmp_path, width, mlp))
    assert isinstance(model, SamModel)
    check_parity(theirs, model, 1024, atol=5e-4)


def test_a_slimsam_goes_through_ours_and_back_to_transformers(tmp_path: Path) -> None:
    width, mlp = SLIM["SlimSAM-77"]
    theirs = hf_vit(256, hidden_size=width, mlp_dim=mlp, num_hidden_layers=4, global_attn_indexes=[0, 1, 2, 3])
    model = load_network(published(theirs, tmp_path / "hub", width, mlp))
    assert isinstance(model, SamModel)
    model.save_pretrained(tmp_path / "own")
    assert load_network(tmp_path / "own").config == model.config  # type: ignore[union-attr]
    write_transformers(model, tmp_path / "out")
    again = transformers.SamModel.from_pretrained(tmp_path / "out")
    assert again.config.vision_config.mlp_dim == mlp
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_folder_of_older_tools_has_its_weights_in_a_bin(tmp_path: Path) -> None:
    theirs = hf_vit(64, hidden_size=24, num_attention_heads=2, num_hidden_layers=4, global_attn_indexes=[0, 1, 2, 3])
    folder = published(theirs, tmp_path, 24, 96)
    torch.save(theirs.half().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = load_network(folder)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_blocks_of_unlike_width_are_refused(tmp_path: Path) -> None:
    """SlimSAM's global pruning leaves each block with a width of its own; transformers has no class for that."""
    theirs = hf_vit(64, hidden_size=24, num_attention_heads=2, num_hidden_layers=4, global_attn_indexes=[0, 1, 2, 3])
    state = dict(theirs.state_dict())
    state["vision_encoder.layers.1.mlp.lin1.weight"] = state["vision_encoder.layers.1.mlp.lin1.weight"][:50]
    torch.save(state, tmp_path / "pruned.pth")
    with pytest.raises(
        CheckpointError, match=r"pruned\.pth: '.*layers\.1\.mlp\.lin1\.weight' must have shape \(96, 24\)"
    ):
        load_network(tmp_path / "pruned.pth")


def test_medsam_gets_the_pixels_that_it_was_tuned_on(meta_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Stretched over the square and scaled to 0 .. 1, which its file, a SAM's, does not tell."""
    torch.save({f"module.{key}": value for key, value in meta_state.items()}, tmp_path / "medsam_vit_b.pth")
    options = ["--fit", "stretch", "--unit-pixels", "--out", str(tmp_path / "medsam")]
    assert main(["--quiet", "models", "convert", str(tmp_path / "medsam_vit_b.pth"), *options]) == 0
    model, plain = load_network(tmp_path / "medsam"), load_network(tmp_path / "medsam_vit_b.pth")
    picture = np.zeros((48, 96, 3), np.uint8)
    picture[:, 48:] = 255
    pixels, geometry = model.preprocessing(picture, torch.device("cpu"))
    assert geometry.scale_xy == (1.0, 2.0)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert pixels[:, :, 60:].min() == 1
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in model.state_dict().items())
    assert model.decode(model.encode(IMAGES), PROMPTS, [0, 1]).mask_logits.shape[0] == 4


@pytest.mark.parametrize("option", [["--fit", "pad"], ["--unit-pixels"], ["--image-size", "256"]])
def test_an_input_of_what_has_none_of_its_own_is_refused(option: list[str], tmp_path: Path, capsys: Any) -> None:
    command = ["models", "convert", "sam-tiny", "--to", "transformers", "--out", str(tmp_path), *option]
    assert main(command) == 2
    assert f"{option[0]} is of a SAM's own file, not of a folder of transformers" in capsys.readouterr().err
