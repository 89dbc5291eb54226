"""Training a CycleGAN: published schedule and losses, learning, and the same weights after a kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from vns_sam.cli.main import main
from vns_sam.errors import CheckpointError, DataError, UsageError
from vns_sam.images.read import read_image
from vns_sam.lowlight.model import load_generator
from vns_sam.lowlight.tiled import translate
from vns_sam.training.gan import ImagePool, rate_factor, train_gan
from vns_sam.training.recipe import load_recipe
from vns_sam.training.state import load_state
from vns_sam.training.tasks.cyclegan import CycleGanTask, GanRecipe, Made
from vns_sam.training.tracking import read_log

RUN = """
import sys, torch
torch.set_num_threads(1)
from vns_sam.training.recipe import load_recipe
from vns_sam.training.runs import start
start(load_recipe(sys.argv[1]), lambda *told: None)
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A recipe of eight steps on drawn pictures, bright and dark."""
    rng = np.random.default_rng(0)
    for name, light in (("high", 1.0), ("low", 0.1)):
        (tmp_path / "lol" / name).mkdir(parents=True)
        for i in range(6):
            image = cv2.resize(
                rng.integers(60, 256, (6, 6, 3), dtype=np.uint8), (48, 40), interpolation=cv2.INTER_CUBIC
            )
            cv2.imwrite(str(tmp_path / "lol" / name / f"{i}.png"), (image * light).astype(np.uint8))
    lol = str(tmp_path / "lol")
    recipe = {
        "task": "cyclegan",
        "out": str(tmp_path / "run"),
        "data": {"bright": [lol], "dark": [lol], "load": 36, "crop": 32},
        "ngf": 4,
        "blocks": 1,
        "ndf": 4,
        "epochs": 2,
        "decay_epochs": 2,
        "epoch_steps": 2,
        "batch_size": 2,
        "pool": 3,
        "workers": 0,
        "checkpoint_every": 1,
        "log_every": 2,
        "sample_every": 4,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def load(path: Path) -> GanRecipe:
    recipe = load_recipe(path)
    assert isinstance(recipe, GanRecipe)
    return recipe


def test_published_recipe() -> None:
    recipe = load(Path(__file__).parents[2] / "recipes" / "cyclegan_lol.yaml")
    defaults = GanRecipe(task="cyclegan", data=recipe.data, out=recipe.out)
    assert replace(recipe, workers=1) == defaults
    assert (recipe.lr, recipe.betas, recipe.cycle, recipe.identity, recipe.pool) == (2e-4, (0.5, 0.999), 10, 0.5, 50)
    factors = [rate_factor(epoch, recipe) for epoch in range(100)]
    assert factors[:50] == [1.0] * 50
    assert np.diff(factors[49:]) == pytest.approx(-1 / 51)
    assert factors[-1] == pytest.approx(1 / 51)


def test_a_run_leaves_its_files_and_its_generator_darkens(recipe_file: Path) -> None:
    recipe = replace(load(recipe_file), epochs=30, checkpoint_every=200, log_every=8, lr=2e-3)
    told = []
    losses = train_gan(recipe, lambda done, total, values: told.append((done, total)))
    assert told[-1] == (64, 64)
    assert sorted(path.name for path in recipe.out.iterdir()) == [
        "last.pt",
        "log.jsonl",
        "model",
        "recipe.yaml",
        "samples",
    ]
    log = read_log(recipe.out)
    assert log[-1]["cycle_bright"] < 0.9 * log[0]["cycle_bright"]
    assert losses["judge_dark"] == pytest.approx(log[-1]["judge_dark"], abs=1e-6)
    assert read_image(recipe.out / "samples" / "000064.jpg").shape == (4 * 32, 6 * 32, 3)
    image = read_image(recipe.data.bright[0] / "high" / "0.png")
    assert translate(load_generator(recipe.out / "model"), image).mean() < 0.6 * image.mean()


def test_killed_run_continues_to_the_same_weights(recipe_file: Path) -> None:
    recipe = replace(load(recipe_file), epochs=10)
    recipe_file.write_text(recipe_file.read_text().replace("\nepochs: 2", "\nepochs: 10"))
    (recipe_file.parent / "run.py").write_text(RUN)
    command = [sys.executable, str(recipe_file.parent / "run.py"), str(recipe_file)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(line["step"] >= 4 for line in read_log(recipe.out)):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = torch.load(recipe.out / "last.pt", weights_only=True)
    assert 0 < stopped["step"] < 24
    assert len(stopped["pools"]["dark"]) == 3
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    straight = replace(recipe, out=recipe.out.parent / "straight")
    train_gan(straight)
    torch.set_num_threads(threads)
    resumed, expected = (torch.load(out / "last.pt", weights_only=True) for out in (recipe.out, straight.out))
    assert all(torch.equal(resumed["model"][key], value) for key, value in expected["model"].items())
    for resumed_pool, pool in zip(resumed["pools"].values(), expected["pools"].values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(resumed_pool, pool, strict=True))
    weights = [load_file(out / "model" / "model.safetensors") for out in (recipe.out, straight.out)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def test_weights_that_are_nan_are_neither_kept_nor_shown(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(load(recipe_file), sample_every=1)
    whole, calls = CycleGanTask.generator_losses, []

    def spoil(task: CycleGanTask, bright: torch.Tensor, dark: torch.Tensor, made: Made) -> dict[str, torch.Tensor]:
        calls.append(1)
        terms = whole(task, bright, dark, made)
        (weight, *_) = task.darken.parameters()
        zero = (weight - weight).abs().sum().sqrt()  # its gradient is NaN
        return {**terms, "gan_dark": terms["gan_dark"] + zero} if len(calls) == 2 else terms

    monkeypatch.setattr(CycleGanTask, "generator_losses", spoil)
    with pytest.raises(CheckpointError, match="infinite after step 2; the checkpoint of step 1 is") as caught:
        train_gan(recipe)
    assert caught.value.hint == "train with a lower lr"
    state = load_state(recipe.out)
    assert state is not None
    assert state["step"] == 1
    assert [path.name for path in (recipe.out / "samples").iterdir()] == ["000001.jpg"]
    monkeypatch.undo()
    train_gan(recipe)  # goes on from there
    assert (recipe.out / "model").is_dir()


def test_a_loss_that_is_nan_names_fields_of_this_task(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CycleGanTask, "judge_losses", lambda *_: {"judge_dark": torch.tensor(float("nan"))})
    with pytest.raises(CheckpointError, match="step 1, samples 0 to 1; no checkpoint was written yet") as caught:
        train_gan(load(recipe_file))
    assert caught.value.hint == "train with a lower lr"


def test_run_of_another_recipe_is_refused(recipe_file: Path) -> None:
    recipe = replace(load(recipe_file), epochs=1, decay_epochs=0, epoch_steps=1)
    train_gan(recipe)
    with pytest.raises(UsageError, match="another recipe, stopped at step 1"):
        train_gan(replace(recipe, cycle=5.0))
    train_gan(replace(recipe, log_every=7))


def test_the_pool_gives_half_of_the_pictures_later() -> None:
    pool, rng = ImagePool(5), np.random.default_rng(0)
    given = [torch.full((1, 3, 2, 2), float(i)) for i in range(300)]
    shown = [int(pool.swap(image, rng)[0, 0, 0, 0]) for image in given]
    assert shown[:5] == [0, 1, 2, 3, 4]
    at_once = np.mean([i == value for i, value in enumerate(shown[5:], 5)])
    assert 0.4 < at_once < 0.6
    assert len(pool.images) == 5
    assert all(value <= i for i, value in enumerate(shown))
    assert torch.equal(ImagePool(0).swap(given[7], rng), given[7])


def test_losses_and_whom_they_teach(recipe_file: Path) -> None:
    torch.manual_seed(0)
    task = CycleGanTask(load(recipe_file))
    bright, dark = torch.rand(1, 3, 32, 32), -torch.rand(1, 3, 32, 32)
    made = task.make(bright, dark)
    terms = task.generator_losses(bright, dark, made)
    assert terms["cycle_bright"].item() == pytest.approx(10 * (made.bright_again - bright).abs().mean().item())
    assert terms["identity_dark"].item() == pytest.approx(5 * (task.darken(dark) - dark).abs().mean().item())
    assert terms["gan_dark"].item() == pytest.approx((task.judge_dark(made.dark) - 1).square().mean().item())
    judged = task.judge_losses(bright, dark, made.bright.detach(), made.dark.detach())
    sum(judged.values()).backward()  # type: ignore[union-attr]
    assert all(value.grad is None for value in task.generators.parameters())
    assert all(value.grad is not None for value in task.judges.parameters())


def test_from_the_command_line(recipe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe_file), "--epochs", "1", "--decay_epochs", "0", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("model")
    assert main(["train", str(recipe_file), "--ngff", "1"]) == 2
    assert "did you mean 'ngf'" in capsys.readouterr().err


def test_a_damaged_picture_is_told_in_one_line(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), workers=1)
    for path in recipe.data.bright[0].glob("high/*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError) as alone:
        read_image(path)
    with pytest.raises(DataError) as caught:
        train_gan(recipe)
    said = re.sub(r"\d\.png", path.name, caught.value.message)
    assert (said, caught.value.hint) == (alone.value.message, alone.value.hint)
