"""Scores as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from vns_sam.evaluation.protocol import Row

Results = Mapping[str, Sequence[Row]]
"""Model name to its rows."""


def by_dataset(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows grouped by set, in the order in which sets first occur."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.dataset, []).append(row)
    return groups


def to_markdown(results: Results) -> str:
    """A table with a line for each set and, for each model, mean IoU / mean boundary IoU."""
    grouped = {model: by_dataset(rows) for model, rows in results.items()}
    sets = list(dict.fromkeys(name for groups in grouped.values() for name in groups))
    lines = ["| set | pictures | " + " | ".join(grouped) + " |", "|---|--:|" + "--:|" * len(grouped)]
    for name in sets:
        count = len(next(iter(grouped.values()))[name])
        cells = [_cell(groups[name]) for groups in grouped.values()]
        lines.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_json(results: Results, prompt: str, seed: int) -> dict[str, Any]:
    """Everything that was measured: means by set, and a row for each picture."""
    return {
        "prompt": prompt,
        "seed": seed,
        "models": {
            model: {
                "means": {
                    name: {"iou": fmean(r.iou for r in group), "biou": fmean(r.biou for r in group)}
                    for name, group in by_dataset(rows).items()
                },
                "rows": [asdict(row) for row in rows],
            }
            for model, rows in results.items()
        },
    }


def _cell(rows: Sequence[Row]) -> str:
    return f"{fmean(r.iou for r in rows):.3f} / {fmean(r.biou for r in rows):.3f}"
