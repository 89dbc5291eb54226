"""The training loop: one recipe in, one folder out.

Samples are a pure function of seed and position, the learning rate and what the network draws are one of the step, and
the checkpoint holds the rest; so a run that is killed and started again with the same command ends with the same
weights as one that is not.
Started by ``torchrun`` or ``accelerate launch``, the same function trains in several processes; the samples of a
step are the same however they are spread over processes and accumulated batches.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from vns_sam.errors import CheckpointError, MissingExtraError, UsageError
from vns_sam.images.write import write_text
from vns_sam.runs.lock import locked, remove_parts_below
from vns_sam.training.batches import gathered, load_batches
from vns_sam.training.divergence import Diverged, check_weights, diverged
from vns_sam.training.ema import Ema
from vns_sam.training.recipe import RESOLVED, Optim, Recipe, continues, dump_recipe, identity
from vns_sam.training.samples.prompted import collate
from vns_sam.training.spread import mean_over_processes, share_batch_norm
from vns_sam.training.state import load_state, restore, save_state
from vns_sam.training.tasks import Task, build_task
from vns_sam.training.tracking import Tracker
from vns_sam.training.validation import Standing

logger = logging.getLogger(__name__)

STEADIER = "train with a lower optim.lr, or with optim.clip 1.0"
"""What to try where a run has come to NaN."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (steps done, steps in all, latest losses and scores)."""


def train(recipe: Recipe, progress: Progress = lambda done, total, values: None) -> dict[str, float]:
    """Runs or continues a training run.

    ``recipe.out`` receives ``recipe.yaml``, ``log.jsonl``, ``last.pt``, ``best/`` (the model with the best mean IoU
    on held-out pictures) and ``model/`` (the model after the last step). With ``validation.patience`` the run may end
    before its last step.

    Args:
        recipe: The run.
        progress: Told about every step, in the main process only.

    Returns:
        Validation scores of the last step.

    Raises:
        UsageError: ``out`` holds a run of another recipe, or the machine does not compute in ``precision``.
        DataError: A training set is missing or empty, or a file of it cannot be used.
        CheckpointError: The checkpoint to continue from, or the weights to start from, cannot be read; or the loss or
            the weights became NaN.
        MissingExtraError: ``accelerate`` is not installed.
    """
    accelerator = _accelerator(recipe)
    lock = locked(recipe.out, "train") if accelerator.is_main_process else nullcontext()
    with lock, tiny_numbers_as_zero(), matmul_precision(recipe.matmul):
        if accelerator.num_processes == 1:  # others may be writing into the cache already
            remove_parts_below(recipe.out)
        return _train(recipe, accelerator, progress)


