"""A whole table: every row trained from the same recipe with its own changes, measured alike, written as one report."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from vns_sam.errors import UsageError
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.report import ModelResult, Report
from vns_sam.evaluation.suite import make_suite, write_report
from vns_sam.images.write import write_json, write_text
from vns_sam.inference.load import check_model_name, load_model
from vns_sam.runs.job import Mapper
from vns_sam.runs.threads import overlapped
from vns_sam.studies.digests import recipe_sources, training_digest
from vns_sam.training.chain import own_recipe, train_all
from vns_sam.training.fields import check_fields, read_values, set_field
from vns_sam.training.recipe import RESOLVED, Recipe, dump_recipe, parse_recipe
from vns_sam.training.state import LAST
from vns_sam.training.tasks import build_task

_STRICT = ConfigDict(extra="forbid")
INIT = "init"
"""In the place of a row's model: what the study's recipe starts from."""
TABLE = "table.md"
FINISHED = "finished.json"
"""Written into the folder of a training run when it is over."""
SOURCES = "sources.json"
"""Written there before it begins: digests of what it learns from."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


@dataclass(frozen=True, config=_STRICT)
class StudyRow:
    """One line of the table: a model as it is, or one that is trained for it.

    Attributes:
        name: What the table calls it.
        model: Name, folder or hub id of a model that is measured as it is; "init" is the one that the study's recipe
            starts from.
        change: Fields of the base recipe that this row changes, by dotted name: ``{vns.ablation: no-nsfm}``.
    """

    name: str
    model: str | None = None
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StudyMeasure(Measure):
    """How every row is measured.

    Attributes:
        data: Sets below the study's root.
    """

    data: tuple[Path, ...]


@dataclass(frozen=True, config=_STRICT)
class Study:
    """One table.

    Attributes:
        out: Folder of the report.
        rows: Its lines.
        measure: How they are measured.
        root: Folder of the sets, of training and measuring alike.
        train: The recipe that all trained rows start from; a path.
        change: Fields of that recipe that all rows change.
        runs: Folder of the training runs: rows of equal recipes share one, in any table.
        seeds: Each trained row is trained once for each; the table shows mean and standard deviation.
        keep: "model" removes a run's checkpoints once it is measured, "all" keeps them.
    """

    out: Path
    rows: tuple[StudyRow, ...]
    measure: StudyMeasure
    root: Path = Path("data")
    train: Path | None = None
    change: dict[str, Any] = field(default_factory=dict)
    runs: Path = Path("runs/studies")
    seeds: tuple[int, ...] = (0,)
    keep: Literal["model", "all"] = "model"


_ADAPTER = TypeAdapter(Study)


@plain_dataclass(frozen=True)
class Trial:
    """One model to measure: a row with one seed.

    Attributes:
        row: The row.
        seed: Of the training, None for a model that is measured as it is.
        recipe: What trains it, None for the same.
    """

    row: StudyRow
    seed: int | None = None
    recipe: Recipe | None = None

    @property
    def label(self) -> str:
        """The row's name, with the seed where there is one."""
        return self.row.name if self.seed is None else f"{self.row.name} (seed {self.seed})"

    @property
    def model(self) -> str:
        """What ``load_model`` takes, once it is trained."""
        return self.row.model or str(self.recipe.out / "model" if self.recipe else "")


def load_study(path: str | Path) -> Study:
    """Reads a study; see :func:`parse_study`."""
    return parse_study(read_values(path, "study"), str(path))


