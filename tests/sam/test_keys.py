import json

import pytest
import torch
import transformers

from vns_sam.sam.config import VITS, vit_config
from vns_sam.sam.keys import decoder_key_to_hf, decoder_key_to_meta, hf_key_to_own, meta_key_to_own
from vns_sam.sam.mask_decoder import SamMaskDecoder
from vns_sam.sam.model import SamModel
from vns_sam.sam.registry import PUBLISHED as HUB

PUBLISHED = ("vit_b", "vit_l", "vit_h")


def shapes(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_every_tensor_of_the_published_models_has_its_place(backbone, meta_names):
    vit = VITS[backbone]
    with torch.device("meta"):
        own = SamModel(vit_config(backbone))
        hf = transformers.SamModel(transformers.SamConfig(vision_config={**vars(vit), "mlp_dim": 4 * vit.hidden_size}))
    hf_shapes, own_shapes = shapes(hf), shapes(own)
    assert {hf_key_to_own(key): shape for key, shape in hf_shapes.items()} == own_shapes
    names = meta_names(vit.num_hidden_layers)
    assert {meta_key_to_own(meta): hf_shapes[name] for meta, name in names.items()} == own_shapes
    assert sum(value.numel() for value in own.state_dict().values()) == HUB[backbone].parameters


def test_levels_are_taken_from_the_blocks_that_attend_globally():
    assert [VITS[name].global_attn_indexes for name in PUBLISHED] == [
        (2, 5, 8, 11),
        (5, 11, 17, 23),
        (7, 15, 23, 31),
    ]


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_frozen_decoder_keys_of_the_authors_files(backbone, fixtures_dir):
    frozen = json.loads((fixtures_dir / "vns" / f"keys_{backbone}.json").read_text())["frozen_sam_decoder"]
    with torch.device("meta"):
        own = shapes(SamMaskDecoder(vit_config(backbone).mask_decoder))
    assert {decoder_key_to_hf(key): tuple(shape) for key, shape in frozen.items()} == own
    assert [decoder_key_to_meta(decoder_key_to_hf(key)) for key in frozen] == list(frozen)


@pytest.mark.parametrize(
    ("meta", "hf"),
    [
        ("hf_mlp.layers.1.bias", "hf_mlp.layers.0.bias"),
        ("edge_mlp.layers.0.weight", "edge_mlp.proj_in.weight"),
        ("transformer.norm_internal_attn.weight", "transformer.norm_internal_attn.weight"),
        ("transformer.layers.1.self_attn.out_proj.bias", "transformer.layers.1.self_attn.out_proj.bias"),
        ("fusion_layer.0.weight", "fusion_layer.0.weight"),
    ],
)
def test_names_around_the_decoder(meta, hf):
    assert decoder_key_to_hf(meta) == hf
    assert decoder_key_to_meta(hf) == meta
