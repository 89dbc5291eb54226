"""Which picture a name in a file means."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from vns_sam.images.names import NameIndex

NAMES = ["a.jpg", "cam1/a.jpg", "cam1/b.jpg", "cam2/c.jpg", "d.v2.png", unicodedata.normalize("NFD", "gr\u00fcn.jpg")]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("./cam1/a.jpg", "cam1/a.jpg"),
        ("cam1\\a.jpg", "cam1/a.jpg"),
        ("cam2/a.jpg", None),  # not another a.jpg
        ("cam1/c.jpg", None),
        ("b.jpg", "cam1/b.jpg"),  # one alone has this name
        ("photos/cam1/b.jpg", "cam1/b.jpg"),
        ("photos/a.jpg", "a.jpg"),
        ("other/b.jpg", None),
        ("../other/c.jpg", None),
        ("/elsewhere/photos/cam1/b.jpg", "cam1/b.jpg"),
        ("C:\\data\\cam2\\c.jpg", "cam2/c.jpg"),
        ("/elsewhere/cam3/c.jpg", None),  # it lies in cam2 here
        ("gr\u00fcn.jpg", NAMES[-1]),
        ("d.v2", "d.v2.png"),
        ("cam1/b", "cam1/b.jpg"),
        ("c", "cam2/c.jpg"),
        ("c.png", None),
        ("", None),
        (".", None),
    ],
)
def test_one_rule(tmp_path: Path, key: str, found: str | None) -> None:
    assert NameIndex(tmp_path / "photos", NAMES).match(key) == found


def test_absolute_paths_into_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    index = NameIndex(tmp_path / "link", NAMES)
    assert index.match(str(folder / "cam1/a.jpg")) == "cam1/a.jpg"
    assert index.match(str(tmp_path / "link/cam1/a.jpg")) == "cam1/a.jpg"
    assert index.match(str(folder / "cam2/a.jpg")) is None


def test_a_base_name_must_be_alone_on_both_sides(tmp_path: Path) -> None:
    index = NameIndex(tmp_path, ["x/a.jpg", "b.jpg"])
    assert index.match_all(["a.jpg"]) == ({"a.jpg": "x/a.jpg"}, [])
    assert index.match_all(["a.jpg", "y/a.jpg"]) == ({}, ["a.jpg", "y/a.jpg"])
    assert NameIndex(tmp_path, ["x/a.jpg", "y/a.jpg"]).match("a.jpg") is None


def test_an_answer_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    keys, names = ["/elsewhere/a", "a", "/elsewhere/b.jpg", "b", "a"], ["x/a.jpg", "x/b.png"]
    index = NameIndex(tmp_path, names)
    assert [index.match(key) for key in keys] == [NameIndex(tmp_path, names).match(key) for key in keys]
    assert index.match("a") == "x/a.jpg"
    assert index.match_all(["/elsewhere/c", "a"]) == ({"a": "x/a.jpg"}, ["/elsewhere/c"])
