"""Exports as annotators unpack them: crowds that are none, files without names, folders that tell no picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vns_sam.errors import DataError
from vns_sam.formats import coco
from vns_sam.prompts.files import read_prompt_file

POLYGON = {"segmentation": [[1, 1, 9, 1, 9, 7]], "iscrowd": 0}
BRUSH = {"segmentation": {"size": [9, 9], "counts": [9, 9, 63]}, "bbox": [1, 0, 1, 9], "iscrowd": 1}


def write(path: Path, content: Any) -> Path:
    """A file of text, or of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco_file(*annotations: dict[str, Any]) -> dict[str, Any]:
    rows = [{"id": number, "image_id": 1, "category_id": 1, **row} for number, row in enumerate(annotations)]
    images = [{"id": 1, "file_name": "a.jpg", "height": 9, "width": 9}]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "frog"}]}


def test_crowds_of_coco_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = coco.read(json.dumps(coco_file(BRUSH, POLYGON, BRUSH)).encode(), "c.json")
    assert (len(mixed.pictures[0].shapes), mixed.problems) == (1, [])
    assert caplog.text.count("c.json: 2 annotation(s) with 'iscrowd' are left out") == 1
    with pytest.raises(DataError, match=r"without objects; .*: 1 annotation\(s\) with 'iscrowd' are left out"):
        read_prompt_file(write(tmp_path / "c.json", coco_file(BRUSH)))
