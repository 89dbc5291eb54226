"""Every command line of the README, run from the wheel, outside the repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from frogs import write_set
from PIL import Image

from vns_sam.images.write import write_text

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
SHORTER = {
    "serve photos/": "--help",  # it would not end
    "data build": "--help",  # needs downloads
    "study": "--help",  # hours
    "make": "--help",  # hours
    "models convert": "--help",  # needs the authors' file
    "models push": "--help",  # needs a hub
    "train recipes/": "--data.root . --data.sets '{leaves: 1}' --data.plain '[]' --data.sizes '[64]' --steps 1"
    " --batch_size 1 --workers 0 --validation.every 1 --out run",
    "train leaves/": "--minutes 1 --steps 2 --data.sizes '[64]'",
    "evaluate": "--limit 2 --second-look off",
}
"""What is added to lines that take long or do not end."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the wheel installs it, without what it needs, which is here."""
    if not README.exists():
        pytest.skip("the README is not in this copy")
    made, place = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(made), str(REPOSITORY)], check=True)
    (file,) = made.glob("*.whl")
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(place), str(file)], check=True)
    return place


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the README speaks of."""
    folder = tmp_path_factory.mktemp("world")
    frogs = write_set(folder / "frogs", 4)
    write_set(folder / "leaves", 14, seed=50)
    write_set(folder / "data" / "camo", 3, seed=90)
    (folder / "photos").mkdir()
    for k in range(3):
        shutil.copy(frogs / "images" / f"{k}.png", folder / "photos")
    moth = Image.open(REPOSITORY / "src" / "vns_sam" / "assets" / "demo.jpg").resize((280, 210))
    for name in ("frog.jpg", "cells.png", "wheel.jpg"):
        moth.save(folder / name)
    rows = [f"{k}.png,30,20,90,70,frog" for k in range(3)]
    write_text(folder / "boxes.csv", "image,x0,y0,x1,y1,class\n" + "\n".join(rows))
    images = [{"id": k, "file_name": f"{k}.png", "width": 128, "height": 96} for k in range(3)]
    boxes = [{"id": k + 1, "image_id": k, "category_id": 1, "bbox": [30, 20, 60, 50]} for k in range(3)]
    coco = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "frog"}]}
    write_text(folder / "coco.json", json.dumps(coco))
    (folder / "strokes").mkdir()
    for k in range(4):
        stroke = np.full((96, 128), 255, np.uint8)  # 255: nobody said
        stroke[38:40, 40:50], stroke[85:90, 100:120] = 1, 0
        Image.fromarray(stroke).save(folder / "strokes" / f"{k}.png")
    return folder


def lines() -> list[str]:
    """The commands, without what is said beside them."""
    if not README.exists():
        return []
    found = re.findall(r"^(vns-sam .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.partition("#")[0].strip() for line in found]


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", lines())
def test_the_line_works_from_the_wheel(line: str, wheel: Path, world: Path) -> None:
    added = next((more for start, more in SHORTER.items() if line.startswith(f"vns-sam {start}")), "")
    command = [sys.executable, "-m", "vns_sam", *shlex.split(line)[1:], *shlex.split(added)]
    if re.search(r"--model (vns-vit-l|\S+\.pth)", line):
        pytest.skip("the file is not here; tests/test_docs.py judges the line")
    if "--model" in line and "ws-sam-tiny" not in line:  # its weights are not here
        command.append("--dry-run")
    environment = {**os.environ, "PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=world, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
