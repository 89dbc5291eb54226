"""Is the difference real? Two evaluations, object by object, with bootstrap confidence intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vns_sam.errors import DataError, UsageError
from vns_sam.images.bounded import read_bounded

RESAMPLES = 10_000
BATCH = 500
"""Resamples drawn at once: memory stays small on large sets."""
MOST = 2**29
"""Bytes of a report."""
FEWEST = 6
"""Pictures from which on a change can be certain: five that all change the same way do so by chance in 6 % of cases."""

Scores = dict[tuple[str, str], dict[str, float]]
"""By (stem, target), then by metric."""
Rows = dict[tuple[str, str], Scores]
"""Scores by (prompt, set)."""
Means = dict[tuple[str, str], dict[str, float]]
"""Means by (prompt, set), then by metric."""


@dataclass(frozen=True)
class Measured:
    """One model of a report.

    Attributes:
        source: The report, as :func:`read_report` was asked for it.
        label: What the report calls the model.
        rows: Scores by prompt and set, then by object.
        means: Means by prompt and set, those that are no means over objects, too.
        settings: Of the report; a report of an earlier version may lack some.
        second_look: Whether the model looked a second time, None where the report does not tell.
    """

    source: str
    label: str
    rows: Rows
    means: Means
    settings: Mapping[str, Any]
    second_look: bool | None


@dataclass(frozen=True)
class Difference:
    """How much a metric's mean changes from the first evaluation to the second.

    Attributes:
        prompt, dataset, metric: What was compared.
        count: Objects that both have.
        first, second: Means.
        low, high: 95 % interval of the change, from resampling pictures with their objects in pairs; None of metrics
            that are no mean over objects, such as max F or average precision.
        pictures: Pictures that these objects are of, None where each has its own; objects of one picture are alike, so
            that it is pictures that chance draws.
    """

    prompt: str
    dataset: str
    metric: str
    count: int
    first: float
    second: float
    low: float | None
    high: float | None
    pictures: int | None = None

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0, of enough pictures for this to mean something."""
        known = self.low is not None and self.high is not None
        drawn = self.count if self.pictures is None else self.pictures
        return known and drawn >= FEWEST and bool((self.low or 0) > 0 or (self.high or 0) < 0)


def read_rows(source: str) -> tuple[str, Rows]:
    """The label and the rows of one model of a report, as :func:`read_report` finds them."""
    found = read_report(source)
    return found.label, found.rows


def read_report(source: str) -> Measured:
    """Reads one model of a report.

    Args:
        source: ``report.json``, or ``report.json:MODEL`` where it holds several.

    Raises:
        UsageError: The model is not in the report, or has to be named.
        DataError: The file is missing or no report.
    """
    path, label = _split(source)
    try:
        report = json.loads(read_bounded(path, MOST))
        models: dict[str, Any] = report["models"]
        settings = report.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        found = {name: _measured(source, name, result, settings) for name, result in models.items()}
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or '').lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise DataError(f"expected a report of vns-sam evaluate at {path}, found another file") from None
    known = ", ".join(found)
    if label is None and len(found) == 1:
        label = next(iter(found))
    if label is None:
        raise UsageError(f"{path} holds {len(found)} models: {known}", hint=f"{path}:{next(iter(found), 'MODEL')}")
    if label not in found:
        raise UsageError(f"{path} holds no model '{label}'", hint=f"one of {known}")
    return found[label]


def compare_means(first: Means, second: Means, known: Sequence[Difference]) -> list[Difference]:
    """Differences of the means that both evaluations hold and that are no means over objects, so that nothing can be
    said about their chance.

    Args:
        first: Means of one evaluation.
        second: Those of the other.
        known: Differences that are known object by object; these are left out.
    """
    seen = {(each.prompt, each.dataset, each.metric) for each in known}
    found = []
    for place in [place for place in first if place in second]:
        before, after = first[place], second[place]
        for metric in [name for name in before if name in after and name != "count"]:
            if (*place, metric) not in seen:
                count = int(min(before.get("count", 0), after.get("count", 0)))
                found.append(Difference(*place, metric, count, before[metric], after[metric], None, None))
    return found


