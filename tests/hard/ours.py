"""One of each kind of file that vns-sam writes or takes and a user can touch, whole, with what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from vns_sam.evaluation.compare import compare, read_rows
from vns_sam.evaluation.report import ModelResult, Report
from vns_sam.evaluation.results import Origin, gather, read_results, write_results
from vns_sam.evaluation.rows import Detection, Key, Row, RowStore
from vns_sam.labelling.records import LINES
from vns_sam.labelling.store import LabelStore
from vns_sam.metrics.scoring import ImageScores
from vns_sam.prompts.files import read_prompt_file
from vns_sam.runs.manifest import read_manifest
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import CONFIG, read_config, read_state
from vns_sam.sam.files import read_tensors
from vns_sam.sam.model_config import ModelConfig
from vns_sam.studies.pipeline import load_pipeline
from vns_sam.studies.study import load_study
from vns_sam.training.recipe import load_recipe
from vns_sam.training.state import LAST, load_state, save_state
from vns_sam.training.tracking import LOG, read_log
from vns_sam.vns.config import VnsSamConfig
from vns_sam.ws.config import WsSamConfig

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, a whole one, what reads it, and how its text is taken apart and put together."""

    name: str
    content: bytes
    read: Callable[[Path], object]
    syntax: str = ""


def weights() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.zeros(3), "count": torch.tensor(2)}


