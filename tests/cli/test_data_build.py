"""``vns-sam data list`` and ``vns-sam data build``: what they print, and their exit codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from raw_trees import CAMO, write_pairs

from vns_sam.cli import data_build, data_list
from vns_sam.errors import DataError, UsageError


def call(module: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    args = parser.parse_args([str(argument) for argument in arguments] + ["--workers", "0"] * (module is data_build))
    args.quiet, args.json = True, False
    return module.run(args)  # type: ignore[attr-defined]


def test_list_has_a_line_for_each_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(data_list) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "domain", "pictures", "role", "licence", "home"]
    assert any(line.startswith("nc4k ") and "test 4121" in line for line in lines)


def test_list_tells_all_of_one_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(data_list, "Kvasir-SEG") == 0
    printed = capsys.readouterr().out
    for text in ("train 900, test 100", "TestDataset/Kvasir/{images,masks}", "https://datasets.simula.no/kvasir-seg/"):
        assert text in printed


def test_list_of_an_unknown_set_gives_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        call(data_list, "cod10")
    assert caught.value.hint == "did you mean cod10k?"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "raw/TrainDataset/Imgs", tmp_path / "raw/TrainDataset/GT", CAMO)
    (tmp_path / "raw/TrainDataset/GT" / f"{CAMO[2]}.png").unlink()
    return tmp_path / "raw"


def test_a_partial_build_says_so(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(data_build, "vns-seg", "--raw", raw, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr()
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in printed.out.splitlines()}
    assert rows["camo", "train"] == ["2", "1000", "TrainDataset/Imgs"]
    assert rows["nc4k", "test"] == ["0", "4121", "missing"]
    assert printed.out.endswith(f"{tmp_path / 'out'}: partial, 2 of 35407 pairs\n")
    assert f"camo train: skipped: {CAMO[2]}: no mask" in printed.err
    assert "nc4k: missing 4121 of test. Download NC4K" in printed.err
    assert "vns-sam data darken" in printed.err
    assert json.loads((tmp_path / "out/manifest.json").read_text())["complete"] is False


def test_strict_refuses_a_partial_build(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 2 of 35407 pairs, 1 broken") as caught:
        call(data_build, "vns-seg", "--raw", raw, "--out", tmp_path / "out", "--strict")
    assert caught.value.exit_code == 3
    assert (tmp_path / "out/manifest.json").is_file()


def test_nothing_recognised_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match="recognised none") as caught:
        call(data_build, "vns-seg", "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    assert caught.value.exit_code == 3


def test_an_output_over_the_raw_folder_is_refused(raw: Path) -> None:
    with pytest.raises(UsageError, match="beside the raw folder"):
        call(data_build, "vns-seg", "--raw", raw, "--out", raw)
