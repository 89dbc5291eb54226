"""``vns-sam data enrich``: what it prints, and one line and a code for each mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.cli import data_enrich
from vns_sam.errors import DataError
from vns_sam.images.write import write_image, write_mask


@pytest.fixture
def source(tmp_path: Path) -> Path:
    mask = np.zeros((20, 50), bool)
    mask[5:9, [3, 30]] = True
    for stem, shown in (("a", mask), ("b", mask & (np.arange(50) < 9)), ("c", mask & False)):
        write_mask(tmp_path / "frogs" / "masks" / f"{stem}.png", shown)
        write_image(tmp_path / "frogs" / "images" / f"{stem}.jpg", np.zeros((20, 50, 3), np.uint8))
    Image.new("L", (9, 9)).save(tmp_path / "frogs" / "masks" / "d.png")
    write_image(tmp_path / "frogs" / "images" / "d.jpg", np.zeros((20, 50, 3), np.uint8))
    return tmp_path / "frogs"


def enrich(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet", action="store_true")
    data_enrich.add_arguments(parser)
    args = parser.parse_args([*arguments, "--quiet"])
    args.json = False
    return data_enrich.run(args)


def test_samples_are_counted_and_problems_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert enrich(str(source), "--out", str(out), "--workers", "0") == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 4 samples, 1 pictures dropped; 3 done, 0 done before, 1 failed\n"
    assert "dropped, no part of 0.4 %: c\n" in printed.err
    assert "masks/d.png: mask is 9 x 9, its picture 50 x 20" in printed.err
    assert enrich(str(source), "--out", str(out), "--workers", "0") == 0
    assert capsys.readouterr().out.endswith("0 done, 3 done before, 1 failed\n")


def test_nothing_to_enrich(source: Path, tmp_path: Path) -> None:
    for stem in "ab":
        write_mask(source / "masks" / f"{stem}.png", np.zeros((20, 50), bool))
    with pytest.raises(DataError, match="found none"):
        enrich(str(source), "--out", str(tmp_path / "out"), "--workers", "0")