@contextmanager
def tiny_numbers_as_zero() -> Iterator[None]:
    """Takes numbers below 1e-38 for zero: gradients of pixels that are sure by far are full of them, and a CPU needs
    up to sixty times as long for each. Threads that are started from here on do so, too.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # asked for once; later it would warn of what follows
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Computes products of float32 matrices in the precision of that name, see ``Recipe.matmul``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _train(recipe: Recipe, accelerator: Any, progress: Progress) -> dict[str, float]:
    main = accelerator.is_main_process
    torch.manual_seed(recipe.seed)
    task = build_task(recipe)
    optimizer = _optimizer(task, recipe)
    state = _resume(recipe, task, optimizer) or {"step": 0, "best": -1.0}
    step = int(state["step"])
    standing = Standing(recipe.validation.patience, float(state["best"]), int(state.get("stale", 0)))
    loaded = _load(recipe, task, step, accelerator.process_index, accelerator.num_processes)
    if recipe.batch_norm == "all" and accelerator.num_processes > 1:
        share_batch_norm(task)
    model, optimizer = accelerator.prepare(task.to(accelerator.device), optimizer)
    if "scaler" in state and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    ema = Ema(task, recipe.ema, state.get("ema"))
    books = _Books(recipe, task, ema, standing, step) if main else None

    for batches in () if standing.over else gathered(loaded, recipe.accumulate):
        _set_rates(optimizer, lr_factor(step, recipe.steps, recipe.optim))
        task.step = step
        seeds = [_seed(recipe, task, batch, step, k, accelerator.process_index) for k, batch in enumerate(batches)]
        try:
            losses = _optimise(accelerator, model, optimizer, batches, seeds, recipe.optim.clip)
        except Diverged as error:
            where = f"in step {step + 1}, {_samples(recipe, accelerator, step)}"
            raise diverged(recipe, step, f"{error} {where}", STEADIER) from None
        step += 1
        ema.update(task, step)
        if books:
            books.enter(step, losses, optimizer.param_groups[0]["lr"])
            if step % recipe.checkpoint_every == 0 or step == recipe.steps or standing.over:
                save_state(recipe.out, _state(recipe, task, ema, optimizer, accelerator, step, standing))
            progress(step, recipe.steps, books.latest())
        asked = recipe.validation.patience and step % recipe.validation.every == 0
        if asked and _everybody(accelerator, stop=standing.over):
            break
    if main:
        with ema.applied(task):
            task.export(recipe.out / "model")
    accelerator.wait_for_everyone()
    return books.scores if books else {}


class _Books:
    """What the main process keeps beside the weights: the log, the scores, the best model.

    Args:
        recipe: The run.
        task: What is trained.
        ema: The averages that are scored and saved.
        standing: How the scores have gone.
        step: Steps done before.
    """

    def __init__(self, recipe: Recipe, task: Task, ema: Ema, standing: Standing, step: int) -> None:
        write_text(recipe.out / RESOLVED, dump_recipe(recipe))
        self.recipe, self.task, self.ema, self.standing = recipe, task, ema, standing
        self.validator = task.validator(recipe)
        self.tracker = Tracker(recipe.out, step, tensorboard=recipe.tensorboard)
        self.scores: dict[str, float] = {}
        self.window: dict[str, list[float]] = defaultdict(list)
        if step == 0 and not self.validator(task.model, limit=2):  # a broken set fails now, not after an hour
            last = "averaged weights of the last step" if recipe.ema else "weights of the last step"
            logger.warning("no held-out picture with an object in a mask: no validation, model/ gets the %s", last)

    def enter(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Takes in a step: logs, checks the weights, validates, each where it is time."""
        recipe, last = self.recipe, step == self.recipe.steps
        for name, value in losses.items():
            self.window[name].append(value)
        if step % recipe.log_every == 0 or last:
            means = {name: sum(values) / len(values) for name, values in self.window.items()}
            self.tracker.log(step, {**means, "lr": rate})
            self.window.clear()
        if step % recipe.validation.every == 0 or step % recipe.checkpoint_every == 0 or last:
            check_weights(recipe, self.task.trained_state(), step, STEADIER)
        if step % recipe.validation.every == 0 or last:
            with self.ema.applied(self.task):
                self.scores = self.validator(self.task.model)
                if self.standing.take(self.scores):
                    self.task.export(recipe.out / "best")
            self.tracker.log(step, {f"iou/{name}": value for name, value in self.scores.items()})

    def latest(self) -> dict[str, float]:
        """The latest losses and scores."""
        return {**{k: v[-1] for k, v in self.window.items()}, **self.scores}


def _everybody(accelerator: Any, *, stop: bool) -> bool:
    """Whether the main process wants to stop; all processes ask at the same step."""
    if stop:
        accelerator.set_trigger()
    return bool(accelerator.check_trigger())


def _samples(recipe: Recipe, accelerator: Any, step: int) -> str:
    """The samples of a step, by the positions that :meth:`Task.samples` gives them for."""
    size = recipe.batch_size * recipe.accumulate * accelerator.num_processes
    return f"whose batch is the samples {step * size} to {(step + 1) * size - 1}"


