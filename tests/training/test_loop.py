"""The loop's promises: it learns, resumes to the same weights after a kill, and spreads over processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vns_sam.errors import UsageError
from vns_sam.training.loop import lr_factor, train
from vns_sam.training.recipe import Optim, load_recipe
from vns_sam.training.tracking import read_log

RUN = """
import sys, torch
torch.set_num_threads(1)
from vns_sam.training.loop import train
from vns_sam.training.recipe import load_recipe
train(load_recipe(sys.argv[1]))
"""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def start(recipe_file: Path, *launcher: str) -> subprocess.Popen[bytes]:
    script = recipe_file.parent / "run.py"
    script.write_text(RUN)
    command = [sys.executable, *launcher, str(script), str(recipe_file)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_loss_falls_and_the_run_leaves_its_files(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), steps=60, checkpoint_every=60, log_every=10)
    scores = train(recipe)
    log = [line for line in read_log(recipe.out) if "loss" in line]
    assert log[-1]["mask"] < 0.9 * log[0]["mask"]
    assert set(scores) == {"disks", "mean"}
    assert {path.name for path in recipe.out.iterdir()} == {
        "recipe.yaml",
        "log.jsonl",
        "last.pt",
        "best",
        "model",
    }


def test_killed_run_continues_to_the_same_weights(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    process = start(recipe_file)
    deadline = time.monotonic() + 60
    while len(read_log(recipe.out)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (recipe.out / "last.pt").exists(), "the run was killed before its first checkpoint"
    assert not (recipe.out / "model").exists(), "the run ended before it was killed"
    assert start(recipe_file).wait() == 0
    straight = replace(recipe, out=recipe.out.parent / "straight")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(straight)
    torch.set_num_threads(threads)
    resumed, expected = weights(recipe.out), weights(straight.out)
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)
    assert [line["step"] for line in read_log(recipe.out)] == [line["step"] for line in read_log(straight.out)]


def test_two_processes_equal_one_that_accumulates(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    train(replace(recipe, out=recipe.out.parent / "one"))
    recipe_file.write_text(recipe_file.read_text().replace("accumulate: 2", "accumulate: 1"))
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--local-addr=127.0.0.1")
    assert start(recipe_file, *launcher).wait() == 0
    one, two = weights(recipe.out.parent / "one"), weights(recipe.out)
    worst = max((one[key].float() - two[key].float()).abs().max().item() for key in one)
    assert worst < 2e-3, worst


def test_run_of_another_recipe_is_refused(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), steps=1)
    train(recipe)
    with pytest.raises(UsageError, match="another recipe, stopped at step 1"):
        train(replace(recipe, seed=1))


@pytest.mark.parametrize(
    ("optim", "step", "expected"),
    [
        (Optim(warmup=10), 4, 0.5),
        (Optim(schedule="constant"), 70, 1.0),
        (Optim(schedule="step", step_every=10, gamma=0.1), 9, 1.0),
        (Optim(schedule="step", step_every=10, gamma=0.1), 10, 0.1),
        (Optim(schedule="cosine"), 50, 0.505),
        (Optim(schedule="cosine"), 100, 0.01),
    ],
)
def test_learning_rate_schedules(optim: Optim, step: int, expected: float) -> None:
    assert lr_factor(step, 100, optim) == pytest.approx(expected)