def compare(first: Rows, second: Rows, metrics: Sequence[str] | None = None, seed: int = 0) -> list[Difference]:
    """Differences by prompt, set and metric, over the objects that both evaluations hold.

    Args:
        first: Scores of one evaluation.
        second: Those of the other.
        metrics: Which are compared; None takes all that both hold.
        seed: Of the resampling.

    Raises:
        DataError: They share no object.
    """
    differences = []
    for place in [place for place in first if place in second]:
        shared = [key for key in first[place] if key in second[place]]
        for metric in _shared(first[place], second[place], shared) if metrics is None else metrics:
            held = [key for key in shared if metric in first[place][key] and metric in second[place][key]]
            values = np.array([(first[place][key][metric], second[place][key][metric]) for key in held], dtype=float)
            if held:
                stems = [stem for stem, _ in held]
                low, high = bootstrap(values[:, 1] - values[:, 0], np.random.default_rng(seed), stems)
                before, after = values.mean(axis=0).tolist()
                found = Difference(*place, metric, len(held), before, after, low, high, pictures=len(set(stems)))
                differences.append(found)
    if not differences:
        raise DataError(
            "the two evaluations share no object and metric", hint="measure both on the same sets with the same prompts"
        )
    return differences


def _shared(first: Scores, second: Scores, keys: Sequence[tuple[str, str]]) -> list[str]:
    """Metrics that both evaluations have of some object, in the first one's order."""
    return list(dict.fromkeys(name for key in keys for name in first[key] if name in second[key]))


def bootstrap(
    values: np.ndarray, rng: np.random.Generator, pictures: Sequence[str] | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of values (N,).

    Args:
        values: One for each object.
        rng: Draws pictures.
        pictures: Name of the picture of each object: a picture is drawn with all its objects, which are too much alike
            to be drawn one by one. None takes each object for a picture.
        level: How often the interval shall hold the mean.
    """
    places: dict[str, int] = {}
    of = range(len(values)) if pictures is None else [places.setdefault(name, len(places)) for name in pictures]
    counts = np.bincount(of)
    sums = np.bincount(of, weights=values)
    draws = (rng.integers(len(sums), size=(BATCH, len(sums))) for _ in range(RESAMPLES // BATCH))
    means = np.concatenate([sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1) for drawn in draws])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def to_markdown(differences: Sequence[Difference], first: str, second: str) -> str:
    """A table with a line for each prompt, set and metric; a star marks changes that are certain."""
    lines = [
        f"| prompt | set | objects | metric | {first} | {second} | change | 95 % interval |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for d in differences:
        star = " *" if d.certain else ""
        interval = "-" if d.low is None or d.high is None else f"{d.low:+.3f} to {d.high:+.3f}"
        lines.append(
            f"| {d.prompt} | {d.dataset} | {d.count} | {d.metric} | {d.first:.3f} | {d.second:.3f} "
            f"| {d.change:+.3f}{star} | {interval} |"
        )
    return "\n".join(lines) + "\n"


def _split(source: str) -> tuple[str, str | None]:
    """Path and label; a label may hold colons and slashes, a path ends in .json."""
    head, mark, label = source.partition(".json:")
    return (head + ".json", label) if mark else (source, None)


def _measured(source: str, label: str, result: Mapping[str, Any], settings: Mapping[str, Any]) -> Measured:
    looked = result.get("second_look")
    rows, means = _group(result["rows"]), _means(result.get("means", {}))
    return Measured(source, label, rows, means, settings, looked if isinstance(looked, bool) else None)


def _group(lines: Sequence[Mapping[str, Any]]) -> Rows:
    rows: Rows = {}
    for line in lines:
        values = {name: float(value) for name, value in line.items() if isinstance(value, int | float)}
        rows.setdefault((line["prompt"], line["dataset"]), {})[line["stem"], line["target"]] = values
    return rows


def _means(given: Mapping[str, Any]) -> Means:
    return {
        (prompt, name): {metric: float(value) for metric, value in values.items()}
        for prompt, sets in given.items()
        for name, values in sets.items()
    }
