"""A trained model adapted to one's own pictures: checked, divided, trained in the time there is, and measured.

Each step leaves its result in the folder of the run, so the same command goes on where it was stopped::

    OUT/data/NAME/    the set in the house layout, linked, with the lists train, val and test
    OUT/plan.json     what was asked for, the recipe, and the pace that its steps were chosen by
    OUT/run/          the training, as vns-sam train leaves it
    OUT/report/       rows and tables of the held-out pictures, before and after
    OUT/report.md     what came of it
    OUT/model/        the model
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.compare import Difference, compare, read_rows
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.suite import Suite, make_suite, write_report
from vns_sam.images.write import write_json, write_text
from vns_sam.inference.load import load_model, load_network
from vns_sam.runs.lock import locked
from vns_sam.sam.folder import CARD
from vns_sam.sam.registry import portable
from vns_sam.studies.adapt_report import adapted_page, put_model
from vns_sam.studies.adapt_set import OwnSet, own_set, set_name
from vns_sam.training.adapting import VALIDATIONS, adapting_values, plan_steps, views_for
from vns_sam.training.chain import train_all
from vns_sam.training.fields import set_field
from vns_sam.training.recipe import Recipe, parse_recipe, recipe_fields
from vns_sam.training.tasks import build_task
from vns_sam.training.tracking import read_log

PROMPTS = ("box", "points:1")
PLAN, RUN, ROWS, MODEL, PAGE = "plan.json", "run", "report", "model", "report.md"
MEASURED, CHOSEN_BY = 0.3, 0.12
"""Shares of the time that measuring before and after may take, and validating while it is trained."""
LEAST_TRAINED = 0.25
"""Share of the time that is trained in any case."""
FEWEST = 8
"""Held-out pictures that are measured in any case."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