def parse_study(values: dict[str, Any], source: str) -> Study:
    """Checks a study's fields.

    Raises:
        UsageError: A field is unknown, missing or of another type, a row has no or two origins, or two share a name.
    """
    study = check_fields(_ADAPTER, values, source, (Study, StudyRow, StudyMeasure), "see docs/evaluation.md")
    names = [row.name for row in study.rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not names or twice:
        raise UsageError(f"{source}: {f'two rows are called {twice!r}' if twice else 'there is no row'}")
    for row in study.rows:
        if row.model is None and study.train is None:
            raise UsageError(
                f"{source}: row '{row.name}' names no model and there is nothing to train it by",
                hint="give the study a recipe: train: PATH",
            )
        if row.model is not None and row.change:
            raise UsageError(f"{source}: row '{row.name}' names a model and changes that would train another")
        if row.model == INIT and study.train is None:
            raise UsageError(
                f"{source}: row '{row.name}' is what the recipe starts from, and there is none", hint="train: PATH"
            )
    return study


def trials(study: Study) -> Iterator[Trial]:
    """What is to be trained and measured, in the table's order.

    Raises:
        UsageError: The base recipe is missing, a change does not fit it, or a model does not exist.
    """
    base = {} if study.train is None else _changed(read_values(study.train), study.change)
    for row in study.rows:
        if row.model is not None:
            model = base.get("init") if row.model == INIT else row.model
            if not isinstance(model, str):
                raise UsageError(
                    f"row '{row.name}' is the 'init' of {study.train}, which names none", hint="model: NAME"
                )
            check_model_name(model)
            yield Trial(replace(row, model=model))
            continue
        for seed in study.seeds:
            values = _changed(base, {**row.change, "data.root": str(study.root), "seed": seed})
            recipe = parse_recipe({**values, "out": "run"}, f"row '{row.name}'", file=study.train or "")
            if not isinstance(recipe, Recipe):
                raise UsageError(f"row '{row.name}' trains a {recipe.task}, which a study cannot measure")
            yield Trial(row, seed, replace(recipe, out=_run_folder(study.runs, recipe)))


def _changed(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a recipe's fields with others by dotted name."""
    changed = copy.deepcopy(dict(values))
    for name, value in change.items():
        set_field(changed, name, copy.deepcopy(value))
    return changed


def run_study(
    study: Study, *, device: str = "cpu", mapper: Mapper = overlapped, progress: Progress | None = None
) -> Report:
    """Trains and measures what is not yet trained and measured, and writes ``table.md`` and the report.

    Started again after a stop it goes on where it was, in the middle of a training run or of an evaluation.

    Args:
        study: The study.
        device: Where models are measured; training follows accelerate.
        mapper: Who measures: threads of this process, processes, or a cluster.
        progress: Told about every step and picture.

    Raises:
        UsageError: See :func:`trials` and ``make_suite``; or a run was trained on a set, or from a model, that has
            changed since.
        DataError: A set is missing, or the report cannot be written.
    """
    tell = progress or (lambda what, done, total: None)
    planned = list(trials(study))
    of_set = cache(training_digest)  # a set is read once, however many rows learn from it
    _check_sources(planned, of_set)
    suite = make_suite([study.root / name for name in study.measure.data], study.measure)
    results: list[ModelResult] = []
    for i, trial in enumerate(planned, start=1):
        what = f"{i}/{len(planned)} {trial.label}"
        trained = _train(trial, of_set, partial(tell, f"{what}: training"))
        run = suite.run(load_model(trial.model, device), trial.label, study.out, mapper=mapper, apart=True)
        for done, _ in enumerate(run, start=1):
            tell(what, done, len(run))
        if study.keep == "model" and trial.recipe is not None:
            (trial.recipe.out / LAST).unlink(missing_ok=True)
        results.append(replace(run.result(), line=trial.row.name, trained=trained))
        report = replace(suite.report([]), models=results)
        write_text(study.out / TABLE, report.to_markdown())
    write_report(report, study.out)
    return report


def _check_sources(planned: Sequence[Trial], of_set: Callable[[Path], str]) -> None:
    """Checks that runs which were begun learnt from what is there now; those without a record are taken as they are."""
    stale: dict[Path, str] = {}
    for recipe in (trial.recipe for trial in planned):
        if recipe is None or recipe.out in stale:
            continue
        if (recipe.out / SOURCES).is_file() and (recipe.out / RESOLVED).is_file():
            before, now = json.loads((recipe.out / SOURCES).read_text()), recipe_sources(recipe, of_set)
            changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
            if changed:
                stale[recipe.out] = ", ".join(changed)
    if stale:
        (run, what), more = next(iter(stale.items())), f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        raise UsageError(
            f"expected {what} as {run}{more} learnt from it, found it changed since",
            hint=f"remove {'these runs' if more else run} to train again, or train elsewhere: --runs DIR",
        )


def _train(trial: Trial, of_set: Callable[[Path], str], tell: Callable[[int, int], None]) -> int | None:
    """Trains a trial unless its model is there; the number of trained parameters."""
    if trial.recipe is None:
        return None
    finished = trial.recipe.out / FINISHED
    if not finished.is_file():
        if not (trial.recipe.out / RESOLVED).is_file():
            write_json(trial.recipe.out / SOURCES, recipe_sources(trial.recipe, of_set))
        train_all(trial.recipe, lambda done, total, _: tell(done, total))
        groups = build_task(own_recipe(trial.recipe)).groups(trial.recipe)
        write_json(finished, {"trained_parameters": sum(p.numel() for group in groups for p in group["params"])})
    return int(json.loads(finished.read_text())["trained_parameters"])


def _run_folder(runs: Path, recipe: Recipe) -> Path:
    """Where a recipe is trained: in the folder of a run that was begun with an equal one, else in a new one.

    Recipes are compared by what they say, not by name alone: a field that is new since then has its default in both.
    """
    digest = hashlib.sha256(dump_recipe(replace(recipe, out=Path("run"))).encode()).hexdigest()
    folder = runs / f"{recipe.task}-{digest[:12]}"
    if (folder / RESOLVED).is_file():
        return folder
    for found in sorted(runs.glob(f"{recipe.task}-*/{RESOLVED}")):
        with contextlib.suppress(UsageError):  # a field that is gone: another recipe
            begun = parse_recipe({**read_values(found), "out": found.parent}, str(found), resolved=True)
            if begun == own_recipe(replace(recipe, out=found.parent)):
                return found.parent
    return folder
