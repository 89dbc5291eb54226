"""Every foundation through the verbs: scored in one table with what stands on it, as labeller, as first stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from foundation_models import narrow_foundation
from PIL import Image
from workshop import write_disks

from vns_sam.cli.main import main
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.model import DisSamModel
from vns_sam.hq.model import HqSamModel
from vns_sam.inference.load import load_network
from vns_sam.labelling.store import LabelStore
from vns_sam.vns.config import VnsSamConfig
from vns_sam.vns.model import VnsSamModel

FOUNDATIONS = ["vit", "sam2", "sam3", "mobile-sam"]
EACH = pytest.mark.parametrize("name", FOUNDATIONS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each foundation as a folder, VNS-SAM and HQ-SAM on it, a DIS-SAM, and a set of disks with strokes on them."""
    root = tmp_path_factory.mktemp("shop")
    for name in FOUNDATIONS:
        sam = narrow_foundation(name)
        sam.save_pretrained(root / name)
        base = str(root / name)
        changes = {"base": base, "inner_channels": 8, "head_channels": 8}
        VnsSamModel.from_sam(sam, VnsSamConfig.for_sam(sam.config, **changes)).save_pretrained(root / f"vns-{name}")
        config = HqSamModel.config_class.for_sam(sam.config, base=base)
        HqSamModel.from_sam(narrow_foundation(name), config).save_pretrained(root / f"hq-{name}")
    torch.manual_seed(0)
    dis = DisSamConfig(str(root / "vit"), "dis", width=0.125, image_size=64)
    DisSamModel(dis, narrow_foundation("vit"), IsNet(5, dis.width)).save_pretrained(root / "dis")
    write_disks(root / "sets" / "disks", 3)
    (root / "strokes").mkdir()
    for mask in (root / "sets" / "disks" / "masks").iterdir():
        inside = np.asarray(Image.open(mask)) > 0
        y, x = (round(places.mean()) for places in inside.nonzero())
        codes = np.zeros(inside.shape, np.uint8)
        codes[y, x - 3 : x + 4], codes[2, 4:60] = 1, 2
        Image.fromarray(codes).save(root / "strokes" / mask.name)
    return root


def test_all_foundations_and_what_stands_on_them_are_in_one_table(shop: Path, tmp_path: Path, capsys: object) -> None:
    models = [str(shop / f"{kind}{name}") for name in FOUNDATIONS for kind in ("", "vns-", "hq-")]
    options = ["--data", str(shop / "sets"), "--prompt", "box", "--limit", "2", "--workers", "0", "--quiet"]
    assert main(["evaluate", *models, *options, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [*report["models"]] == models
    for found in report["models"].values():
        assert len(found["rows"]) == 2
        assert all(0 <= row["iou"] <= 1 for row in found["rows"])
    table = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| ")]
    assert len(table) >= 1 + len(models)


@EACH
def test_a_foundation_labels_for_ws_sam(name: str, shop: Path, tmp_path: Path, capsys: object) -> None:
    command = ["pseudo-label", str(shop / "sets" / "disks"), "--labels", str(shop / "strokes"), "--views", "flip"]
    assert main(["--quiet", *command, "--model", str(shop / name), "--out", str(tmp_path / "labels")]) == 0
    store = LabelStore(tmp_path / "labels")
    assert len(store.records) == 3
    assert {record.settings["second_look"] for record in store.records.values()} <= {"auto", "off", "on"}
    assert len([*(tmp_path / "labels").rglob("*.png")]) + len([*(tmp_path / "labels").rglob("*.npz")]) >= 3


@EACH
def test_a_foundation_is_refined(name: str, shop: Path, tmp_path: Path, capsys: object) -> None:
    """As ``FIRST+SECOND`` and with ``--refine``: the same matte."""
    picture, box = str(shop / "sets" / "disks" / "images" / "000.png"), ["--box", "10", "8", "50", "40"]
    written = []
    for place, model in (
        ("a", [str(shop / name), "--refine", str(shop / "dis")]),
        ("b", [f"{shop / name}+{shop / 'dis'}"]),
    ):
        out = tmp_path / place
        options = ["--alpha", "--out", str(out)]
        assert main(["--quiet", "segment", picture, *box, "--model", *model, *options]) == 0
        written.append({path.name: path.read_bytes() for path in out.rglob("*.png")})
    assert written[0] == written[1] != {}


@pytest.mark.slow
@EACH
def test_a_foundation_is_the_first_stage_of_a_training(name: str, shop: Path, tmp_path: Path, capsys: object) -> None:
    recipe = {
        "task": "dis-sam",
        "out": str(tmp_path / "run"),
        "data": {"root": str(shop / "sets"), "sets": {"disks": 1}, "sizes": [64], "cache_side": 64},
        "dis": {
            "model": {"base": str(shop / name), "width": 0.1, "image_size": 64, "choice": "single"},
            "encoder_steps": 1,
            "views": "object",
        },
        "steps": 2,
        "batch_size": 2,
        "workers": 0,
        "validation": {"every": 2, "limit": 1},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["--quiet", "train", str(tmp_path / "recipe.yaml")]) == 0
    model = load_network(tmp_path / "run" / "model")
    assert isinstance(model, DisSamModel)
    assert model.first.info.digest == load_network(shop / name).info.digest


@EACH
def test_a_foundation_finds_objects_without_prompts_and_offers_candidates(
    name: str, shop: Path, tmp_path: Path, capsys: object
) -> None:
    picture = str(shop / "sets" / "disks" / "images" / "001.png")
    asked = ["--model", str(shop / name), "--point", "30", "20", "--candidates", "--out", str(tmp_path / "one")]
    assert main(["--quiet", "segment", picture, *asked]) == 0
    assert len([*(tmp_path / "one").rglob("*.png")]) >= 3
    auto = ["--auto", "--points-per-side", "3", "--least-score", "0", "--format", "indexed"]
    assert (
        main(["--quiet", "segment", picture, *auto, "--model", str(shop / name), "--out", str(tmp_path / "all")]) == 0
    )
    assert [*(tmp_path / "all").rglob("*.png")]
