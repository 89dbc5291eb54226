"""IS-Net and the ground-truth encoder: parity with the release, sizes, names, any input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from recipe_weights import fill, recipe_state
from torch import nn

from vns_sam.dis.isnet import GtEncoder, IsNet, scale_channels

GOLDEN = Path(__file__).parents[1] / "golden" / "dis_networks.json"
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize("name", ["128", "odd141x203"])
@torch.no_grad()
def test_isnet_equals_the_release(isnet: IsNet, release: dict[str, torch.Tensor], name: str) -> None:
    sides, features = isnet(release[f"x_{name}"])
    for k, side in enumerate(sides, 1):
        torch.testing.assert_close(side, release[f"side{k}_{name}"], **TOLERANCE)
    if name == "128":
        for k, found in enumerate(features, 1):
            torch.testing.assert_close(found[:1], release[f"feat{k}_128"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_gt_encoder_equals_the_release(gt_encoder: GtEncoder, release: dict[str, torch.Tensor], mode: str) -> None:
    sides, features = gt_encoder.train(mode == "train")(release["label_128"])
    for k, side in enumerate(sides, 1):
        torch.testing.assert_close(side, release[f"{mode}_side{k}"], **TOLERANCE)
    for k, found in enumerate(features[1:], 2):
        torch.testing.assert_close(found, release[f"{mode}_feat{k}"], rtol=0, atol=1e-3 if mode == "train" else 1e-4)


@pytest.mark.parametrize(
    ("network", "layout"),
    [
        (lambda: IsNet(), "isnet5"),
        (lambda: IsNet(in_channels=3), "isnet3"),
        (lambda: GtEncoder(), "gt_encoder"),
    ],
)
def test_tensors_are_those_of_the_releases(network: type[nn.Module], layout: str, fixtures_dir: Path) -> None:
    expected = json.loads((fixtures_dir / "dis" / f"keys_{layout}.json").read_text())
    with torch.device("meta"):
        made = network()
    assert [(k, list(v.shape)) for k, v in made.state_dict().items()] == [
        (k, v["shape"]) for k, v in expected["keys"].items()
    ]
    assert sum(p.numel() for p in made.parameters()) == expected["n_params"]


def test_parameters() -> None:
    with torch.device("meta"):
        nets = (IsNet(), IsNet(3), GtEncoder(), IsNet(width=0.25), GtEncoder(width=0.25))
        sizes = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert sizes == [44_047_942, 44_046_790, 6_877_734, 2_773_030, 451_974]


def test_an_untrained_correction_gives_the_coarse_mask_back() -> None:
    network = IsNet(width=0.1, residual=True).eval()
    x = torch.rand(2, 5, 64, 96, generator=torch.Generator().manual_seed(0))
    sides, _ = network(x)
    assert len(sides) == 6
    for side in sides:
        torch.testing.assert_close(side, (2 * x[:, 3:4] - 1).sigmoid())
    assert torch.equal(network.mask_logits(x).sigmoid(), sides[0])


def test_recipe_weights_are_those_that_the_release_was_run_with(isnet: IsNet, numbers: dict[str, str]) -> None:
    digest = hashlib.sha256()
    for key, value in sorted(isnet.state_dict().items()):
        digest.update(key.encode())
        digest.update((value.half() if value.is_floating_point() else value).numpy().tobytes())
    assert digest.hexdigest() == numbers["sha256_fp16_isnet5"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 63), (65, 33), (96, 200)])
@torch.no_grad()
def test_any_size(height: int, width: int) -> None:
    net, encoder = IsNet(width=0.1).eval(), GtEncoder(width=0.1).eval()
    sides, features = net(torch.zeros(2, 5, height, width))
    truth_sides, truth_features = encoder(torch.zeros(2, 1, height, width))
    assert {tuple(side.shape) for side in (*sides, *truth_sides)} == {(2, 1, height, width)}
    assert [f.shape for f in features] == [f.shape for f in truth_features]


@torch.no_grad()
def test_the_prediction_alone_is_the_first_side() -> None:
    net, x = fill(IsNet(width=0.1), "small"), torch.rand(1, 5, 40, 50)
    torch.testing.assert_close(net.mask_logits(x).sigmoid(), net(x)[0][0])


def test_narrow_channels() -> None:
    assert [scale_channels(n, 1.0) for n in (1, 16, 64)] == [1, 16, 64]
    assert [scale_channels(n, 0.25) for n in (16, 32, 64, 512)] == [8, 8, 16, 128]


@pytest.mark.parametrize("name", ["isnet", "gt_encoder"])
@torch.no_grad()
def test_golden_values(name: str) -> None:
    net: nn.Module = IsNet(width=0.1) if name == "isnet" else GtEncoder(width=0.1)
    sides, features = fill(net, name)(golden_input(5 if name == "isnet" else 1))
    expected = json.loads(GOLDEN.read_text())[name]
    for k in range(6):
        assert sides[k][0, 0, ::9, ::11].flatten().tolist() == pytest.approx(expected["sides"][k], abs=1e-4)
        assert features[k].mean().item() == pytest.approx(expected["feature_means"][k], abs=1e-4)


def golden_input(channels: int) -> torch.Tensor:
    """A picture of waves, (1, C, 45, 53)."""
    y, x = torch.meshgrid(torch.arange(45.0), torch.arange(53.0), indexing="ij")
    return torch.stack([(0.1 * (k + 1) * x + 0.17 * y).sin() / 2 for k in range(channels)])[None]


def test_an_order_of_names_that_differs_loads_too() -> None:
    net = IsNet(width=0.1)
    state = dict(reversed(recipe_state(net, "small").items()))
    assert net.load_state_dict(state).missing_keys == []
