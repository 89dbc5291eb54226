"""The loop's promises: it learns, resumes to the same weights after a kill, and spreads over processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from workshop import write_disks

from vns_sam.data.pairs import read_mask
from vns_sam.errors import CheckpointError, DataError, UsageError
from vns_sam.runs.lock import locked
from vns_sam.training.loop import lr_factor, train
from vns_sam.training.recipe import Optim, Validation, load_recipe, parse_recipe
from vns_sam.training.samples.sampler import split_pairs
from vns_sam.training.state import load_state
from vns_sam.training.tasks.scratch import SamTask
from vns_sam.training.tracking import read_log
from vns_sam.training.validation import Standing

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


def test_tiny_numbers_are_zero_while_it_trains_and_only_then(recipe_file: Path) -> None:
    tiny, seen = torch.full((8,), 1e-39), []
    train(
        replace(load_recipe(recipe_file), steps=1), lambda done, total, values: seen.append((tiny * 1.0).any().item())
    )
    assert seen == [False]
    assert (tiny * 1.0).all()


def test_products_have_the_asked_precision_while_it_trains_and_only_then(recipe_file: Path) -> None:
    seen = []
    train(
        replace(load_recipe(recipe_file), steps=1, matmul="medium"),
        lambda done, total, values: seen.append(torch.get_float32_matmul_precision()),
    )
    assert seen == ["medium"]
    assert torch.get_float32_matmul_precision() == "highest"


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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_told_in_one_line_whoever_reads_it(
    recipe_file: Path, tmp_path: Path, workers: int
) -> None:
    recipe = load_recipe(recipe_file)
    write_disks(tmp_path / "sets" / "disks", 4)
    for path in (tmp_path / "sets" / "disks" / "masks").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError) as alone:
        read_mask(path)
    bad = replace(recipe, workers=workers, data=replace(recipe.data, root=tmp_path / "sets"))
    with pytest.raises(DataError) as caught:
        train(bad)
    said = re.sub(r"\d{3}\.png", path.name, caught.value.message)
    assert (said, caught.value.hint) == (alone.value.message, alone.value.hint)


def test_two_processes_equal_one_that_accumulates(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    train(replace(recipe, out=recipe.out.parent / "one"))
    recipe_file.write_text(recipe_file.read_text().replace("accumulate: 2", "accumulate: 1"))
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--local-addr=127.0.0.1")
    assert start(recipe_file, *launcher).wait() == 0
    one, two = weights(recipe.out.parent / "one"), weights(recipe.out)
    worst = max((one[key].float() - two[key].float()).abs().max().item() for key in one)
    assert worst < 2e-3, worst


@pytest.mark.parametrize("batch_norm", ["all", "process"])
def test_two_processes_of_one_picture_equal_one_of_two(workshop: Path, recipe_file: Path, batch_norm: str) -> None:
    """With a batch norm in the model (VNS-SAM's NSFM), which must see the pictures of both; and the log tells the mean
    of both.
    """
    values = yaml.safe_load(recipe_file.read_text())
    values |= {"task": "vns-sam", "vns": {"inner_channels": 8, "head_channels": 8}, "steps": 4, "accumulate": 1}
    values |= {"log_every": 1, "batch_norm": batch_norm, "checkpoint_every": 4, "validation": {"every": 9, "limit": 1}}
    values["optim"] = {"name": "adamw", "lr": 1e-3}
    one = {**values, "out": str(recipe_file.parent / "one"), "batch_size": 2}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(parse_recipe(one, "one"))
    torch.set_num_threads(threads)
    recipe_file.write_text(yaml.safe_dump({**values, "batch_size": 1}))
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--local-addr=127.0.0.1")
    assert start(recipe_file, *launcher).wait() == 0
    first, second = (
        [line["loss"] for line in read_log(Path(out)) if "loss" in line] for out in (one["out"], values["out"])
    )
    assert len(first) == 4
    worst = max(abs(a - b) for a, b in zip(first, second, strict=True))
    assert worst < 1e-4 if batch_norm == "all" else worst > 1e-3, worst


def test_trainings_of_one_process_have_each_its_own_precision(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), steps=1)
    train(replace(recipe, out=recipe.out / "no"))
    train(replace(recipe, out=recipe.out / "bf16", precision="bf16"))
    train(replace(recipe, out=recipe.out / "again"))
    plain, mixed, again = (weights(recipe.out / name) for name in ("no", "bf16", "again"))
    assert all(torch.equal(value, again[key]) for key, value in plain.items())
    assert not all(torch.equal(value, mixed[key]) for key, value in plain.items())


def test_a_precision_that_the_machine_lacks_is_told(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    recipe = replace(load_recipe(recipe_file), steps=1)
    with pytest.raises(UsageError, match=r"expected one .*, found fp16 without a GPU") as caught:
        train(replace(recipe, precision="fp16"))
    assert caught.value.hint == "precision: bf16, or precision: no"
    assert not recipe.out.exists()
    train(recipe)


def test_run_of_another_recipe_is_refused(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), steps=1)
    train(recipe)
    with pytest.raises(UsageError, match="another recipe, stopped at step 1"):
        train(replace(recipe, seed=1))


def test_a_run_that_comes_to_nan_stops_and_keeps_its_last_checkpoint(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(load_recipe(recipe_file), steps=4, checkpoint_every=2, validation=Validation(every=9, limit=1))
    whole = SamTask.forward
    calls = []

    def forward(task: SamTask, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        calls.append(1)
        terms = whole(task, batch)
        return {**terms, "mask": terms["mask"] * float("nan")} if len(calls) == 6 else terms

    monkeypatch.setattr(SamTask, "forward", forward)
    with pytest.raises(CheckpointError, match=r"nan \(mask\) in step 3, .* samples 8 to 11; .* of step 2 is"):
        train(recipe)
    state = load_state(recipe.out)
    assert state is not None
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())
    assert not (recipe.out / "model").exists()
    monkeypatch.undo()
    train(recipe)  # goes on from there
    assert (recipe.out / "model").is_dir()


def test_weights_that_are_nan_are_neither_kept_nor_measured(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(load_recipe(recipe_file), steps=2, checkpoint_every=1)
    step = torch.optim.AdamW.step

    def spoil(optimizer: torch.optim.AdamW, *args: object) -> None:
        step(optimizer, *args)  # type: ignore[arg-type]
        optimizer.param_groups[0]["params"][0].data.fill_(float("inf"))

    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    with pytest.raises(CheckpointError, match="NaN or infinite after step 1; no checkpoint was written yet"):
        train(recipe)
    assert not (recipe.out / "last.pt").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda state: state["model"].update(more=torch.zeros(1)),
            "1 left over, 0 of another shape, the first is 'more'",
        ),
        (lambda state: state["model"].popitem(), "1 missing"),
        (lambda state: state["model"].update({next(iter(state["model"])): torch.zeros(9)}), "1 of another shape"),
        (lambda state: state.pop("step"), r"no checkpoint of a run \(step\)"),
        (lambda state: state["optimizer"].pop("param_groups"), "the optimiser of the checkpoint is another one"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(recipe_file: Path, spoil: Callable[[Any], Any], message: str) -> None:
    recipe = replace(load_recipe(recipe_file), steps=1, accumulate=1, validation=Validation(every=9, limit=1))
    train(recipe)
    state = torch.load(recipe.out / "last.pt", weights_only=True)
    spoil(state)
    torch.save(state, recipe.out / "last.pt")
    with pytest.raises(CheckpointError, match=message):
        train(recipe)


def test_a_folder_is_trained_in_by_one_run(recipe_file: Path) -> None:
    recipe = replace(load_recipe(recipe_file), steps=1)
    with locked(recipe.out, "train"), pytest.raises(UsageError, match="train"):
        train(recipe)


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


def test_a_run_ends_when_its_scores_no_longer_rise_and_stays_ended(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    patient = Validation(every=1, limit=1, patience=2)
    still = replace(recipe, steps=6, validation=patient, optim=Optim(lr=1e-10))
    told: list[int] = []
    scores = train(still, lambda done, total, values: told.append(done))
    assert told == [1, 2, 3]
    assert scores["mean"] > -1
    state = load_state(still.out)
    assert state is not None
    assert (state["step"], state["stale"]) == (3, 2)
    kept = weights(still.out)
    train(still, lambda done, total, values: told.append(done))
    assert told == [1, 2, 3]
    assert all(torch.equal(value, kept[key]) for key, value in weights(still.out).items())


def test_standing_counts_from_the_best() -> None:
    standing = Standing(patience=2)
    assert [standing.take({"mean": score}) for score in (0.5, 0.4, 0.6, 0.6)] == [True, False, True, False]
    assert not standing.over
    assert not standing.take({})
    standing.take({"mean": 0.2})
    assert standing.over
    assert not Standing(patience=0, stale=9).over


def test_a_list_of_its_own_is_held_out(tmp_path: Path) -> None:
    root = write_disks(tmp_path / "disks", 30)
    stems = [path.stem for path in sorted((root / "images").iterdir())]
    (root / "train.txt").write_text("\n".join(stems[:20]))
    (root / "val.txt").write_text("\n".join(stems[18:24]))
    train_pairs, held = split_pairs(tmp_path, "disks")
    assert [pair.stem for pair in train_pairs] == stems[:18]
    assert [pair.stem for pair in held] == stems[18:24]
