"""What was measured: Markdown in the paper's layout for people, CSV for sheets, JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from vns_sam.errors import UsageError, without_key
from vns_sam.evaluation.precision import Precision, class_table, precision_of, precision_of_classes
from vns_sam.evaluation.rows import Row, Unscored
from vns_sam.evaluation.settings import Choice
from vns_sam.metrics.scoring import summarise

PAIRED = (("iou", "biou"), ("mean_e", "weighted_f"), ("noc85", "noc90"), ("ap", "ap50", "ap75"))
"""Metrics that share a cell, as in the paper's tables."""
MOST_LEFT_OUT = 10
"""Objects without a score that a report in Markdown names; JSON names all."""
DECIMALS = {"noc85": 2, "noc90": 2, "hce": 1}
CHOICES: dict[Choice, str] = {"own": "", "likeliest": ", likeliest of several", "best": ", best of several"}
"""What lines of a report add to the model's name, by which of its masks is scored."""

Means = dict[str, float]


@dataclass(frozen=True)
class ModelResult:
    """What one model achieved.

    Attributes:
        label: What it is called.
        weights: Digest of its weights and configurations.
        rows: One for each object and prompt.
        skipped: Broken pictures as set/stem, with the reason.
        seconds: Where the time went.
        line: The table's line that it stands in, ``label`` where empty; several results of one line are shown as
            mean and standard deviation.
        trained: Number of trained parameters, where that is part of the table.
        second_look: Whether the model looked a second time.
        unscored: Objects without a score, of pictures that have some; those without any are ``skipped``.
    """

    label: str
    weights: str
    rows: Sequence[Row]
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    line: str = ""
    trained: int | None = None
    second_look: bool = False
    unscored: Sequence[Unscored] = ()

    def means(self) -> dict[str, dict[str, Means]]:
        """Means by prompt and set, with the number of objects as ``count``."""
        return {
            prompt: {name: {**_means(rows), "count": float(len(rows))} for name, rows in sets.items()}
            for prompt, sets in self._groups().items()
        }

    def left_out(self) -> dict[str, str]:
        """Pictures and objects without a score, by name with the reason; an object that some prompts have scored is
        named with the others.
        """
        prompts = len({row.key.prompt for row in self.rows} | {each.key.prompt for each in self.unscored})
        objects: dict[str, list[Unscored]] = {}
        for each in self.unscored:
            objects.setdefault(each.key.name, []).append(each)
        found = dict(self.skipped)
        for name, lacking in objects.items():
            told = "" if len(lacking) == prompts else f" ({', '.join(each.key.prompt for each in lacking)})"
            found[name + told] = lacking[0].reason
        return found

    @cached_property
    def classes(self) -> dict[tuple[str, str], dict[str, Precision]]:
        """Average precision of each class by prompt and set, of those sets whose objects have classes."""
        found = {
            (prompt, name): precision_of_classes(rows)
            for prompt, sets in self._groups().items()
            for name, rows in sets.items()
        }
        return {place: dict(classes) for place, classes in found.items() if classes}

    def _groups(self) -> dict[str, dict[str, list[Row]]]:
        """Rows by prompt and set."""
        groups: dict[str, dict[str, list[Row]]] = {}
        for row in self.rows:
            groups.setdefault(row.key.prompt, {}).setdefault(row.key.dataset, []).append(row)
        return groups


