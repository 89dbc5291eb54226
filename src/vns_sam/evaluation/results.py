"""Measured numbers as a file that tables are made from: means with intervals, and all that they were measured with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vns_sam.errors import DataError
from vns_sam.evaluation.compare import bootstrap
from vns_sam.evaluation.report import ModelResult, Report, group_mean
from vns_sam.images.write import write_text

_Objects = tuple[list[float], list[str]]
"""A score of each object, and the name of its picture."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Score:
    """The mean of one metric.

    Attributes:
        mean: Over objects; over seeds where ``sd`` is given.
        low, high: 95 % interval from resampling pictures with their objects; None where the objects' scores are not
            known.
        sd: Standard deviation over seeds.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None


@dataclass(frozen=True, config=_STRICT)
class ResultRow:
    """What one model achieved on one set with one kind of prompt.

    Attributes:
        model: As tables call it.
        set: Name of the set, or of a group of sets.
        prompt: Kind of prompt.
        scores: By the metric's name.
        count: Objects, where it is known.
    """

    model: str
    set: str
    prompt: str
    scores: dict[str, Score]
    count: int | None = None


@dataclass(frozen=True, config=_STRICT)
class Results:
    """One measurement.

    Attributes:
        command: What makes the file again.
        rows: The numbers.
        version: Of the package that measured.
        machine: Where.
        commit: State of the repository, where it is known.
        title: What was asked.
        settings: What the numbers depend on beside models, sets and prompts.
        models: Digest of each model's weights, by its name in ``rows``.
        sets: A word or two about each set, such as "polyps".
    """

    command: str
    rows: tuple[ResultRow, ...]
    version: str
    machine: str = ""
    commit: str = ""
    title: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)


_ADAPTER = TypeAdapter(Results)


@plain_dataclass(frozen=True)
class Origin:
    """Where numbers come from: the command line, the machine and the package's version."""

    command: str
    machine: str
    version: str


def gather(report: Report, origin: Origin, title: str = "") -> Results:
    """The means of a report, with the interval of each or, over several seeds, its deviation; those of groups too.

    Args:
        report: What was measured.
        origin: How.
        title: What was asked.
    """
    rows = [row for line, results in report.lines.items() for row in _line(line, results, report.groups)]
    return Results(
        command=origin.command,
        rows=tuple(rows),
        version=origin.version,
        machine=origin.machine,
        title=title,
        settings=json.loads(json.dumps(report.settings)),
        models={result.label: result.weights for result in report.models},
    )


def write_results(path: str | Path, results: Results) -> None:
    """Writes a file of results, a line for each row.

    Raises:
        DataError: The place cannot be written.
    """
    fields = asdict(results)
    rows = [_without_none(row) for row in fields.pop("rows")]
    head = json.dumps({name: value for name, value in fields.items() if value}, indent=1, allow_nan=False)
    lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in rows)
    write_text(path, f'{head[:-2]},\n "rows": [\n{lines}\n ]\n}}\n')


def read_results(path: str | Path) -> Results:
    """Reads what :func:`write_results` wrote.

    Raises:
        DataError: The file is missing or holds something else; the first wrong field is named.
    """
    try:
        return _ADAPTER.validate_json(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {(error.strerror or '').lower()}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"expected results of vns-sam evaluate --save at {path}, found {place}: {first['msg'].lower()}"
        ) from None


def mean_score(mean: float, values: Sequence[float], pictures: Sequence[str] | None = None) -> Score:
    """A mean with its interval, where it is the mean of the objects' scores.

    Args:
        mean: The mean.
        values: Scores of the objects.
        pictures: Name of each object's picture; None takes each object for a picture.
    """
    if not values or not np.isclose(mean, np.mean(values)):
        return Score(round(mean, 4))
    low, high = bootstrap(np.array(values), np.random.default_rng(0), pictures)
    return Score(round(mean, 4), round(low, 4), round(high, 4))


def _line(line: str, results: Sequence[ModelResult], groups: Mapping[str, Sequence[str]]) -> Iterator[ResultRow]:
    """Rows of one line of a table: of each set, then of each group."""
    means = [result.means() for result in results]
    for prompt, sets in means[0].items():
        for name, found in sets.items():
            every = [by_prompt[prompt][name] for by_prompt in means if name in by_prompt.get(prompt, {})]
            single = _single(results[0], prompt, name) if len(results) == 1 else {}
            scores = {metric: _over_seeds(every, metric, single) for metric in found if metric != "count"}
            yield ResultRow(line, name, prompt, scores, int(found["count"]))
        for group, members in groups.items():
            every = [mean for by_prompt in means if (mean := group_mean(by_prompt.get(prompt, {}), members))]
            if every:
                scores = {metric: _over_seeds(every, metric, {}) for metric in every[0] if metric != "count"}
                yield ResultRow(line, group, prompt, scores)


def _single(result: ModelResult, prompt: str, name: str) -> dict[str, _Objects]:
    """Scores of every object of a set, by metric."""
    found: dict[str, _Objects] = {}
    for row in result.rows:
        if (row.key.prompt, row.key.dataset) == (prompt, name):
            for metric, value in row.scores.values.items():
                values, pictures = found.setdefault(metric, ([], []))
                values.append(value)
                pictures.append(row.key.stem)
    return found


def _over_seeds(every: Sequence[Mapping[str, float]], metric: str, single: Mapping[str, _Objects]) -> Score:
    """The mean over seeds with its deviation; of one seed, that of its objects with its interval."""
    values = [means[metric] for means in every if metric in means]
    if len(values) > 1:
        return Score(round(fmean(values), 4), sd=round(stdev(values), 4))
    return mean_score(values[0], *single.get(metric, ([], [])))


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the fields that say nothing."""
    return {
        name: _without_none(inner) if isinstance(inner, Mapping) else inner
        for name, inner in value.items()
        if inner is not None
    }
