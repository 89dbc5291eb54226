"""``vns-sam data score``: a table, the lists that other commands can follow, and broken pairs told by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workshop import write_disks

from vns_sam.cli import data_score
from vns_sam.cli.main import Parser
from vns_sam.data.importing import write_objects
from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.errors import DataError, UsageError
from vns_sam.formats.objects import Object


def score(*arguments: str | Path) -> int:
    """Runs the action in this process."""
    parser = Parser(allow_abbrev=False)
    data_score.add_arguments(parser)
    args = parser.parse_args([str(argument) for argument in (*arguments, "--workers", "0")])
    args.quiet, args.json = False, False
    return data_score.run(args)


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks", 4)


def break_three(folder: Path) -> None:
    """Takes one mask away, cuts another short and a picture as well."""
    (folder / "masks" / "000.png").unlink()
    (folder / "masks" / "001.png").write_bytes((folder / "images" / "001.png").read_bytes()[:50])
    (folder / "images" / "002.png").write_bytes((folder / "images" / "002.png").read_bytes()[:200])


def test_split_lists_can_be_followed(disks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores"
    assert score(disks, "--out", out, "--threshold", "0.35") == 0
    printed = capsys.readouterr().out
    assert "share >= 0.35" in printed
    assert "| disks | 4 | 0 | 0." in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "histogram.png",
        "manifest.jsonl",
        "ns.txt",
        "s.txt",
        "scores.csv",
        "summary.json",
    ]
    stems = []
    for name in ("ns", "s"):
        text = (out / f"{name}.txt").read_text()
        (disks / f"{name}.txt").write_text(text)
        stems += [pair.stem for pair in find_pairs(disks, name)] if text else []
    assert sorted(stems) == ["000", "001", "002", "003"]


def test_broken_pairs_are_told_skipped_and_counted(disks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_three(disks)
    assert score(disks) == 0
    printed = capsys.readouterr()
    assert "| disks | 1 | 3 | " in printed.out
    assert [f"failed: disks/00{i}: " in printed.err for i in range(4)] == [True, True, True, False]


def test_strict_ends_at_a_broken_pair(disks: Path) -> None:
    break_three(disks)
    with pytest.raises(DataError, match="expected a mask in"):
        score(disks, "--strict")
    write_disks(disks.with_name("more"), 2)
    (disks.with_name("more") / "masks" / "001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"001\.png"):
        score(disks.with_name("more"), "--strict")


def test_an_empty_mask_is_a_broken_pair(disks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2
    import numpy as np

    for i in range(4):
        cv2.imwrite(str(disks / "masks" / f"00{i}.png"), np.zeros((48, 64), np.uint8))
    with pytest.raises(DataError, match="none of 4 could be done"):
        score(disks)
    assert "an object and its surroundings" in capsys.readouterr().err


def test_several_sets_have_folders_of_their_own(disks: Path, tmp_path: Path) -> None:
    more = write_disks(tmp_path / "more", 2)
    (more / "test.txt").write_text("001\n")
    (disks / "test.txt").write_text("003\n002\n")
    out = tmp_path / "scores"
    assert score(disks, more, "--split", "test", "--out", out) == 0
    lines = (out / "scores.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["disks", "003"], ["disks", "002"], ["more", "001"]]
    assert (out / "more" / "ns.txt").is_file()
    assert not (out / "ns.txt").exists()


def test_objects_are_scored_one_by_one(disks: Path, tmp_path: Path) -> None:
    import numpy as np

    mask = read_mask(disks / "masks" / "001.png")
    other = np.zeros_like(mask)
    other[:6, :6] = True
    write_objects(disks, "001", [Object(mask), Object(mask | other), Object(np.ones_like(mask))])
    out = tmp_path / "scores"
    assert score(disks, "--instances", "--out", out, "--threshold", "0") == 0
    lines = [line.split(",")[:3] for line in (out / "scores.csv").read_text().splitlines()]
    assert lines[0] == ["set", "stem", "object"]
    assert lines[1:] == [["disks", f"00{i}", n] for i, n in ((0, ""), (1, "1"), (1, "2"), (2, ""), (3, ""))]
    assert (out / "ns.txt").read_text() == "000\n001#1\n001#2\n002\n003\n"
    (disks / "ns.txt").write_text((out / "ns.txt").read_text())
    assert [pair.listed for pair in find_pairs(disks, "ns", objects=True)] == [(), ("1", "2"), (), ()]
    alone = tmp_path / "alone"
    write_disks(alone, 4)
    assert score(alone, "--out", tmp_path / "whole") == 0
    whole = [line.split(",")[2:] for line in (tmp_path / "whole" / "scores.csv").read_text().splitlines()]
    one = [line.split(",")[3:] for line in (out / "scores.csv").read_text().splitlines()]
    assert one[2] == whole[2]  # the first object of 001 is the mask that 001 has alone


def test_a_scored_set_is_not_scored_again(
    disks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores"
    break_three(disks)
    assert score(disks, "--out", out) == 0
    table = (out / "scores.csv").read_bytes()
    assert "1 done, 0 done before, 3 failed" in capsys.readouterr().out
    monkeypatch.setattr("vns_sam.data.score_set.vns_score", lambda *_: pytest.fail("scored again"))
    assert score(disks, "--out", out, "--threshold", "0") == 0
    assert "0 done, 1 done before, 3 failed" in capsys.readouterr().out
    assert (out / "scores.csv").read_bytes() == table
    assert json.loads((out / "summary.json").read_text())["threshold"] == 0


@pytest.mark.parametrize("name", ["scores.csv", "summary.json", "histogram.png", "disks/s.txt", "more/histogram.png"])
def test_files_of_others_stay(name: str, disks: Path, tmp_path: Path) -> None:
    command = [disks, write_disks(tmp_path / "more", 2), "--out", tmp_path]
    (tmp_path / name).write_text("mine")
    (tmp_path / "s.txt").write_text("mine")  # with several sets no file of a run
    with pytest.raises(UsageError, match=rf"expected no file of others in the way, found .*{name}"):
        score(*command)
    assert (tmp_path / name).read_text() == "mine"
    assert score(*command, "--force") == 0
    assert score(*command) == 0
    assert (tmp_path / name).read_bytes() != b"mine"
    assert (tmp_path / "s.txt").read_text() == "mine"


def test_what_needs_a_folder_says_so(disks: Path) -> None:
    with pytest.raises(UsageError, match="expected --out beside --dry-run"):
        score(disks, "--dry-run")


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (["--threshold", "70"], UsageError, "between 0 and 1"),
        (["--threshold", "nan"], UsageError, "between 0 and 1"),
        (["--split", "val"], DataError, r"val\.txt"),
    ],
)
def test_mistakes(disks: Path, options: list[str], kind: type[Exception], says: str) -> None:
    parser = Parser(allow_abbrev=False)
    data_score.add_arguments(parser)
    args = parser.parse_args([str(disks), *options])
    args.quiet, args.json = True, False
    with pytest.raises(kind, match=says):
        data_score.run(args)


def test_two_sets_of_one_name(disks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'disks' twice"):
        score(disks, write_disks(tmp_path / "other" / "disks", 1))


def test_sets_behind_links_are_called_as_the_links(disks: Path, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(write_disks(tmp_path / "other" / "disks", 1), target_is_directory=True)
    (disks / "masks" / "000.png").unlink()
    score(disks, tmp_path / "one", "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [each["dataset"] for each in summary["sets"]] == ["disks", "one"]
    assert [each["set"] for each in summary["broken"]] == ["disks"]
