"""The builds that the paper compares: their sizes, that each runs, learns and is another model than the full one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from narrow import CONFIG, inputs
from workshop import NARROW

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam.model import SamModel
from vns_sam.vns.ablations import ABLATIONS, table_rows
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.decoder import VnsDecoderOutput, VnsMaskDecoder
from vns_sam.vns.losses import vns_loss
from vns_sam.vns.model import VnsSamModel, parameter_report
from vns_sam.vns.switches import SWITCHES, Variant, change_switches

COUNTS = {
    "tokens": 280_128,
    "mask-token-no-nsfm": 1_394_082,
    "no-nsfm": 1_599_938,
    "no-dpe": 1_255_112,
    "mask-token": 2_229_322,
    "epl-epl": 1_387_336,
    "mpl-mpl": 3_762_508,
    "epl-mpl": 2_574_922,
    "no-token-fusion": 2_509_130,
    "cross-attention": 2_574_922 + 131_712,
    "dynamic-gate": 2_574_922 + 3_136,
    "linear-fusion": 2_640_714,
    "no-wavelets": 2_371_894,
    "only-high": 2_574_922 - 141_172,
    "only-low": 2_574_922 - 141_172,
    "full": 2_574_922,
}
"""Trainable parameters on ViT-L: those of the authors' builds where they are known, else worked out by hand."""

VARIANTS: tuple[Variant, ...] = ("official", "paper")
EVERY = [(name, variant) for name in ABLATIONS for variant in VARIANTS]


def build(name: str, variant: Variant) -> VnsMaskDecoder:
    """A narrow decoder whose parts, where it shares them with the full one, have its weights."""
    torch.manual_seed(0)
    full = VnsMaskDecoder(replace(CONFIG, variant=variant))
    switches = change_switches(variant, ABLATIONS[name].switches)
    decoder = VnsMaskDecoder(replace(CONFIG, variant=variant, switches=switches))
    own = decoder.state_dict()
    state = full.state_dict()
    decoder.load_state_dict({k: state[k] for k in own if k in state and state[k].shape == own[k].shape}, strict=False)
    return decoder.eval()


def maps(output: VnsDecoderOutput) -> Iterator[tuple[str, torch.Tensor]]:
    for field in fields(output):
        value = getattr(output, field.name)
        if value is not None:
            yield field.name, value


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_sizes_on_vit_l(name: str) -> None:
    switches = change_switches("official", ABLATIONS[name].switches)
    with torch.device("meta"):
        decoder = VnsMaskDecoder(VnsSamConfig("vit_l", switches=switches))
    rows = {row.part: row.parameters for row in parameter_report(decoder)}
    assert rows["trained"] == COUNTS[name] == sum(p.numel() for p in decoder.parameters() if p.requires_grad)


@pytest.mark.parametrize(("name", "mib"), [("tokens", 1.1), ("no-nsfm", 6.1), ("no-dpe", 4.8), ("full", 9.8)])
def test_table_six_counts_mib(name: str, mib: float) -> None:
    assert COUNTS[name] * 4 / 2**20 == pytest.approx(mib, abs=0.05)


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_every_build_learns(name: str, variant: Variant) -> None:
    decoder = build(name, variant).train()
    output = decoder(**inputs())
    for field, value in maps(output):
        channels = {"sam_masks": (4, 16, 16), "offered": (4, 16, 16), "iou_scores": (4,), "scores": (4,)}.get(
            field, (1, 16, 16)
        )
        assert value.shape == (3, *channels), field
    label = torch.zeros(3, 1, 16, 16)
    label[:, :, 4:12, 4:12] = 1
    terms = vns_loss(output, label, label)
    switches = decoder.switches
    assert len(terms) == (1 + switches.edge_token) * (1 + switches.dual_level)
    sum(terms.values(), torch.tensor(0.0)).backward()
    for key, parameter in decoder.named_parameters():
        assert (parameter.grad is None) == key.startswith("sam."), key
        assert parameter.grad is None or parameter.grad.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_prompts_do_not_feel_each_other(name: str, variant: Variant) -> None:
    decoder, given = build(name, variant), inputs()
    together = decoder(**given)
    for row, image in enumerate(given["image_index"].tolist()):
        alone = decoder(
            given["image_embeddings"][image : image + 1],
            given["image_pe"],
            given["sparse"][row : row + 1],
            given["dense"][row : row + 1],
            [level[image : image + 1] for level in given["levels"]],
            torch.tensor([0]),
        )
        for field, expected in maps(alone):
            scale = max(1.0, expected.abs().max().item())
            torch.testing.assert_close(getattr(together, field)[row], expected[0], atol=1e-5 * scale, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_the_short_way_of_inference_gives_the_same(name: str, variant: Variant) -> None:
    decoder, given = build(name, variant), inputs()
    full = decoder(**given)
    mined = decoder.mine(given.pop("levels"))
    short = decoder.decode_final(**given, mined=mined)
    torch.testing.assert_close(short.mask_logits, full.mask_logits)
    assert (short.edge_logits is None) == (full.edge_logits is None) == (not decoder.switches.edge_token)
    if short.edge_logits is not None:
        torch.testing.assert_close(short.edge_logits, full.edge_logits)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_builds_compute_the_same(variant: Variant) -> None:
    found = {name: build(name, variant)(**inputs()) for name in ABLATIONS}
    names = list(found)
    for i, name in enumerate(names):
        for other in names[:i]:
            one, two = dict(maps(found[name])), dict(maps(found[other]))
            same = one.keys() == two.keys() and all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)
            assert not same, (name, other)


