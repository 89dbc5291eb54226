from __future__ import annotations

from pathlib import Path

import pytest

from vns_sam.errors import DataError
from vns_sam.prompts.files import match_pictures, read_prompt_file


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_csv_gathers_the_boxes_of_a_picture(tmp_path: Path) -> None:
    for heading in ("name,x0,y0,x1,y1\n", ""):
        table = read_prompt_file(write(tmp_path, "p.csv", heading + "a.jpg,1,2,3,4\n\nb.jpg,1,2,3,4\na.jpg, 5,6,7,8\n"))
        assert table == {"a.jpg": {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}, "b.jpg": {"boxes": [[1, 2, 3, 4]]}}


def test_json(tmp_path: Path) -> None:
    assert read_prompt_file(write(tmp_path, "p.json", '{"a": {"points": [[[1, 2]]]}}')) == {"a": {"points": [[[1, 2]]]}}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.csv", "a.jpg,1,2,3\n", "line 1"),
        ("p.csv", "name,x0\na.jpg,1,2,three,4", "line 2"),
        ("p.csv", "", "no prompts"),
        ("p.json", "a.jpg,1,2,3,4", "not JSON"),
        ("p.json", "[1]", "must map"),
        ("p.json", '{"a": {"bbox": []}}', "'a' must hold .* found bbox"),
        ("p.json", '{"a": [1, 2]}', "'a' must hold"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_prompt_file(write(tmp_path, name, text))
    with pytest.raises(DataError, match="no prompts file"):
        read_prompt_file(tmp_path / "absent.csv")


def test_names_without_suffix_find_their_picture(tmp_path: Path) -> None:
    table = read_prompt_file(write(tmp_path, "boxes.csv", "name,x0,y0,x1,y1\na,1,2,3,4\nb.png,1,2,3,4\nc,5,6,7,8\n"))
    matched = match_pictures(table, ["a.jpg", "b.png", "b.jpg"])
    assert [*matched] == ["a.jpg", "b.png", "c"]
    assert matched["a.jpg"] == table["a"]
    with pytest.raises(DataError, match=r"prompts for 'a' fit several files: a.jpg, a.png"):
        match_pictures(table, ["a.png", "a.jpg"])
