"""Scores as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from vns_sam.evaluation.protocol import Row

Results = Mapping[str, Sequence[Row]]
"""Model name to its rows."""


def group(rows: Sequence[Row], prompt: str) -> dict[str, list[Row]]:
    """Rows of one prompt by set, in the order in which sets first occur."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.prompt == prompt:
            groups.setdefault(row.dataset, []).append(row)
    return groups


def prompts_of(results: Results) -> list[str]:
    """The prompts that were measured, in order."""
    return list(dict.fromkeys(row.prompt for rows in results.values() for row in rows))


def to_markdown(results: Results) -> str:
    """A table for each prompt, with a line for each set and, for each model, mean IoU / mean boundary IoU."""
    tables = []
    for prompt in prompts_of(results):
        grouped = {model: group(rows, prompt) for model, rows in results.items()}
        lines = [f"| {prompt} | pictures | " + " | ".join(grouped) + " |", "|---|--:|" + "--:|" * len(grouped)]
        for name, rows in next(iter(grouped.values())).items():
            cells = [_cell(groups[name]) for groups in grouped.values()]
            lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def to_json(results: Results, seed: int) -> dict[str, Any]:
    """Everything that was measured: means by prompt and set, and a row for each picture."""
    return {
        "seed": seed,
        "models": {
            model: {
                "means": {prompt: _means(group(rows, prompt)) for prompt in prompts_of(results)},
                "rows": [asdict(row) for row in rows],
            }
            for model, rows in results.items()
        },
    }


def _means(groups: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, float]]:
    return {
        name: {"iou": fmean(r.iou for r in rows), "biou": fmean(r.biou for r in rows)} for name, rows in groups.items()
    }


def _cell(rows: Sequence[Row]) -> str:
    return f"{fmean(r.iou for r in rows):.3f} / {fmean(r.biou for r in rows):.3f}"
