from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import vns_sam
from vns_sam.data.synthesis.demo_scene import paint_scene
from vns_sam.images.read import read_image

ASSETS = Path(vns_sam.__path__[0]) / "assets"


def test_the_bundled_scene_is_the_painted_one() -> None:
    image, mask, box = paint_scene()
    assert json.loads((ASSETS / "demo.json").read_text()) == {"boxes": [box]}
    assert np.abs(read_image(ASSETS / "demo.jpg").astype(float) - image).mean() < 12
    assert ((read_image(ASSETS / "demo_truth.png")[..., 0] > 0) == mask).mean() > 0.999


def test_the_moth_wears_the_colours_of_its_ground() -> None:
    image, mask, _ = paint_scene()
    difference = image[mask].mean(axis=0) - image[~mask].mean(axis=0)
    assert np.abs(difference).max() < 20
    assert 0.08 < mask.mean() < 0.4
