"""What a predictor found can be saved, drawn and shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel
from PIL import Image

from vns_sam.inference.predictor import Predictor
from vns_sam.prompts.validate import make_prompts


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    Image.new("RGB", (128, 96), (90, 120, 60)).save(tmp_path / "frog.png")
    found = Predictor(FakeModel())
    found.set_image(tmp_path / "frog.png")
    return found


def test_saved_drawn_and_shown(predictor: Predictor, tmp_path: Path) -> None:
    result = predictor.predict(boxes=[[16, 32, 64, 80]])
    result.save(tmp_path / "frog.json")
    assert json.loads((tmp_path / "frog.json").read_text()) == json.loads(json.dumps(result.to_coco()))
    assert result.to_coco()["images"][0]["file_name"] == "frog.png"
    assert result.polygons()[0][0][0].tolist() == [[64, 32], [64, 80], [16, 80], [16, 32]]
    result.save(tmp_path / "cut.png", "cutout")
    with Image.open(tmp_path / "cut.png") as cut:
        assert cut.getpixel((20, 40)) == (90, 120, 60, 255)
    shown = result._repr_png_()
    assert shown is not None
    with Image.open(io.BytesIO(shown)) as overlay:
        assert overlay.size == (128, 96)


def test_classes_travel(predictor: Predictor) -> None:
    prompts = make_prompts(96, 128, boxes=[[16, 32, 64, 80]], classes=["frog"])
    result = predictor.predict_prompts(prompts)
    assert result.classes == ("frog",)
    assert result.to_coco({4: "frog"})["annotations"][0]["category_id"] == 4
    predictor.set_image(np.zeros((96, 128, 3), np.uint8))
    assert predictor.predict(boxes=[[16, 32, 64, 80]]).name == ""
