"""The pictures of an evaluation: where the last model fails, all models side by side, curves, and a look inside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from vns_sam.data.pairs import Pair
from vns_sam.errors import UsageError
from vns_sam.evaluation.figures import Case, side_by_side, worst_cases
from vns_sam.evaluation.frames import frame
from vns_sam.evaluation.picture import true_objects
from vns_sam.evaluation.protocol import Protocol, draw_prompt
from vns_sam.evaluation.report import ModelResult, group_mean
from vns_sam.evaluation.rows import Key
from vns_sam.evaluation.suite import Run, Suite
from vns_sam.images.charts import curve
from vns_sam.images.read import read_image
from vns_sam.images.write import write_image
from vns_sam.inference.answers import Asker, predict
from vns_sam.sam.registry import figure_of

FOLDER = "figures"
LOOKED_INTO = 3
"""Pictures of each set for which the last model's inside is drawn."""
METRIC = "iou"


def write_figures(
    out: Path, runs: Sequence[Run], results: Sequence[ModelResult], suite: Suite, *, count: int
) -> Iterator[Path]:
    """Draws what the numbers mean.

    For each set: the ``count`` pictures that the last model does worst on, ``count`` drawn at random with all models
    side by side, and for the first of these what the last model looks at: the token attention of a SAM or VNS-SAM, the
    feature groups of a WS-SAM. Where points were counted up, the curve of each set and of their mean.

    Args:
        out: Folder of the report; ``figures/`` is made in it.
        runs: Finished runs.
        results: What they found, a result for each run.
        suite: What was measured; the first prompt that is not a series of clicks is drawn.
        count: Pictures in each figure.

    Yields:
        The files written.

    Raises:
        UsageError: IoU was not measured, so that there is no worst.
        DataError: The folder cannot be written.
    """
    if METRIC not in suite.settings.metrics:
        raise UsageError("figures are sorted by IoU, which was not measured", hint="--metrics iou ...")
    folder = out / FOLDER
    protocol = next((p for p in suite.protocols if p.kind != "clicks"), None)
    by_label = {result.label: result for result in results}
    own = [run for run in runs if run.choice == "own"]
    if protocol is not None:
        for name in suite.sets:
            scores = _scores([by_label[run.label] for run in own], name, str(protocol))
            if scores:
                yield from _draw_set(folder, own, suite, protocol, name, count, scores)
    yield from _draw_curves(folder, by_label, suite)


def _draw_set(
    folder: Path,
    runs: Sequence[Run],
    suite: Suite,
    protocol: Protocol,
    name: str,
    count: int,
    scores: Mapping[Key, dict[str, float]],
) -> Iterator[Path]:
    last = runs[-1]
    worst = sorted(scores, key=lambda key: scores[key][last.label])[:count]
    typical = sorted(scores, key=lambda key: crc32(f"{suite.measure.seed}:{'/'.join(key)}".encode()))[:count]
    pairs = {pair.stem: pair for pair in suite.pairs if pair.dataset == name}

    def cases(keys: Sequence[Key], shown: Sequence[Run]) -> list[Case]:
        return [_case(key, pairs[key.stem], shown, suite, protocol, scores[key]) for key in keys]

    path = folder / f"worst-{_slug(name)}.jpg"
    write_image(path, worst_cases(cases(worst, [last]), last.label))
    yield path
    drawn = cases(typical, runs)
    path = folder / f"side-by-side-{_slug(name)}.jpg"
    write_image(path, side_by_side(drawn, [run.label for run in runs]))
    yield path
    draw = figure_of(last.model)
    for i, case in enumerate(drawn[:LOOKED_INTO] if draw is not None else (), start=1):
        with last.as_measured():
            kind, figure = draw(last.model, case.image, case.prompt, case.truth)
        path = folder / f"{kind}-{_slug(name)}-{i}.jpg"
        write_image(path, figure)
        yield path


def _scores(results: Sequence[ModelResult], name: str, prompt: str) -> dict[Key, dict[str, float]]:
    """IoU of every model by object, for the objects that all of them have."""
    asked = (name, prompt)
    tables = [
        {row.key: row.scores.values[METRIC] for row in result.rows if (row.key.dataset, row.key.prompt) == asked}
        for result in results
    ]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return {key: {result.label: table[key] for result, table in zip(results, tables, strict=True)} for key in shared}


def _case(
    key: Key, pair: Pair, runs: Sequence[Run], suite: Suite, protocol: Protocol, scores: dict[str, float]
) -> Case:
    """Predicts one object once more, in the frame that the models see, as they were measured; pixels that do not count
    are left out of the masks.
    """
    framed = frame(read_image(pair.image), suite.settings.resize)
    objects, ignored = true_objects(pair, suite.settings)
    truth = framed.truth(objects[key.target].mask)
    counted = True if ignored is None else ~framed.truth(ignored)
    prompt = draw_prompt(truth, protocol, key.name)
    found: dict[str, np.ndarray] = {}
    edges: dict[str, np.ndarray] = {}
    for run in runs:
        asked = prompt if run.model.info.prompts else None
        asker = Asker.of(run.model, suite.settings.second_look)
        with run.as_measured():
            answer = predict(asker, framed.image, run.model.encode([framed.image]), asked)
        found[run.label] = answer.masks[0] & counted
        if answer.edges is not None:
            edges[run.label] = answer.edges[0]
    shown = {run.label: scores[run.label] for run in runs}
    return Case(f"{key.dataset}/{key.stem}", framed.image, truth, prompt, found, edges, shown)


def _draw_curves(folder: Path, results: Mapping[str, ModelResult], suite: Suite) -> Iterator[Path]:
    """IoU over the number of points, for each set and their mean."""
    counts = sorted(p.count for p in suite.protocols if p.kind == "points")
    if len(counts) < 3:
        return
    means = {label: result.means() for label, result in results.items()}
    groups = {name: [name] for name in suite.sets}
    if len(suite.sets) > 1:
        groups["mean"] = suite.sets
    for group, names in groups.items():
        series = {
            label: [
                (float(count), values[METRIC])
                for count in counts
                if (values := group_mean(by_prompt.get(f"points:{count}", {}), names))
            ]
            for label, by_prompt in means.items()
        }
        if all(series.values()):
            path = folder / f"points-{_slug(group)}.png"
            write_image(path, curve(series, x="points", y="IoU", title=group))
            yield path


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
