"""The training loop of a CycleGAN: two optimisers that take turns, and a pool of made pictures between them.

As in the other loop, samples are a pure function of seed and position, the learning rate of the step, and the
checkpoint holds the rest, pools included: a run that was killed and started again ends with the weights of one that
was not.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vns_sam.errors import UsageError
from vns_sam.images.write import write_image, write_text
from vns_sam.runs.lock import locked, remove_parts_below
from vns_sam.training.batches import load_batches
from vns_sam.training.divergence import Diverged, check_weights, diverged
from vns_sam.training.loop import Progress
from vns_sam.training.recipe import RESOLVED, continues, dump_recipe, identity
from vns_sam.training.samples.unpaired import UnpairedSet, collate_unpaired
from vns_sam.training.state import load_state, restore, save_state
from vns_sam.training.tasks.cyclegan import CycleGanTask, GanRecipe
from vns_sam.training.tracking import Tracker

logger = logging.getLogger(__name__)

STEADIER = "train with a lower lr"
"""What to try where a run has come to NaN."""
SAMPLES = "samples"
SAMPLE_ROWS = 4
"""Pictures of each domain in a sample."""


class ImagePool:
    """Made pictures of earlier steps, so that a discriminator does not forget them (Shrivastava et al. 2017).

    Args:
        size: Pictures kept; 0 passes everything through.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[torch.Tensor] = []

    def swap(self, images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Takes a batch (B, 3, S, S); half of it comes back at once, the other half is changed for older ones.

        While the pool is not full, everything is kept and comes back.
        """
        shown = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif self.size and rng.random() < 0.5:
                place = int(rng.integers(self.size))
                image, self.images[place] = self.images[place], image.clone()
            shown.append(image)
        return torch.stack(shown)


@dataclass
class _Run:
    """Everything that changes while training."""

    task: CycleGanTask
    generators: torch.optim.Optimizer
    judges: torch.optim.Optimizer
    pools: dict[str, ImagePool]
    step: int = 0
    window: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def state(self, recipe: GanRecipe) -> dict[str, Any]:
        """All of it, for ``last.pt``."""
        return {
            "recipe": identity(recipe),
            "step": self.step,
            "model": self.task.state_dict(),
            "generators": self.generators.state_dict(),
            "judges": self.judges.state_dict(),
            "pools": {name: pool.images for name, pool in self.pools.items()},
        }

    def restore(self, state: dict[str, Any], device: torch.device, folder: Path) -> None:
        """Takes what :meth:`state` gave."""
        self.step = int(state["step"])
        restore(self.task, self.task.state_dict(), state, folder)
        self.generators.load_state_dict(state["generators"])
        self.judges.load_state_dict(state["judges"])
        for name, pool in self.pools.items():
            pool.images = [image.to(device) for image in state["pools"][name]]


def train_gan(recipe: GanRecipe, progress: Progress = lambda done, total, values: None) -> dict[str, float]:
    """Runs or continues a training run, on the accelerator where there is one.

    ``recipe.out`` receives ``recipe.yaml``, ``log.jsonl``, ``last.pt`` (all four networks), ``samples/`` and, after the
    last step, ``model/`` (the generator that darkens).

    Args:
        recipe: The run.
        progress: Told about every step.

    Returns:
        Losses of the last line of the log.

    Raises:
        UsageError: ``out`` holds a run of another recipe.
        DataError: A folder is missing or empty, or a picture cannot be read.
        CheckpointError: The checkpoint to continue from cannot be read, or a loss or the weights became NaN.
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    with locked(recipe.out, "train"):
        remove_parts_below(recipe.out)
        return _train(recipe, progress)


def _train(recipe: GanRecipe, progress: Progress) -> dict[str, float]:
    samples = UnpairedSet(recipe.data, recipe.seed)
    epoch_steps = recipe.epoch_steps or -(-len(samples) // recipe.batch_size)
    steps = epoch_steps * (recipe.epochs + recipe.decay_epochs)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    run = _start(recipe, device)
    write_text(recipe.out / RESOLVED, dump_recipe(recipe))
    tracker = Tracker(recipe.out, run.step, tensorboard=recipe.tensorboard)
    losses: dict[str, float] = {}
    for batch in _load(recipe, samples, run.step, steps):
        rate = recipe.lr * rate_factor(run.step // epoch_steps, recipe)
        try:
            _optimise(run, recipe, {name: value.to(device) for name, value in batch.items()}, rate)
        except Diverged as error:
            first = run.step * recipe.batch_size
            where = f"in step {run.step + 1}, samples {first} to {first + recipe.batch_size - 1}"
            raise diverged(recipe, run.step, f"{error} {where}", STEADIER) from None
        run.step += 1
        last = run.step == steps
        if run.step % recipe.log_every == 0 or last:
            losses = {name: sum(values) / len(values) for name, values in run.window.items()}
            tracker.log(run.step, {**losses, "lr": rate})
            run.window.clear()
        show = run.step % recipe.sample_every == 0 or last
        save = run.step % recipe.checkpoint_every == 0 or last
        if show or save:
            check_weights(recipe, run.task.state_dict(), run.step, STEADIER)
        if show:
            write_image(recipe.out / SAMPLES / f"{run.step:06d}.jpg", _draw_samples(run.task, samples, device))
        if save:
            save_state(recipe.out, run.state(recipe))
        progress(run.step, steps, losses)
    run.task.export(recipe.out / "model")
    return losses


def rate_factor(epoch: int, recipe: GanRecipe) -> float:
    """Learning rate of an epoch, counted from 0, as a share of the full one; it would be zero after the last."""
    return 1.0 - max(0, epoch + 1 - recipe.epochs) / (recipe.decay_epochs + 1)


def _start(recipe: GanRecipe, device: torch.device) -> _Run:
    """A fresh run, or the one that ``recipe.out`` holds."""
    torch.manual_seed(recipe.seed)
    task = CycleGanTask(recipe).to(device)
    run = _Run(
        task,
        torch.optim.Adam(task.generators.parameters(), recipe.lr, recipe.betas),
        torch.optim.Adam(task.judges.parameters(), recipe.lr, recipe.betas),
        {name: ImagePool(recipe.pool) for name in ("bright", "dark")},
    )
    state = load_state(recipe.out)
    if state is None:
        return run
    if not continues(state.get("recipe"), recipe):
        raise UsageError(
            f"{recipe.out} holds a run of another recipe, stopped at step {state['step']}",
            hint="give another 'out', or remove the folder to start again",
        )
    run.restore(state, device, recipe.out)
    logger.info("continuing %s at step %d", recipe.out, run.step)
    return run


def _load(recipe: GanRecipe, samples: UnpairedSet, done: int, steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches from step ``done`` on."""
    size = recipe.batch_size
    positions = [list(range(step * size, (step + 1) * size)) for step in range(done, steps)]
    return load_batches(samples, positions, collate_unpaired, workers=recipe.workers)


def _optimise(run: _Run, recipe: GanRecipe, batch: dict[str, torch.Tensor], rate: float) -> None:
    """One step of the generators, then one of the discriminators, which see pictures from the pools."""
    task, bright, dark = run.task, batch["bright"], batch["dark"]
    mixed = torch.autocast(bright.device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
    with mixed:
        task.judges.requires_grad_(False)
        made = task.make(bright, dark)
        terms = task.generator_losses(bright, dark, made)
    _step(run.generators, terms, rate)
    rng = np.random.default_rng([recipe.seed, run.step])
    made_bright = run.pools["bright"].swap(made.bright.float(), rng)
    made_dark = run.pools["dark"].swap(made.dark.float(), rng)
    with mixed:
        task.judges.requires_grad_(True)
        judged = task.judge_losses(bright, dark, made_bright, made_dark)
    _step(run.judges, judged, rate)
    for name, value in {**terms, **judged}.items():
        run.window[name].append(value.item())


def _step(optimizer: torch.optim.Optimizer, terms: dict[str, torch.Tensor], rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    bad = [name for name, value in terms.items() if not bool(value.isfinite())]
    if bad:
        raise Diverged(f"the loss became NaN or infinite ({', '.join(bad)})")
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    optimizer.step()


@torch.no_grad()
def _draw_samples(task: CycleGanTask, samples: UnpairedSet, device: torch.device) -> np.ndarray:
    """Bright, made dark, back; beside it dark, made bright, back: a row for each of the first samples."""
    rows = []
    for position in range(SAMPLE_ROWS):
        batch = collate_unpaired([samples[position]])
        bright, dark = batch["bright"].to(device), batch["dark"].to(device)
        made = task.make(bright, dark)
        row = (bright, made.dark, made.bright_again, dark, made.bright, made.dark_again)
        rows.append(torch.cat(row, dim=3)[0])
    shown = (torch.cat(rows, dim=1) + 1) * 127.5
    return shown.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
