"""The second stage on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workshop import narrow_sam

from vns_sam.cli.main import main
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.model import DisSamModel

BOX = ["--box", "10", "20", "60", "70"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, a SAM and a DIS-SAM on it."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (96, 80), (90, 120, 60)).save("bike.png")
    narrow_sam().save_pretrained("sam")
    DisSamModel(DisSamConfig("sam", width=0.1, image_size=64), narrow_sam()).save_pretrained("dis")
    return tmp_path


@pytest.mark.parametrize("model", [["--model", "dis"], ["--model", "sam", "--refine", "dis"]])
def test_mask_and_alpha(model: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "bike.png", *BOX, *model, "--alpha", "--second-look"]) == 0
    assert "bike_mask.png\nbike_alpha.png\nbike_overlay.png\n" in capsys.readouterr().out
    with Image.open("bike_mask.png") as mask, Image.open("bike_alpha.png") as alpha:
        assert alpha.mode == "L"
        assert (np.asarray(mask)[np.asarray(alpha) > 127] == 255).all()
        assert (np.asarray(mask)[np.asarray(alpha) < 127] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--model", "dis", "--refine", "dis"], 2, "refines its masks itself"),
        (["--model", "sam", "--refine", "nothing"], 2, "unknown model 'nothing'"),
        (["--model", "sam", "--refine", "sam"], 4, "expected 'dis-sam'"),
        (["--model", "sam", "--alpha"], 2, "masks without alpha"),
    ],
)
def test_what_cannot_be(arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "bike.png", *BOX, *arguments]) == code
    assert says in capsys.readouterr().err


def test_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("bike.png").rename("in/bike.png")
    assert main(["segment", "in", *BOX, "--model", "sam", "--refine", "dis", "--out", "out"]) == 0
    assert "1 done" in capsys.readouterr().out
    assert Path("out/bike_mask.png").exists()
