"""What several files of one folder hold together, and which files count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vns_sam.formats.annotation import Contents, Described, Shape
from vns_sam.formats.recognise import read_annotations


def contents(categories: dict[int, str], *shapes: tuple[str, int | None]) -> Contents:
    drawn = tuple(Shape(label, category) for label, category in shapes)
    return Contents("COCO file", [Described("a.jpg", (4, 4), drawn)], dict(categories))


def label_studio(name: str, label: str) -> str:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}
    region = {"original_width": 80, "original_height": 60, "value": value}
    return json.dumps([{"data": {"image": name}, "annotations": [{"result": [region]}]}])


def coco(name: str, number: int, label: str) -> str:
    raw: dict[str, Any] = {
        "images": [{"id": 1, "file_name": name, "height": 60, "width": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": number, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": number, "name": label}],
    }
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("first", "second", "joined", "numbers"),
    [
        ({1: "cat"}, {1: "dog"}, {1: "cat", 2: "dog"}, {1: 2}),
        ({1: "cat"}, {2: "cat"}, {1: "cat"}, {2: 1}),
        ({1: "cat"}, {3: "dog"}, {1: "cat", 3: "dog"}, {3: 3}),
        ({1: "cat"}, {1: "dog", 2: "fox"}, {1: "cat", 2: "fox", 3: "dog"}, {1: 3, 2: 2}),
        ({1: "cat", 2: "cat"}, {2: "cat", 1: "dog"}, {1: "cat", 2: "cat", 3: "dog"}, {2: 2, 1: 3}),
        ({1: "cat"}, {1: "dog", 5: "dog"}, {1: "cat", 5: "dog"}, {1: 5, 5: 5}),
        ({}, {0: "cat"}, {0: "cat"}, {0: 0}),
    ],
)
def test_classes_of_two_files_are_joined_by_name(
    first: dict[int, str], second: dict[int, str], joined: dict[int, str], numbers: dict[int, int]
) -> None:
    found = contents(first, *((name, number) for number, name in first.items()))
    found.add(contents(second, *((name, number) for number, name in second.items()), ("", 99)))
    assert found.categories == joined
    mine, other = (picture.shapes for picture in found.pictures)
    assert [shape.category for shape in mine] == list(first)
    assert [shape.category for shape in other] == [*(numbers[number] for number in second), None]
    assert all(joined[shape.category] == shape.label for shape in (*mine, *other) if shape.category is not None)


@pytest.mark.parametrize("write", [label_studio, lambda name, label: coco(name, 1, label)])
def test_files_that_number_by_themselves_give_each_class_a_number(tmp_path: Path, write: Any) -> None:
    for letter, label in zip("abcd", ("cat", "dog", "fox", "cat"), strict=True):
        (tmp_path / f"{letter}.json").write_text(write(f"{letter}.jpg", label))
    found = read_annotations(tmp_path)
    assert found.categories == {1: "cat", 2: "dog", 3: "fox"}
    assert [picture.shapes[0].label for picture in found.pictures] == ["cat", "dog", "fox", "cat"]
