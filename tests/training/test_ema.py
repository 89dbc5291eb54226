"""The moving average: its weights, when they are in place, and that a killed run keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vns_sam.training.ema import Ema
from vns_sam.training.loop import Progress, train
from vns_sam.training.recipe import Recipe, Validation, load_recipe
from vns_sam.training.state import load_state
from vns_sam.training.tasks import Task


@pytest.fixture
def short(recipe_file: Path) -> Recipe:
    """Four steps, validated once."""
    return replace(load_recipe(recipe_file), steps=4, accumulate=1, validation=Validation(every=9, limit=1))


class OneNumber(Task):
    """A task of one weight and one counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))

    def trained_state(self) -> dict[str, torch.Tensor]:
        return self.state_dict()


def test_it_follows_slowly_and_steps_aside() -> None:
    task = OneNumber()
    ema = Ema(task, 0.5)
    with torch.no_grad():
        task.weight.fill_(1.0)
        task.count.fill_(7)
    ema.update(task, 1)
    with ema.applied(task):
        assert task.weight.item() == pytest.approx(1 - 2 / 11)
        assert task.count.item() == 7
    assert task.weight.item() == 1.0
    before = ema.averages["weight"].item()
    ema.update(task, 1000)
    assert ema.averages["weight"].item() == pytest.approx((before + 1) / 2)


def test_off_it_holds_nothing() -> None:
    task = OneNumber()
    ema = Ema(task, 0.0)
    ema.update(task, 1)
    with ema.applied(task):
        assert ema.averages == {}


def test_a_run_stopped_and_continued_saves_the_same_averages(short: Recipe) -> None:
    recipe = replace(short, ema=0.9)
    straight = replace(recipe, out=recipe.out.parent / "straight")
    train(straight)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, stop_at(2))
    train(recipe)
    found, expected = saved(recipe), saved(straight)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    state = load_state(recipe.out)
    assert state is not None
    key = "mask_decoder.mask_tokens.weight"
    assert torch.equal(found[key], state["ema"][key].half())
    assert not torch.equal(found[key], state["model"][key].half())


def test_a_checkpoint_from_before_a_field_goes_on(short: Recipe) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(short, stop_at(2))
    state = load_state(short.out)
    assert state is not None
    state["recipe"] = "\n".join(line for line in state["recipe"].splitlines() if not line.startswith("ema:"))
    torch.save(state, short.out / "last.pt")
    seen: list[int] = []
    train(short, lambda step, total, values: seen.append(step))
    assert seen[0] == 3


def saved(recipe: Recipe) -> dict[str, torch.Tensor]:
    return load_file(recipe.out / "model" / "model.safetensors")


def stop_at(step: int) -> Progress:
    """A progress callback that ends the run after so many steps, as Ctrl-C does."""

    def progress(done: int, total: int, values: dict[str, float]) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress
