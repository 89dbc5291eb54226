"""How far a model's own score can be trusted: its correlation with the IoU that it predicts, and how far it is off.

vns-sam evaluate vns-sam-tiny sam-tiny --metrics iou ap --prompt box points:1 --out report --data data/busi data/camo
python benchmarks/judging.py report [--save results/judging.json]

Read are the rows of ``vns-sam evaluate`` with ``--metrics iou ap``, which hold the score of each mask beside its IoU:
of each object and prompt the one that the report of that run holds.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measured import save_rows

from vns_sam.evaluation.ablate import ALL_SETS
from vns_sam.evaluation.results import ResultRow, Score
from vns_sam.evaluation.rows import Key, Row
from vns_sam.runs.lines import read_lines

TITLE = "The score of a mask beside its IoU: correlation over objects, mean absolute error, and score less IoU"


def main() -> None:
    """Prints, and writes where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="folder that vns-sam evaluate wrote")
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    rows = list(measure(args.report))
    for row in rows:
        scores = "  ".join(f"{name} {score.mean:.3f}" for name, score in row.scores.items())
        print(f"{row.model:<24}{row.set:<20}{row.prompt:<12}{scores}  {row.count} objects")
    if args.save:
        save_rows(args.save, rows, TITLE)


def measure(report: Path) -> Iterator[ResultRow]:
    """A row for each model, prompt and set, and for all sets together."""
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for model, row in _reported(report):
        if row.detection is not None:
            pair = (row.detection.score, row.scores.values["iou"])
            for place in (row.key.dataset, ALL_SETS):
                pairs[model, place, row.key.prompt].append(pair)
    for (model, place, prompt), found in pairs.items():
        score, iou = np.array(found).T
        related = {}
        if score.std() and iou.std():  # of one object, or of equal ones, there is no correlation
            related["score_r"] = Score(round(float(np.corrcoef(score, iou)[0, 1]), 3))
        scores = related | {
            "score_error": Score(round(float(np.abs(score - iou).mean()), 3)),
            "score_bias": Score(round(float((score - iou).mean()), 3)),
        }
        yield ResultRow(model, place, prompt, scores, len(found))


def _reported(report: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a report with their models. Of an object that was measured several times, since its files changed, it
    is the last row with the scores that the report holds; rows that the report has not are left out.
    """
    kept: dict[tuple[str, Key], list[dict[str, Any]]] = defaultdict(list)
    for file in sorted((report / "rows").glob("*.jsonl")):
        model = ""
        for line in read_lines(file):
            if "label" in line:
                model = line["label"]
            elif "scores" in line:
                kept[model, _key(line)].append(line)
    told = json.loads((report / "report.json").read_text(encoding="utf-8"))["models"]
    for model, result in told.items():
        for shown in result["rows"]:
            same = [line for line in kept[model, _key(shown)] if line["scores"]["values"].items() <= shown.items()]
            if same:
                yield model, Row.from_json(same[-1])


def _key(line: dict[str, Any]) -> Key:
    return Key(*(line[name] for name in Key._fields))


if __name__ == "__main__":
    main()
