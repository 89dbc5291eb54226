"""The networks are the published ones: sizes, tensor names, and what becomes of the authors' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vns_sam.errors import CheckpointError
from vns_sam.lowlight.discriminator import PatchDiscriminator
from vns_sam.lowlight.generator import GeneratorConfig, ResnetGenerator, init_weights
from vns_sam.lowlight.model import load_generator, save_generator

SMALL = GeneratorConfig(ngf=4, blocks=2)


def parameters(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_published_sizes() -> None:
    with torch.device("meta"):
        assert parameters(ResnetGenerator()) == 11_378_179
        assert parameters(PatchDiscriminator()) == 2_764_737


def test_tensor_names_of_the_authors() -> None:
    with torch.device("meta"):
        names = set(ResnetGenerator().state_dict())
    convolutions = [1, 4, 7, 19, 22, 26]
    blocks = [f"{i}.conv_block.{j}" for i in range(10, 19) for j in (1, 5)]
    layers = [*map(str, convolutions), *blocks]
    assert names == {f"model.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    names = set(PatchDiscriminator(4).state_dict())
    assert names == {f"model.{i}.{kind}" for i in (0, 2, 5, 8, 11) for kind in ("weight", "bias")}


def test_a_patch_of_the_discriminator_is_70_pixels() -> None:
    judge = PatchDiscriminator(4)
    judge.model = torch.nn.Sequential(*(m for m in judge.model if not isinstance(m, torch.nn.InstanceNorm2d)))
    pixels = torch.rand(1, 3, 256, 256, requires_grad=True)
    scores = judge(pixels)
    assert scores.shape == (1, 1, 30, 30)
    scores[0, 0, 15, 15].backward()
    assert pixels.grad is not None
    touched = pixels.grad.abs().sum((0, 1)).nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [70, 70]


def test_initial_weights() -> None:
    torch.manual_seed(0)
    generator = ResnetGenerator(GeneratorConfig(16, 3))
    init_weights(generator)
    state = generator.state_dict()
    drawn = torch.cat([value.flatten() for name, value in state.items() if name.endswith("weight")])
    assert drawn.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(not value.any() for name, value in state.items() if name.endswith("bias"))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_the_authors_load(tmp_path: Path, prefix: str) -> None:
    generator = ResnetGenerator(SMALL)
    state = {f"{prefix}{name}": value for name, value in generator.state_dict().items()}
    state[f"{prefix}model.2.running_mean"] = torch.zeros(4)  # as PyTorch 0.3 wrote them
    torch.save(state, tmp_path / "latest_net_G_A.pth")
    loaded = load_generator(tmp_path / "latest_net_G_A.pth")
    assert loaded.config == SMALL
    pixels = torch.rand(1, 3, 16, 24)
    assert torch.equal(loaded(pixels), generator(pixels))


def test_a_generator_comes_back_from_its_folder(tmp_path: Path) -> None:
    generator = ResnetGenerator(SMALL)
    save_generator(generator, tmp_path / "night")
    loaded = load_generator(tmp_path / "night")
    assert loaded.config == SMALL
    assert torch.equal(loaded.model[1].weight, generator.model[1].weight.half().float())


@pytest.mark.parametrize(("values", "says"), [({}, "lacks"), ({"blocks": 2, "width": 4}, "width")])
def test_a_damaged_config_is_refused(tmp_path: Path, values: dict[str, int], says: str) -> None:
    save_generator(ResnetGenerator(SMALL), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "cyclegan-generator", **values}))
    with pytest.raises(CheckpointError, match=says):
        load_generator(tmp_path)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"model.0.weight": torch.zeros(4, 3, 4, 4)}, "holds no ResNet generator"),
        (
            {"model.1.weight": torch.zeros(4, 3, 7, 7), "model.10.conv_block.1.weight": torch.zeros(16, 16, 3, 3)},
            "lacks",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, state: dict[str, torch.Tensor], says: str) -> None:
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=says):
        load_generator(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no file"):
        load_generator(tmp_path / "nothing.pth")
