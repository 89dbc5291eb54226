"""The command lines that ``same_outputs.py`` runs with two versions, and the inputs they get.

``python same_steps.py STEP...`` runs some in the working directory with the version that Python finds.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

BOX = "--box 198 98 449 311"
FORMATS = ("png", "coco", "yolo", "geojson", "svg")
STEPS = 2
"""Optimiser steps of each training."""


@dataclass(frozen=True)
class Step:
    """Command lines whose outputs go to a folder of the step's name.

    Attributes:
        name: The folder, relative to where they run.
        commands: One after the other; arguments after ``vns-sam``.
        needs: Steps whose outputs they read.
    """

    name: str
    commands: Sequence[Sequence[str]]
    needs: Sequence[str] = ()


def _step(name: str, *lines: str, needs: Sequence[str] = ()) -> Step:
    return Step(name, [line.replace("OUT", f"{name}/out").split() for line in lines], needs)


def make_steps() -> list[Step]:
    """All of them, those that others need first."""
    return [*_segment(), *_data(), *_labels(), *_evaluate(), *_train(), *_models()]


def _segment() -> list[Step]:
    off = "--second-look off"
    one = f"segment inputs/moth.jpg {BOX}"
    folder = "segment inputs/photos --prompts inputs/prompts.json"
    return [
        *(_step(f"segment-{kind}", f"{one} --format {kind} {off} --out OUT") for kind in FORMATS),
        _step("segment-points", f"segment inputs/moth.jpg --point 320 200 --point 60 60 --label 0 {off} --out OUT"),
        _step("segment-two", f"{one} --box 20 20 120 140 --model sam-tiny {off} --out OUT"),
        _step("segment-second-look", "segment inputs/moth.jpg --box 300 150 350 200 --second-look on --out OUT"),
        _step("segment-refined", f"{one} --refine dis-sam-tiny --alpha {off} --out OUT"),
        _step("segment-unprompted", "segment inputs/moth.jpg --model ws-sam-tiny --out OUT"),
        *(_step(f"folder-{kind}", f"{folder} --format {kind} {off} --out OUT") for kind in FORMATS),
        _step("folder-overlay", f"segment inputs/photos --prompts inputs/prompts.csv --overlay {off} --out OUT"),
        _step("folder-second-look", f"{folder} --second-look on --out OUT"),
        _step("folder-refined", f"{folder} --refine dis-sam-tiny {off} --out OUT"),
        _step("folder-unprompted", "segment inputs/photos --model ws-sam-tiny --out OUT"),
    ]


def _data() -> list[Step]:
    return [
        *(
            _step(f"scribble-{kind}", f"data scribble inputs/scenes --kind {kind} --seed 1 --out OUT")
            for kind in ("scribble", "point", "box")
        ),
        _step("darken", "data darken inputs/scenes --seed 2 --strength 0.8 --workers 1 --out OUT"),
        _step("enrich", "data enrich inputs/scenes --workers 1 --out OUT"),
        _step("score", "data score inputs/scenes inputs/more --workers 1 --out OUT"),
        _step("check", "data check inputs --flips --workers 1 --report OUT/report.json"),
        _step(
            "import",
            "data import folder-coco/out/annotations.json --images inputs/photos --out OUT/set",
            needs=["folder-coco"],
        ),
        _step("list", "data list"),
        _step(
            "realism",
            "data realism inputs/photos --synthetic darken/out --source inputs/scenes --out OUT/report.json",
            needs=["darken"],
        ),
    ]


def _labels() -> list[Step]:
    ask = "pseudo-label inputs/scenes --split train --second-look off"
    audit = "--audit --truth inputs/scenes"
    return [
        _step("labels", f"{ask} --labels scribble-scribble/out --out OUT {audit}", needs=["scribble-scribble"]),
        _step(
            "labels-points",
            f"{ask} --labels scribble-point/out --views d4 --fuse prob --no-gates --out OUT {audit}",
            needs=["scribble-point"],
        ),
        _step(
            "labels-boxes",
            f"{ask} --labels scribble-box/out --views flip --model sam-tiny --out OUT {audit}",
            needs=["scribble-box"],
        ),
        _step(
            "labels-student",
            f"{ask} --labels scribble-scribble/out --views none --student ws-sam-tiny --out OUT",
            needs=["scribble-scribble"],
        ),
    ]


def _evaluate() -> list[Step]:
    sets = "--data inputs/scenes inputs/more --workers 0 --out OUT"
    two = "evaluate sam-tiny vns-sam-tiny"
    off = "--second-look off"
    return [
        _step(
            "evaluate",
            f"{two} {sets} --prompt box noise-box points:2 mask clicks:3 --figures 2 --group all=scenes,more {off}",
            "evaluate --compare OUT/report.json:sam-tiny OUT/report.json:vns-sam-tiny --metrics iou biou",
        ),
        _step("evaluate-instances", f"{two} {sets} --instances --metrics iou biou ap mae s {off}"),
        _step("evaluate-square", f"evaluate sam-tiny {sets} --resize square --limit 3 --prompt points {off}"),
        _step("evaluate-second-look", f"evaluate vns-sam-tiny {sets} --limit 4 --second-look on"),
        _step("evaluate-refined", f"evaluate dis-sam-tiny {sets} --limit 4 --metrics iou biou mae hce {off}"),
        _step("evaluate-unprompted", f"evaluate ws-sam-tiny {sets}"),
    ]


def _train() -> list[Step]:
    names = [*recipes()]
    steps = [
        _step(f"train-{name}", f"train inputs/recipes/{name}.yaml --out OUT/run") for name in names if name != "ws-sam"
    ]
    ws = _step("train-ws-sam", "train inputs/recipes/ws-sam.yaml --out OUT/run", needs=["scribble-scribble", "labels"])
    average = _step(
        "average",
        "models average train-sam/out/run/model weights/sam-tiny --shares 1 3 --out OUT/model",
        needs=["train-sam"],
    )
    return [*steps, ws, average]


def _models() -> list[Step]:
    return [_step("models", "models list", "models cost vit_b --no-weights"), _step("demo", "demo --out OUT")]


def recipes() -> dict[str, dict[str, Any]]:
    """A recipe of a few steps for each task."""
    common: dict[str, Any] = {
        "out": "unused",
        "data": {"root": "inputs", "sets": {"scenes": 2, "more": 1}, "sizes": [64, 96]},
        "steps": STEPS,
        "batch_size": 2,
        "workers": 0,
        "log_every": 1,
        "optim": {"lr": 1e-3, "warmup": 1, "clip": 1.0, "weight_decay": 0.01},
        "validation": {"every": STEPS, "limit": 2},
    }
    mix = {"composite": 0.3, "camouflage": 0.3, "dark": 0.3, "defect": 0.2, "crack": 0.2}
    mixed = {**common["data"], "mix": mix, "corrections": 0.5, "prompts": 2}
    thin = {"model": {"base": "sam-tiny", "width": 0.125, "image_size": 96}, "encoder_steps": STEPS, "thin": 4}
    ws = {"labels": "scribble-scribble/out", "pseudo": "labels/out", "model": {"image_size": 96}}
    gan = {"bright": ["inputs/scenes"], "dark": ["inputs/photos"], "load": 40, "crop": 32}
    return {
        "sam": {**common, "task": "sam", "init": "weights/sam-tiny", "data": mixed},
        "vns-sam": {**common, "task": "vns-sam", "init": "sam-tiny", "data": mixed, "ema": 0.5},
        "hq-sam": {**common, "task": "hq-sam", "init": "sam-tiny", "bce": "mean"},
        "sam-tune": {**common, "task": "sam-tune", "init": "sam-tiny", "tune": "all"},
        "dis-sam": {**common, "task": "dis-sam", "dis": {**thin, "views": "object", "colour": 0.5, "drop": 0.5}},
        "ws-sam": {
            **common,
            "task": "ws-sam",
            "init": "sam-tiny",
            "ws": ws,
            "data": {**common["data"], "sets": {"scenes": 1}},
        },
        "cyclegan": {
            "task": "cyclegan",
            "out": "unused",
            "data": gan,
            "ngf": 4,
            "ndf": 4,
            "blocks": 1,
            "epochs": 1,
            "decay_epochs": 1,
            "epoch_steps": STEPS,
            "workers": 0,
            "sample_every": STEPS,
        },
    }


def make_inputs(side: Path, moth: Path) -> None:
    """Writes ``side/inputs``: two sets, a folder of pictures with prompts, and recipes. The same on every run."""
    root = side / "inputs"
    (root / "recipes").mkdir(parents=True)
    shutil.copyfile(moth, root / "moth.jpg")
    for name, recipe in recipes().items():
        (root / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    boxes = [*_write_set(root / "scenes", 6, 0), *_write_set(root / "more", 4, 100)]
    (root / "photos").mkdir()
    entries, lines = {}, []
    for i, box in enumerate(boxes[6:10]):
        shutil.copyfile(root / "more" / "images" / f"{i:02d}.png", root / "photos" / f"{i:02d}.png")
        middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        entries[f"{i:02d}.png"] = {"boxes": [box, [2, 2, 50, 40]]} if i % 2 else {"points": [[middle]], "labels": [[1]]}
        lines.append(f"{i:02d}.png,{','.join(map(str, box))}\n")
    (root / "prompts.json").write_text(json.dumps(entries))
    (root / "prompts.csv").write_text("".join(lines))


def _write_set(folder: Path, count: int, seed: int) -> list[list[int]]:
    """Pictures of an ellipse and a thin stroke on textured ground, and masks; returns the ellipses' boxes."""
    for room in ("images", "masks", "masks_instance"):
        (folder / room).mkdir(parents=True)
    boxes = []
    for i in range(count):
        rng = np.random.default_rng(seed + i)
        height, width = int(rng.integers(90, 150)), int(rng.integers(120, 200))
        coarse = rng.integers(40, 160, (9, 12, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        objects = np.zeros((height, width), np.uint8)
        centre = int(rng.uniform(0.3, 0.5) * width), int(rng.uniform(0.35, 0.6) * height)
        axes = int(rng.integers(width // 10, width // 4)), int(rng.integers(height // 10, height // 4))
        cv2.ellipse(objects, centre, axes, float(rng.uniform(0, 90)), 0, 360, 1, -1)
        ys, xs = np.nonzero(objects)
        boxes.append([int(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())])
        cv2.line(objects, (width - 18, 8), (width - 8, height - 12), 2, 2)
        image[objects > 0] = 255 - image[objects > 0] // 2
        image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i:02d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{i:02d}.png"), (objects > 0).astype(np.uint8) * 255)
        cv2.imwrite(str(folder / "masks_instance" / f"{i:02d}.png"), objects)
    names = [f"{i:02d}\n" for i in range(count)]
    (folder / "train.txt").write_text("".join(names[:-2]))
    return boxes


def spelled(arguments: Sequence[str]) -> list[str]:
    """The arguments as this version spells them: ``--second-look on`` and ``off`` were a flag once."""
    import vns_sam.cli.predictor

    if '"auto"' in Path(vns_sam.cli.predictor.__file__).read_text():
        return list(arguments)
    off = ["--no-second-look"] if arguments[0] == "segment" else []
    words: list[str] = []
    for word in arguments:
        if words[-1:] == ["--second-look"] and word in ("on", "off"):
            words[-1:] = ["--second-look"] if word == "on" else off
        else:
            words.append(word)
    return words


def run_steps(names: Sequence[str]) -> None:
    """Runs steps one after the other; what each prints goes to ``STEP/printed.txt``, its errors to ``STEP.errors``."""
    from vns_sam.cli.main import main

    for step in [step for step in make_steps() if step.name in names]:
        folder, here = Path(step.name), str(Path.cwd())
        folder.mkdir()
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            for arguments in step.commands:
                print(f"exit code {main(['--quiet', *spelled(arguments)])}")
        (folder / "printed.txt").write_text(printed.getvalue().replace(here, "."))
        Path(f"{step.name}.errors").write_text(errors.getvalue())


if __name__ == "__main__":
    run_steps(sys.argv[1:])
