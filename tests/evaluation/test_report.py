"""Scores as tables and as JSON."""

from __future__ import annotations

import json

import pytest

from vns_sam.evaluation.protocol import Row
from vns_sam.evaluation.report import group, prompts_of, to_json, to_markdown


def rows(*scores: tuple[str, str, str, float, float]) -> list[Row]:
    return [Row(*score, seconds=0.1) for score in scores]


BEFORE = rows(
    ("camo", "a", "box", 0.5, 0.25),
    ("camo", "a", "points:1", 0.1, 0.0),
    ("polyps", "b", "box", 1.0, 0.5),
    ("polyps", "b", "points:1", 0.3, 0.2),
    ("camo", "c", "box", 0.7, 0.35),
    ("camo", "c", "points:1", 0.2, 0.1),
)
AFTER = rows(
    ("camo", "a", "box", 0.9, 0.8),
    ("camo", "a", "points:1", 0.4, 0.4),
    ("polyps", "b", "box", 0.0, 0.0),
    ("polyps", "b", "points:1", 0.5, 0.5),
    ("camo", "c", "box", 0.8, 0.7),
    ("camo", "c", "points:1", 0.6, 0.6),
)
RESULTS = {"before": BEFORE, "after": AFTER}


def test_rows_are_grouped_by_set_in_order() -> None:
    groups = group(BEFORE, "box")
    assert list(groups) == ["camo", "polyps"]
    assert [(row.stem, row.prompt) for row in groups["camo"]] == [("a", "box"), ("c", "box")]
    assert prompts_of(RESULTS) == ["box", "points:1"]


def test_each_prompt_has_a_table_with_a_line_for_each_set() -> None:
    assert to_markdown(RESULTS) == (
        "| box | pictures | before | after |\n"
        "|---|--:|--:|--:|\n"
        "| camo | 2 | 0.600 / 0.300 | 0.850 / 0.750 |\n"
        "| polyps | 1 | 1.000 / 0.500 | 0.000 / 0.000 |\n"
        "\n"
        "| points:1 | pictures | before | after |\n"
        "|---|--:|--:|--:|\n"
        "| camo | 2 | 0.150 / 0.050 | 0.500 / 0.500 |\n"
        "| polyps | 1 | 0.300 / 0.200 | 0.500 / 0.500 |\n"
    )


def test_json_holds_means_and_every_row() -> None:
    report = json.loads(json.dumps(to_json(RESULTS, 7)))
    assert report["seed"] == 7
    assert list(report["models"]) == ["before", "after"]
    after = report["models"]["after"]
    assert after["means"]["box"]["camo"] == {"iou": pytest.approx(0.85), "biou": pytest.approx(0.75)}
    assert after["means"]["points:1"]["polyps"] == {"iou": 0.5, "biou": 0.5}
    expected = {"dataset": "polyps", "stem": "b", "prompt": "box", "iou": 0.0, "biou": 0.0, "seconds": 0.1}
    assert after["rows"][2] == expected
    assert len(after["rows"]) == 6