def lines(*values: dict[str, Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def config_reader(kind: type[ModelConfig]) -> Callable[[Path], object]:
    return lambda path: kind.from_dict(read_config(path.parent), path)


def row(stem: str) -> Row:
    scores = ImageScores({"iou": 0.5}, {"e": np.zeros(256, np.float32)})
    code = {"size": [4, 4], "counts": "04"}
    return Row(Key("camo", stem, "", "box"), scores, 0.1, 0.2, Detection(0.9, code, code), "d")


def kinds(folder: Path) -> Iterator[Kind]:
    """One of each, made by what writes it."""
    bundled = {name: (registry.place(name) / CONFIG).read_bytes() for name in ("vns-sam-tiny", "ws-sam-tiny")}
    yield Kind(CONFIG, bundled["vns-sam-tiny"], config_reader(VnsSamConfig), "json")
    yield Kind(CONFIG, bundled["ws-sam-tiny"], config_reader(WsSamConfig), "json")
    save_file(weights(), folder / "model.safetensors")
    yield Kind("model.safetensors", (folder / "model.safetensors").read_bytes(), lambda path: read_state(path.parent))
    yield Kind("w.safetensors", (folder / "model.safetensors").read_bytes(), read_tensors)
    torch.save({"model": weights(), "epoch": 3}, folder / "w.pth")
    yield Kind("w.pth", (folder / "w.pth").read_bytes(), read_tensors)
    save_state(folder, {"recipe": {"task": "sam"}, "step": 3, "model": weights()})
    yield Kind(LAST, (folder / LAST).read_bytes(), lambda path: load_state(path.parent))
    yield Kind("boxes.csv", b"name,x0,y0,x1,y1\na.jpg,1,2,3,4\nb.jpg,5,6,7.5,8\n", read_prompt_file)
    boxes = {"a.jpg": {"boxes": [[1, 2, 3, 4]], "classes": ["frog"]}, "b.jpg": {"points": [[[1, 2]]], "labels": [[1]]}}
    yield Kind("prompts.json", json.dumps(boxes).encode(), read_prompt_file, "json")
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}],
        "categories": [{"id": 1, "name": "frog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 4, 1, 4, 4]]},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [8, 9], "counts": [10, 5, 57]}},
        ],
    }
    yield Kind("coco.json", json.dumps(coco).encode(), read_prompt_file, "json")
    voc = "<annotation><filename>a.jpg</filename><size><width>9</width><height>8</height></size>"
    voc += "<object><name>frog</name><bndbox>"
    voc += "<xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>5</ymax></bndbox></object></annotation>"
    yield Kind("voc.xml", voc.encode(), read_prompt_file)
    cvat = '<annotations><image id="0" name="a.jpg" width="9" height="8">'
    cvat += '<box label="frog" xtl="1" ytl="2" xbr="4" ybr="5"/>'
    cvat += '<polygon label="frog" points="1,1;4,1;4,4"/><points label="frog" points="2,2"/></image></annotations>'
    yield Kind("cvat.xml", cvat.encode(), read_prompt_file)
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["frog"]}
    drawn = {"type": "rectanglelabels", "original_width": 9, "original_height": 8, "value": value, "from_name": "label"}
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [{**drawn, "to_name": "image"}]}]}
    yield Kind("labelstudio.json", json.dumps([task]).encode(), read_prompt_file, "json")
    labelme = {"imagePath": "a.jpg", "imageHeight": 8, "imageWidth": 9, "version": "5.0", "flags": {}}
    labelme["shapes"] = [{"label": "frog", "points": [[1, 1], [4, 5]], "shape_type": "rectangle"}]
    yield Kind("labelme.json", json.dumps(labelme).encode(), read_prompt_file, "json")
    recipe = (REPOSITORY / "recipes" / "vns_sam_tiny.yaml").read_bytes() if (REPOSITORY / "recipes").is_dir() else b""
    whole = {"task": "sam", "out": "run", "data": {"root": "data", "sets": {"a": 1}, "sizes": [64]}, "steps": 5}
    yield Kind("recipe.yaml", recipe or yaml.safe_dump(whole).encode(), load_recipe, "yaml")
    yield Kind("whole.yaml", yaml.safe_dump({**whole, "optim": {"lr": 1e-3}}).encode(), load_recipe, "yaml")
    study = {
        "out": "o",
        "rows": [{"name": "a", "model": "sam-tiny"}],
        "measure": {"data": ["camo"], "prompts": ["box"]},
    }
    yield Kind("study.yaml", yaml.safe_dump(study).encode(), load_study, "yaml")
    steps = [{"name": "a", "do": "darken", "sets": ["camo"]}, {"name": "b", "do": "scribble", "sets": ["camo"]}]
    yield Kind("pipeline.yaml", yaml.safe_dump({"out": "made", "steps": steps}).encode(), load_pipeline, "yaml")
    head = {"run": "segment", "version": 2, "asked": {"format": "png"}, "id": "ab"}
    entry = {"image": "a.jpg", "key": "k", "asked": "ab", "files": {"a_mask.png": 12}, "scores": [0.5]}
    manifest = lines(head, {"claim": ["b_mask.png"]}, entry, {**entry, "image": "b.jpg", "files": {}, "error": "e"})
    yield Kind("manifest.jsonl", manifest, lambda path: read_manifest(path, "segment", "image"), "lines")
    store = RowStore(folder / "rows", "m", {"seed": 0})
    store.add(row("a"))
    store.skip("camo", "b", "broken")
    (file,) = (folder / "rows").iterdir()
    yield Kind(file.name, file.read_bytes(), lambda path: RowStore(path.parent, "m", {"seed": 0}), "lines")
    log = lines({"step": 1, "loss": 0.5, "lr": 0.1}, {"step": 2, "iou/mean": 0.3})
    yield Kind(LOG, log, lambda path: [line["step"] <= 1 for line in read_log(path.parent)], "lines")
    record = {"image": "a.jpg", "key": "k", "map": "maps/a.png", "height": 4, "width": 4, "kind": "scribble"}
    record |= {"levels": 2, "vote": True, "views": 2, "believed": 2, "area": 0.1, "score": 1.0}
    record |= {"absolute": 0.1, "relative": 0.2, "relative_to_all": None}
    yield Kind(LINES, lines({"run": "pseudo-label"}, record), lambda path: LabelStore(path.parent), "lines")
    report = Report({"metrics": ["iou"]}, [ModelResult("m", "w", [row("a"), row("b")])])
    content = json.dumps(report.to_json()).encode()
    yield Kind("report.json", content, lambda path: compare(*[read_rows(str(path))[1]] * 2), "json")
    write_results(folder / "results.json", gather(report, Origin("c", "m", "0")))
    yield Kind("results.json", (folder / "results.json").read_bytes(), read_results, "json")