def lr_factor(step: int, steps: int, optim: Optim) -> float:
    """Learning rate of a step as a fraction of its peak."""
    if step < optim.warmup:
        return (step + 1) / optim.warmup
    if optim.schedule == "step":
        return optim.gamma ** (step // optim.step_every)
    if optim.schedule == "cosine":
        done = (step - optim.warmup) / max(1, steps - optim.warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
    return 1.0


def _accelerator(recipe: Recipe) -> Any:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState
    except ImportError:
        raise MissingExtraError("accelerate", extra="train", purpose="training") from None
    alone = not torch.accelerator.is_available()
    if alone and recipe.precision == "fp16":
        raise UsageError(
            "precision: expected one that this machine computes in, found fp16 without a GPU",
            hint="precision: bf16, or precision: no",
        )
    AcceleratorState._reset_state()  # else all trainings of a process must have the precision of its first
    return Accelerator(
        cpu=alone,  # else several processes without a GPU do not find each other
        mixed_precision=recipe.precision,
        gradient_accumulation_steps=recipe.accumulate,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # mask prompts come and go
    )


def _optimizer(task: Task, recipe: Recipe) -> torch.optim.Optimizer:
    groups = [{"lr": group["peak"], **group} for group in task.groups(recipe)]
    kind = torch.optim.Adam if recipe.optim.name == "adam" else torch.optim.AdamW
    return kind(groups, weight_decay=recipe.optim.weight_decay)


def _set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def _load(recipe: Recipe, task: Task, done: int, rank: int, processes: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of this process from step ``done`` on."""
    step_size = recipe.batch_size * recipe.accumulate * processes
    length = recipe.steps * step_size
    samples = task.samples(recipe, length=length, step_size=step_size)
    starts = range(done * step_size + rank * recipe.batch_size, length, processes * recipe.batch_size)
    positions = [list(range(start, start + recipe.batch_size)) for start in starts]
    return load_batches(samples, positions, collate, workers=recipe.workers)


def _seed(recipe: Recipe, task: Task, batch: dict[str, torch.Tensor], step: int, number: int, rank: int) -> int:
    """The seed of what a network draws for a batch, such as what is dropped: a run that goes on draws as one that never
    stopped.

    Args:
        recipe: The run.
        task: What is trained; its batches may bring seeds along.
        batch: Of this process.
        step: Optimiser steps done.
        number: Of the batch in its step.
        rank: Of this process.
    """
    own = task.batch_seed(batch)
    if own is not None:
        return own
    return int(np.random.SeedSequence([recipe.seed, step, number, rank]).generate_state(1, np.uint64)[0] >> 1)


def _optimise(
    accelerator: Any,
    model: Any,
    optimizer: Any,
    batches: list[dict[str, torch.Tensor]],
    seeds: list[int],
    clip: float,
) -> dict[str, float]:
    """One optimiser step over its accumulated batches; the mean losses, over all processes."""
    totals: dict[str, float] = defaultdict(float)
    for batch, seed in zip(batches, seeds, strict=True):
        torch.manual_seed(seed)
        with accelerator.accumulate(model):
            terms = model({k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()})
            loss = sum(terms.values())
            means = {name: value.item() for name, value in {"loss": loss, **terms}.items()}
            means = mean_over_processes(means, accelerator)
            if not math.isfinite(means["loss"]):
                bad = [name for name, value in means.items() if name != "loss" and not math.isfinite(value)]
                raise Diverged(f"the loss became {means['loss']} ({', '.join(bad) or 'their sum'})")
            accelerator.backward(loss)
            if clip and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
        for name, value in means.items():
            totals[name] += value / len(batches)
    return totals


def _state(
    recipe: Recipe, task: Task, ema: Ema, optimizer: Any, accelerator: Any, step: int, standing: Standing
) -> dict[str, Any]:
    state = {
        "recipe": identity(recipe),
        "step": step,
        "best": standing.best,
        "stale": standing.stale,
        "model": task.trained_state(),
        "ema": ema.averages,
        "optimizer": optimizer.state_dict(),
    }
    return state if accelerator.scaler is None else {**state, "scaler": accelerator.scaler.state_dict()}


def _resume(recipe: Recipe, task: Task, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    state = load_state(recipe.out)
    if state is None:
        return None
    if not continues(state["recipe"], recipe):
        raise UsageError(
            f"{recipe.out} holds a run of another recipe, stopped at step {state['step']}",
            hint="give another 'out', or remove the folder to start again",
        )
    restore(task.model, task.trained_state(), state, recipe.out)
    try:
        optimizer.load_state_dict(state["optimizer"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{recipe.out}: the optimiser of the checkpoint is another one ({error})") from None
    logger.info("continuing %s at step %d of %d", recipe.out, state["step"], recipe.steps)
    return state
