"""Thirty pictures where torch cannot be imported: every format, killed in the middle and gone on with, beside torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vns_sam.cli.demo import ASSETS
from vns_sam.inference.load import load_model
from vns_sam.inference.predictor import Predictor

COUNT = 30
ENOUGH = 6
"""Masks that are there when the run is killed."""
ALL = ["png", "coco", "yolo", "labelme", "labelstudio", "geojson", "svg", "cutout", "indexed", "npz", "cvat", "voc"]


@pytest.fixture
def boxes(tmp_path: Path) -> dict[str, list[int]]:
    """Pictures of the demo's moth, each turned and scaled in a way of its own, and boxes around it."""
    image = np.asarray(Image.open(ASSETS / "demo.jpg"))
    truth = np.asarray(Image.open(ASSETS / "demo_truth.png")) > 0
    (tmp_path / "photos").mkdir()
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")  # in the folder that is run from
    found = {}
    for k in range(COUNT):
        name, size = f"{k:02}.png", (420 + 9 * k, 300 + 5 * k)
        turned, mask = (np.rot90(v[:, :: 1 if k % 2 else -1], k // 2) for v in (image, truth.astype(np.uint8)))
        Image.fromarray(cv2.resize(turned, size)).save(tmp_path / "photos" / name)
        x, y, w, h = cv2.boundingRect(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))
        found[name] = [x, y, x + w, y + h]
    lines = ["name,x0,y0,x1,y1", *(f"{name},{','.join(map(str, box))}" for name, box in found.items())]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    return found


def command(out: str) -> list[str]:
    given = ["photos", "--prompts", "boxes.csv", "--out", out, "--second-look", "off", "--quiet"]
    return [sys.executable, "-m", "vns_sam", "segment", *given, "--format", *ALL]


def content(out: Path) -> dict[str, bytes]:
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("manifest.jsonl", ".lock")}


@pytest.mark.slow
def test_a_killed_run_without_torch_goes_on_to_the_bytes_of_one_that_was_not(
    tmp_path: Path, boxes: dict[str, list[int]]
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command("killed"), cwd=tmp_path, env=environment) as process:
        while len(list((tmp_path / "killed").glob("*_mask.png"))) < ENOUGH and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
    for out in ("killed", "whole"):
        subprocess.run(command(out), cwd=tmp_path, env=environment, check=True)
    killed, whole = content(tmp_path / "killed"), content(tmp_path / "whole")
    assert killed.keys() == whole.keys()
    assert [name for name in whole if killed[name] != whole[name]] == []
    predictor = Predictor(load_model("vns-sam-tiny", backend="torch"), second_look="off")
    for name, box in boxes.items():
        predictor.set_image(tmp_path / "photos" / name)
        by_torch = predictor.predict(boxes=[box]).masks[0]
        mask = np.asarray(Image.open(tmp_path / "whole" / f"{Path(name).stem}_mask.png")) > 0
        assert (mask & by_torch).sum() >= 0.999 * (mask | by_torch).sum()