@dataclass(frozen=True)
class Report:
    """One evaluation.

    Attributes:
        settings: What the numbers depend on: metrics, resize, seed, instances, version.
        models: In the order given.
        groups: Sets whose unweighted mean is shown, by name; all together are the mean where there is no group.
        columns: Metrics in the order of the columns of one table with a line for each set and model, as DIS-SAM's
            tables; without them each metric has a table with a column for each set.
    """

    settings: Mapping[str, Any]
    models: Sequence[ModelResult]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_labels(result.label for result in self.models)

    @cached_property
    def lines(self) -> dict[str, list[ModelResult]]:
        """Results by the table's line that they stand in: seeds where they are said to be, else one alone.

        Raises:
            UsageError: A model is called as a line of others.
        """
        found: dict[str, list[ModelResult]] = {}
        for result in self.models:
            found.setdefault(result.line or result.label, []).append(result)
        for name, results in found.items():
            if len(results) > 1 and not all(result.line for result in results):
                raise UsageError(f"two lines of the table are called '{name}'", hint="give them different names")
        return found

    def to_markdown(self) -> str:
        """For each prompt and pair of metrics a table: a line for each model, a column for each set.

        With ``columns`` it is one table for each prompt, see there.
        """
        lines = self.lines
        means = {name: [result.means() for result in results] for name, results in lines.items()}
        everything = [by_prompt for results in means.values() for by_prompt in results]
        tables = []
        for prompt in _unique(prompt for by_prompt in everything for prompt in by_prompt):
            sets = [by_prompt.get(prompt, {}) for by_prompt in everything]
            names = _unique(name for row in sets for name in row)
            rows = {name: [by_prompt.get(prompt, {}) for by_prompt in results] for name, results in means.items()}
            if self.columns:
                tables.append(self._table_by_metric(prompt, names, rows))
                continue
            for metrics in _columns(_unique(metric for row in sets for values in row.values() for metric in values)):
                tables.append(self._table(f"**{prompt}**: {' / '.join(metrics)}", metrics, names, rows, lines))
        tables += [*self._class_tables(), *self._left_out(), self._looks()]
        return "\n".join(tables)

    def _class_tables(self) -> Iterator[str]:
        """Average precision by class; of several seeds, that of the first."""
        found = {line: results[0].classes for line, results in self.lines.items()}
        for place in dict.fromkeys(place for classes in found.values() for place in classes):
            yield class_table(*place, {line: classes[place] for line, classes in found.items() if place in classes})

    def _left_out(self) -> Iterator[str]:
        """What has no score, with the reason; models that share a list share its lines."""
        who: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for result in self.models:
            who.setdefault(tuple(result.left_out().items()), []).append(result.label)
        for found, labels in who.items():
            if found:
                lines = [why if why.startswith(f"{name}:") else f"{name}: {why}" for name, why in found[:MOST_LEFT_OUT]]
                if len(found) > MOST_LEFT_OUT:
                    lines.append(f"and {len(found) - MOST_LEFT_OUT} more, see report.json")
                yield "\n".join([f"Not scored, {', '.join(labels)}:", "", *(f"- {line}" for line in lines)]) + "\n"

    def _looks(self) -> str:
        """Which models looked a second time."""
        looked = _unique(result.line or result.label for result in self.models if result.second_look)
        return f"Second look: {', '.join(looked) or 'none'}\n"

    def _table(
        self,
        title: str,
        metrics: Sequence[str],
        sets: Sequence[str],
        rows: Mapping[str, Sequence[Mapping[str, Means]]],
        lines: Mapping[str, Sequence[ModelResult]],
    ) -> str:
        sets = [name for name in sets if any(metrics[0] in row.get(name, {}) for each in rows.values() for row in each)]
        groups = self.groups or ({"mean": sets} if len(sets) > 1 else {})
        groups = {name: members for name, members in groups.items() if set(members) <= set(sets)}
        counts = _counts(rows, sets)
        sizes = any(result.trained is not None for result in self.models)
        heads = ["model", *(["trained"] if sizes else []), *(f"{name} ({counts[name]:.0f})" for name in sets), *groups]
        text = [title, "", f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
        for line, results in rows.items():
            cells = [line, *([_size(lines[line][0].trained)] if sizes else [])]
            cells += [_cell([row.get(name) for row in results], metrics, counts[name]) for name in sets]
            cells += [_cell([group_mean(row, names) for row in results], metrics) for names in groups.values()]
            text.append(f"| {' | '.join(cells)} |")
        return "\n".join(text) + "\n"

    def _table_by_metric(
        self, prompt: str, sets: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Means]]]
    ) -> str:
        """A line for each set and model; a group stands behind the last of its sets."""
        text = [f"**{prompt}**", "", f"| set | model | {' | '.join(self.columns)} |"]
        text.append("|---|---|" + "--:|" * len(self.columns))
        counts = _counts(rows, sets)
        groups = {name: members for name, members in self.groups.items() if set(members) <= set(sets)}
        parts = {name: (name,) for name in sets} | groups
        for shown in sorted(parts, key=lambda name: max(map(sets.index, parts[name]))):
            count = sum(counts[name] for name in parts[shown])
            for line, results in rows.items():
                means = [group_mean(row, parts[shown]) for row in results]
                own = min(sum(row[name]["count"] for name in parts[shown] if name in row) for row in results)
                fewer = f"{own:.0f} of " if 0 < own < count else ""
                cells = [f"{shown} ({fewer}{count:.0f})", line, *(_cell(means, (metric,)) for metric in self.columns)]
                text.append(f"| {' | '.join(cells)} |")
        return "\n".join(text) + "\n"

    def to_csv(self) -> str:
        """One line for each model, prompt and set, with all means."""
        lines = [
            {"model": result.label, "prompt": prompt, "set": name, **values}
            for result in self.models
            for prompt, sets in result.means().items()
            for name, values in sets.items()
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, _unique(key for line in lines for key in line), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Everything, with a row for each object; curves are left out."""
        return {
            "settings": dict(self.settings),
            "groups": {name: list(sets) for name, sets in self.groups.items()},
            "models": {
                result.label: {
                    "weights": result.weights,
                    "second_look": result.second_look,
                    "means": result.means(),
                    **_by_class(result),
                    "skipped": dict(result.skipped),
                    "unscored": [{**each.key._asdict(), "reason": each.reason} for each in result.unscored],
                    "seconds": dict(result.seconds),
                    "rows": [{**row.key._asdict(), **row.scores.values} for row in result.rows],
                }
                for result in self.models
            },
        }


def label_of(model: str, part: object = None, choice: Choice = "own") -> str:
    """What a line of a report is called: the model, what it was measured without, and which of its masks is scored."""
    name = without_key(model)
    return (name if part is None else f"{name} less {part}") + CHOICES[choice]


def check_labels(labels: Iterable[str]) -> None:
    """Checks that no two results have one name.

    Raises:
        UsageError: Two have; a report would take them for one.
    """
    seen = list(labels)
    twice = next((label for label in seen if seen.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"expected each model once, found '{twice}' twice", hint="leave one out")


def group_mean(row: Mapping[str, Means], sets: Sequence[str]) -> Means | None:
    """Unweighted mean over sets, as the paper averages; None where one of them was not measured."""
    if not sets or any(name not in row for name in sets):
        return None
    shared = [metric for metric in row[sets[0]] if all(metric in row[name] for name in sets)]
    return {metric: fmean(row[name][metric] for name in sets) for metric in shared}


def _counts(rows: Mapping[str, Sequence[Mapping[str, Means]]], sets: Sequence[str]) -> dict[str, float]:
    """Objects of each set, in the model that has most of them."""
    measured = [row for results in rows.values() for row in results]
    return {name: max(row[name]["count"] for row in measured if name in row) for name in sets}


def _means(rows: Sequence[Row]) -> Means:
    """Means of a set, those of the numbers of clicks too, and its average precision."""
    clicks = {name: fmean(row.scores.values[name] for row in rows) for name in rows[0].scores.values if "noc" in name}
    return {**clicks, **summarise(row.scores for row in rows), **precision_of(rows)}


def _by_class(result: ModelResult) -> dict[str, Any]:
    """Average precision by prompt, set and class for JSON, where there are classes."""
    found: dict[str, dict[str, Any]] = {}
    for (prompt, name), classes in result.classes.items():
        found.setdefault(prompt, {})[name] = classes
    return {"classes": found} if found else {}


def _columns(found: Sequence[str]) -> list[tuple[str, ...]]:
    """Metrics grouped into cells: those of the paper in pairs, all others alone."""
    left = [metric for metric in found if metric != "count"]
    cells: list[tuple[str, ...]] = []
    while left:
        pair = next((pair for pair in PAIRED if left[0] in pair and set(pair) <= set(left)), (left[0],))
        cells.append(pair)
        left = [metric for metric in left if metric not in pair]
    return cells


def _cell(values: Sequence[Means | None], metrics: Sequence[str], count: float = 0) -> str:
    """Means over the seeds, with the standard deviation of several; and with the number of objects where it is below
    the ``count`` of the column's head.
    """
    known = [value for value in values if value is not None and all(metric in value for metric in metrics)]
    if not known or len(known) < len(values):
        return "-"
    cells = []
    for metric in metrics:
        each, digits = [value[metric] for value in known], DECIMALS.get(metric, 3)
        spread = f" ± {stdev(each):.{digits}f}" if len(each) > 1 else ""
        cells.append(f"{fmean(each):.{digits}f}{spread}")
    fewest = min(value["count"] for value in known) if count else 0
    return " / ".join(cells) + (f" ({fewest:.0f} of {count:.0f})" if fewest < count else "")


def _size(parameters: int | None) -> str:
    """Millions of parameters, and MiB as float32, which the paper's tables call M."""
    return "-" if parameters is None else f"{parameters / 1e6:.2f} M ({parameters * 4 / 2**20:.1f} MiB)"


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
