"""Scores as Markdown in the paper's layout, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from vns_sam.errors import UsageError
from vns_sam.evaluation.report import ModelResult, Report, group_mean
from vns_sam.evaluation.rows import Key, Row, Unscored
from vns_sam.metrics.scoring import ImageScores


def rows(*scores: tuple[str, str, str, float, float]) -> list[Row]:
    return [
        Row(Key(dataset, stem, "", prompt), ImageScores({"iou": iou, "biou": biou}))
        for dataset, stem, prompt, iou, biou in scores
    ]


BEFORE = ModelResult(
    "before",
    "w1",
    rows(
        ("camo", "a", "box", 0.5, 0.25),
        ("camo", "a", "points:1", 0.1, 0.0),
        ("polyps", "b", "box", 1.0, 0.5),
        ("polyps", "b", "points:1", 0.3, 0.2),
        ("camo", "c", "box", 0.7, 0.35),
        ("camo", "c", "points:1", 0.2, 0.1),
    ),
)
AFTER = ModelResult(
    "after", "w2", rows(("camo", "a", "box", 0.9, 0.8), ("polyps", "b", "box", 0.0, 0.0)), second_look=True
)


def report(**groups: list[str]) -> Report:
    return Report({"seed": 7}, [BEFORE, AFTER], groups)


def test_each_prompt_has_a_table_with_a_line_for_each_model() -> None:
    assert report().to_markdown() == (
        "**box**: iou / biou\n"
        "\n"
        "| model | camo (2) | polyps (1) | mean |\n"
        "|---|--:|--:|--:|\n"
        "| before | 0.600 / 0.300 | 1.000 / 0.500 | 0.800 / 0.400 |\n"
        "| after | 0.900 / 0.800 (1 of 2) | 0.000 / 0.000 | 0.450 / 0.400 |\n"
        "\n"
        "**points:1**: iou / biou\n"
        "\n"
        "| model | camo (2) | polyps (1) | mean |\n"
        "|---|--:|--:|--:|\n"
        "| before | 0.150 / 0.050 | 0.300 / 0.200 | 0.225 / 0.125 |\n"
        "| after | - | - | - |\n"
        "\n"
        "Second look: after\n"
    )


def test_groups_replace_the_mean() -> None:
    lines = report(seen=["camo"], all=["camo", "polyps"]).to_markdown().splitlines()
    assert lines[2] == "| model | camo (2) | polyps (1) | seen | all |"
    assert lines[4].endswith("| 0.600 / 0.300 | 0.800 / 0.400 |")


def test_the_mean_of_a_group_needs_all_its_sets() -> None:
    row = {"a": {"iou": 0.2, "count": 1.0}, "b": {"iou": 0.6, "count": 9.0}}
    assert group_mean(row, ["a", "b"]) == {"iou": pytest.approx(0.4), "count": 5}
    assert group_mean(row, ["a", "c"]) is None
    assert group_mean(row, []) is None


def test_clicks_have_a_table_of_counts() -> None:
    scores = ImageScores({"iou": 0.9, "biou": 0.5, "noc85": 3, "noc90": 7})
    result = ModelResult("m", "w", [Row(Key("camo", "a", "", "clicks:20"), scores)])
    table = Report({}, [result]).to_markdown()
    assert "**clicks:20**: noc85 / noc90" in table
    assert "| m | 3.00 / 7.00 |" in table
    assert "| m | 0.900 / 0.500 |" in table


def test_csv_has_a_line_for_each_mean() -> None:
    lines = list(csv.DictReader(io.StringIO(report().to_csv())))
    assert [(line["model"], line["prompt"], line["set"]) for line in lines] == [
        ("before", "box", "camo"),
        ("before", "box", "polyps"),
        ("before", "points:1", "camo"),
        ("before", "points:1", "polyps"),
        ("after", "box", "camo"),
        ("after", "box", "polyps"),
    ]
    assert (float(lines[0]["iou"]), float(lines[0]["count"])) == (0.6, 2)


def test_json_holds_means_and_every_row() -> None:
    read = json.loads(json.dumps(report().to_json()))
    assert read["settings"] == {"seed": 7}
    assert list(read["models"]) == ["before", "after"]
    before = read["models"]["before"]
    assert before["weights"] == "w1"
    assert before["means"]["box"]["camo"] == {"iou": pytest.approx(0.6), "biou": pytest.approx(0.3), "count": 2}
    expected = {"dataset": "polyps", "stem": "b", "target": "", "prompt": "box", "iou": 1.0, "biou": 0.5}
    assert before["rows"][2] == expected
    assert len(before["rows"]) == 6


def test_a_model_given_twice_is_no_second_seed() -> None:
    with pytest.raises(UsageError, match="expected each model once, found 'before' twice"):
        Report({}, [BEFORE, BEFORE])
    named_alike = replace(AFTER, line="before")
    with pytest.raises(UsageError, match="two lines of the table are called 'before'"):
        Report({}, [BEFORE, named_alike]).to_markdown()
    assert "± " in Report({}, [replace(BEFORE, line="before"), named_alike]).to_markdown()


def test_what_has_no_score_is_told() -> None:
    unscored = [
        Unscored(Key("camo", "a", "2", prompt), "camo/a/2: the true mask is empty") for prompt in ("box", "points:1")
    ]
    unscored.append(Unscored(Key("polyps", "b", "1", "points:1"), "out of memory"))
    result = replace(BEFORE, skipped={"camo/x": "cannot read it"}, unscored=unscored)
    text = Report({}, [result, AFTER]).to_markdown()
    assert (
        "Not scored, before:\n\n- camo/x: cannot read it\n- camo/a/2: the true mask is empty\n"
        "- polyps/b/1 (points:1): out of memory\n"
    ) in text
    kept = Report({}, [result]).to_json()["models"]["before"]["unscored"]
    assert kept[2] == {
        "dataset": "polyps",
        "stem": "b",
        "target": "1",
        "prompt": "points:1",
        "reason": "out of memory",
    }
    many = replace(BEFORE, skipped={f"camo/{i}": "broken" for i in range(13)})
    assert "- and 3 more, see report.json\n" in Report({}, [many]).to_markdown()


def test_a_line_of_fewer_objects_says_so() -> None:
    table = Report({}, [BEFORE, AFTER], {"all": ["camo", "polyps"]}, columns=("iou",)).to_markdown()
    assert "| camo (2) | before | 0.600 |" in table
    assert "| camo (1 of 2) | after | 0.900 |" in table
    assert "| all (2 of 3) | after | 0.450 |" in table