@dataclass(frozen=True)
class Order:
    """What is wanted.

    Attributes:
        source: Folder of pictures and masks.
        out: Folder of all that comes of it.
        start: The model to adapt: a name, folder or hub id.
        minutes: How long it may take in all.
        changes: Fields of the recipe that differ, by dotted name.
        device: Where models are measured; training follows accelerate.
        workers: Processes that read pictures for the check.
    """

    source: Path
    out: Path
    start: str = "vns-sam-tiny"
    minutes: float = 10.0
    changes: tuple[tuple[str, Any], ...] = ()
    device: str = "cpu"
    workers: int = 1


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        model: Folder of the model.
        report: The page that says so.
        taken: Whether it is the trained model; else the one that was started from.
        why: Why, in one sentence.
        differences: Held-out scores before and after, by prompt and metric, of the trained model in any case.
    """

    model: Path
    report: Path
    taken: bool
    why: str
    differences: list[Difference]


@dataclass(frozen=True)
class _Plan:
    """What is fixed before the training begins: a continued run must not measure its pace anew."""

    asked: dict[str, Any]
    recipe: Recipe
    limit: int
    pace: float
    score: float | None


def adapt(order: Order, progress: Progress | None = None, say: Callable[[str], None] = lambda line: None) -> Adapted:
    """Adapts a model to a folder of pictures and masks.

    Args:
        order: What is wanted.
        progress: Told about every step and picture.
        say: Told in sentences what was found and decided.

    Raises:
        DataError: The set has errors, see ``vns-sam data check``, or is too small.
        UsageError: The model is of a kind that is not adapted, or ``out`` holds a run with other settings.
        CheckpointError: The model cannot be read.
    """
    began, tell = perf_counter(), progress or (lambda what, done, total: None)
    if not order.source.is_dir():
        raise DataError(f"expected a folder of pictures and masks at {order.source}, found none")
    with locked(order.out, "train"):
        own = own_set(order.source, order.out, workers=order.workers, progress=tell)
        for line in own.told():
            say(line)
        plan = _read_plan(order, own) or _make_plan(order, own, began, tell)
        recipe = plan.recipe
        say(f"{recipe.steps} steps of {recipe.batch_size} views, {plan.pace:.2f} s each on this machine")
        suite = _suite(own, plan.limit)
        before = _measure(order, suite, order.start, "before", tell)
        train_all(recipe, lambda done, total, _: tell("training", done, total))
        best = recipe.out / "best"
        trained = best if best.is_dir() else recipe.out / "model"
        after = _measure(order, suite, str(trained), "after", tell)
        write_report(suite.report([before, after]), order.out / ROWS)
        report = order.out / ROWS / "report.json"
        differences = compare(read_rows(f"{report}:before")[1], read_rows(f"{report}:after")[1])
        taken, why = judge(plan.score, _best_score(recipe), differences)
        put_model(order.out / MODEL, trained if taken else None, order.start)
        page = adapted_page(order.source, order.start, own, recipe, plan.pace, why, differences)
        for place in (order.out / PAGE, order.out / MODEL / CARD):
            write_text(place, page)
    return Adapted(order.out / MODEL, order.out / PAGE, taken, why, differences)


def judge(before: float | None, after: float | None, differences: list[Difference]) -> tuple[bool, str]:
    """Whether the trained model is taken, and why.

    It is where it is better on the pictures that the checkpoint was chosen by and on the held-out ones, over all
    prompts, and not surely worse by any of them.

    Args:
        before: Validation score of the model that was started from; None where there was no picture.
        after: The best one of the training.
        differences: Of the held-out pictures.
    """
    if before is not None and after is not None and after <= before:
        return False, f"the model stays as it was: IoU {after:.3f} after training, {before:.3f} before, by a box"
    ious = [d.change for d in differences if d.metric == "iou"]
    if ious and sum(ious) <= 0:
        return (
            False,
            f"the model stays as it was: trained, it is no better on held-out pictures ({fmean(ious):+.3f} IoU)",
        )
    lost = next((d for d in differences if d.metric == "iou" and d.certain and d.change < 0), None)
    if lost is not None:
        return False, f"the model stays as it was: trained, it loses {-lost.change:.3f} IoU on held-out pictures"
    return True, "the trained model is taken"


def _make_plan(order: Order, own: OwnSet, began: float, tell: Progress) -> _Plan:
    """Measures how fast this machine is, and chooses how much is measured and trained."""
    model = load_network(order.start, order.device)
    kind = str(getattr(getattr(model, "config", None), "model_type", "model of another kind"))
    values = adapting_values(
        kind,
        start=portable(order.start),
        name=f"{model.info.name}-{own.name}"[:80],
        root=own.folder.parent,
        dataset=own.name,
        out=order.out / RUN,
    )
    for name, value in order.changes:
        set_field(values, name, value)
    seconds, side = order.minutes * 60, model.info.input_side
    tell("timing", 0, 1)
    look = _seconds_of_a_picture(model, own)
    limit = _within(MEASURED * seconds / 2 / look, FEWEST, len(own.division.test))
    held = _within(CHOSEN_BY * seconds / VALIDATIONS / (look / len(PROMPTS)), 3, len(own.division.val))
    values["validation"] = {"limit": max(1, held), **values.get("validation", {})}
    later = 2 * limit * look + VALIDATIONS * held * look / len(PROMPTS)

    def left() -> float:
        return max(LEAST_TRAINED * seconds, seconds - (perf_counter() - began) - later)

    recipe, pace = plan_steps(values, views_for(side), left, f"the recipe for {order.source}")
    task = build_task(recipe).to(order.device)
    scores = task.validator(recipe)(task.model)
    plan = _Plan(_asked(order, own), recipe, limit, pace, scores.get("mean"))
    write_json(order.out / PLAN, {**asdict(plan), "recipe": recipe_fields(recipe)})
    tell("timing", 1, 1)
    return plan


def _read_plan(order: Order, own: OwnSet) -> _Plan | None:
    """The plan of the run that is continued.

    Raises:
        UsageError: It is of another run.
    """
    path = order.out / PLAN
    if not path.is_file():
        return None
    again = "give another --out, or remove the folder to start again"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        recipe = parse_recipe({**found["recipe"], "out": str(order.out / RUN)}, str(path), resolved=True)
        plan = _Plan(found["asked"], recipe, found["limit"], found["pace"], found["score"])  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        raise UsageError(f"{path} is not the plan of a run that could go on", hint=again) from None
    asked = json.loads(json.dumps(_asked(order, own)))
    other = next((name for name in asked if plan.asked.get(name) != asked[name]), None)
    if other:
        was, now = plan.asked.get(other), asked[other]
        said = f"with {other} {was}, expected {now}" if other != "files" else "before files of the folder changed"
        raise UsageError(f"{order.out} holds a run that was begun {said}", hint=again)
    return plan


def _asked(order: Order, own: OwnSet) -> dict[str, Any]:
    return {
        "folder": str(order.source.resolve()),
        "files": own.fingerprint,
        "from": order.start,
        "minutes": order.minutes,
        "changes": [[name, value] for name, value in order.changes],
    }


def _suite(own: OwnSet, limit: int) -> Suite:
    """Held-out pictures, asked about as a user would, each object by itself where the set tells them apart."""
    objects = (own.folder / "masks_instance").is_dir()
    return make_suite([own.folder], Measure(prompts=PROMPTS, instances=objects, second_look="off", limit=limit))


def _measure(order: Order, suite: Suite, name: str, label: str, tell: Progress) -> Any:
    run = suite.run(load_model(name, order.device), label, order.out / ROWS)
    for done, _ in enumerate(run, start=1):
        tell(f"measuring {label}", done, len(run))
    return run


def _seconds_of_a_picture(model: Any, own: OwnSet) -> float:
    """How long it takes to measure one; the second of two, since the first is slower than those to come."""
    stamps = [perf_counter()]
    for _ in _suite(own, 2).run(model, "timed"):
        stamps.append(perf_counter())
    return stamps[-1] - stamps[-2]


def _best_score(recipe: Recipe) -> float | None:
    scores = [line["iou/mean"] for line in read_log(recipe.out) if "iou/mean" in line]
    return max(scores) if scores else None


def _within(wanted: float, fewest: int, most: int) -> int:
    return min(most, max(fewest, int(wanted)))


def default_out(source: Path) -> Path:
    """Where a run goes that says nothing else."""
    return Path("runs") / set_name(source)