def test_the_preset_is_the_full_model() -> None:
    for variant in VARIANTS:
        assert change_switches(variant, ABLATIONS["full"].switches) == SWITCHES[variant]


def test_rows_of_the_tables() -> None:
    assert list(table_rows("VI").values()) == ["tokens", "no-nsfm", "no-dpe", "full"]
    assert list(table_rows("VII").values()) == ["mask-token-no-nsfm", "no-nsfm", "mask-token", "full"]
    assert list(table_rows("X")) == ["w/o WD", "w only HF", "w only LF", "Ours"]


def test_a_model_of_an_ablation_is_saved_and_loaded(sam: SamModel, tmp_path: Any) -> None:
    config = VnsSamConfig.for_sam(sam.config, ablation="mask-token", inner_channels=8, head_channels=8)
    model = VnsSamModel.from_sam(sam, config).eval()
    model.save_pretrained(tmp_path)
    again = VnsSamModel.from_pretrained(tmp_path, sam)
    assert again.config == config
    assert again.decoder.edge_mlp is None


def test_a_recipe_gives_only_what_differs() -> None:
    config = VnsSamConfig.for_sam(NARROW, ablation="no-nsfm", switches={"fusion_convs": 2}, variant="official")
    assert config.method == replace(SWITCHES["official"], nsfm=False, fusion_convs=2)
    partly = {**VnsSamConfig.for_sam(NARROW, variant="paper").to_dict(), "switches": {"wavelets": "high"}}
    assert VnsSamConfig.from_dict(partly).method == replace(SWITCHES["paper"], wavelets="high")
    assert VnsSamConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"ablation": "no-nfsm"}, "no ablation 'no-nfsm'", "'no-nsfm'"),
        ({"switches": {"wavelet": "high"}}, "no switch 'wavelet'", "'wavelets'"),
        ({"switches": {"wavelets": "hihg"}}, "'wavelets' cannot be 'hihg'", "'high'"),
        ({"switches": {"nsfm": 0}}, "'nsfm' cannot be '0'", "true, false"),
        ({"switches": {"edge_token": False}}, "must be 'none', found 'readout'", "token_fusion: none"),
        ({"switches": SWITCHES["paper"], "ablation": "tokens"}, "not both", "mapping"),
        ({"head_chanels": 8}, "no field 'head_chanels'", "'head_channels'"),
        ({"variant": "papr"}, "found 'papr'", "'paper'"),
    ],
)
def test_what_does_not_exist_is_refused(given: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        VnsSamConfig.for_sam(NARROW, **given)
    assert hint in error.value.hint


def test_a_config_file_with_an_unknown_switch_is_a_bad_checkpoint() -> None:
    with pytest.raises(CheckpointError, match=r"config.json: switch 'wavelets' cannot be 'hgih'"):
        VnsSamConfig.from_dict({"base": "x", "switches": {"wavelets": "hgih"}})
