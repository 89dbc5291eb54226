"""Boxes of other tools in, sets out: 60 pictures in three folders, three classes, judged by other programs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from fakes import FakeModel
from PIL import Image

from vns_sam.cli import segment
from vns_sam.cli.main import main, whole_parser
from vns_sam.errors import UsageError
from vns_sam.formats import labelme, labelstudio
from vns_sam.formats.drawing import draw_shape
from vns_sam.formats.png import read_mask
from vns_sam.formats.rle import decode_rle
from vns_sam.formats.yolo import read_labels
from vns_sam.inference import load

HEIGHT, WIDTH = 96, 128
CLASSES = {3: "frog", 7: "owl", 18: "moth"}
NAMES = [f"cam{k % 3}/{k // 3:02d}.png" for k in range(60)]


def objects(k: int) -> list[tuple[str, tuple[int, int, int, int]]]:
    """One or two boxes on the grid of the fake model, each with its class."""
    x, y = 16 * (k % 4), 16 * (k % 2)
    found = [(list(CLASSES.values())[k % 3], (x, y, x + 32, y + 48))]
    return found + ([("owl", (64, 32, 112, 80))] if k % 5 == 0 else [])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(load, "load_model", lambda *_, **__: FakeModel())
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_coco(root: Path) -> Path:
    images = [{"id": k, "file_name": name, "height": HEIGHT, "width": WIDTH} for k, name in enumerate(NAMES)]
    numbers = {name: number for number, name in CLASSES.items()}
    rows = [(k, c, b) for k in range(60) for c, b in objects(k)]
    annotations = [
        {"id": i, "image_id": k, "category_id": numbers[c], "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]}
        for i, (k, c, b) in enumerate(rows)
    ]
    categories = [{"id": number, "name": name} for number, name in CLASSES.items()]
    (root / "coco.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return root / "coco.json"


def write_yolo(root: Path) -> Path:
    classes = list(CLASSES.values())
    for k, name in enumerate(NAMES):
        path = (root / "yolo/labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for c, (x0, y0, x1, y1) in objects(k):
            middle = [(x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT]
            lines.append(f"{classes.index(c)} {' '.join(map(str, middle))}\n")
        path.write_text("".join(lines))
    (root / "yolo/data.yaml").write_text(yaml.safe_dump({"names": classes}))
    return root / "yolo"


def write_voc(root: Path) -> Path:
    for k, name in enumerate(NAMES):
        path = (root / "voc" / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes = "".join(
            f"<object><name>{c}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>"
            f"<ymax>{b[3]}</ymax></bndbox></object>"
            for c, b in objects(k)
        )
        path.write_text(f"<annotation><filename>{Path(name).name}</filename>{shapes}</annotation>")
    return root / "voc"


def write_cvat(root: Path) -> Path:
    images = "".join(
        f'<image id="{k}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        + "".join(f'<box label="{c}" xtl="{b[0]}" ytl="{b[1]}" xbr="{b[2]}" ybr="{b[3]}"/>' for c, b in objects(k))
        + "</image>"
        for k, name in enumerate(NAMES)
    )
    (root / "cvat.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    return root / "cvat.xml"


def write_labelme(root: Path) -> Path:
    for k, name in enumerate(NAMES):
        path = (root / "labelme" / name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes = [{"label": c, "points": [b[:2], b[2:]], "shape_type": "rectangle"} for c, b in objects(k)]
        path.write_text(json.dumps({"shapes": shapes, "imagePath": f"..\\..\\photos\\{name.replace('/', chr(92))}"}))
    return root / "labelme"


def write_label_studio(root: Path) -> Path:
    tasks = []
    for k, name in enumerate(NAMES):
        regions = [
            {
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "x": 100 * b[0] / WIDTH,
                    "y": 100 * b[1] / HEIGHT,
                    "width": 100 * (b[2] - b[0]) / WIDTH,
                    "height": 100 * (b[3] - b[1]) / HEIGHT,
                    "rectanglelabels": [c],
                },
            }
            for c, b in objects(k)
        ]
        tasks.append({"data": {"image": f"/data/local-files/?d=photos/{name}"}, "annotations": [{"result": regions}]})
    (root / "tasks.json").write_text(json.dumps(tasks))
    return root / "tasks.json"


def write_table(root: Path) -> Path:
    rows = [f"{root / 'photos' / n};{c};{';'.join(map(str, b))}" for k, n in enumerate(NAMES) for c, b in objects(k)]
    text = "\n\nImage;Label;XMin;YMin;XMax;YMax\n" + "\n".join(rows)
    (root / "table.csv").write_bytes(text.encode("utf-8-sig"))
    return root / "table.csv"


WRITERS = (write_coco, write_yolo, write_voc, write_cvat, write_labelme, write_label_studio, write_table)


@pytest.mark.parametrize("write", WRITERS)
def test_every_export_asks_about_every_picture(here: Path, write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(here)
    asked = ["--prompts", str(source), "--format", "npz", "--out", "out"]
    assert main(["segment", "photos", *asked, "--dry-run", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines if "state" in line] == ["do"] * 60
    assert main(["segment", "photos", *asked, "--quiet"]) == 0
    for k, name in enumerate(NAMES):
        with np.load((here / "out" / name).with_name(f"{Path(name).stem}_mask.npz")) as found:
            assert found["classes"].tolist() == [c for c, _ in objects(k)]
            np.testing.assert_allclose(found["boxes"], [b for _, b in objects(k)], atol=1)


def drawn(shapes: Any, **more: Any) -> list[tuple[str, np.ndarray]]:
    return [(shape.label, draw_shape(shape, HEIGHT, WIDTH, **more)) for shape in shapes]


def test_five_sets_of_one_run(here: Path) -> None:
    asked = ["--prompts", str(write_coco(here)), "--out", "out", "--quiet"]
    assert main(["segment", "photos", *asked, "--format", "png", "coco", "yolo", "labelme", "labelstudio"]) == 0
    out = here / "out"
    truth = {}
    for k, name in enumerate(NAMES):
        stem = out / Path(name).with_suffix("")
        several = len(objects(k)) > 1
        paths = [f"{stem}_mask{f'_{i}' * several}.png" for i in range(len(objects(k)))]
        truth[name] = [(c, read_mask(path)) for (c, _), path in zip(objects(k), paths, strict=True)]
    _check_coco(out, truth)
    _check_yolo(out, truth)
    _check_labelme(out, truth)
    _check_supervision(out, truth)
    tasks = {t["data"]["image"].partition("=")[2]: t for t in json.loads((out / "labelstudio.json").read_text())}
    config = (out / "labelstudio.xml").read_text()
    assert list(tasks) == NAMES
    for name, objects_there in truth.items():
        file = (out / name).with_suffix(".json")
        (described,) = labelme.read(file.read_bytes(), str(file)).pictures
        assert (file.parent / described.name).resolve() == here / "photos" / name
        (task,) = labelstudio.read(json.dumps([tasks[name]]).encode(), "t").pictures
        for shapes in (described.shapes, task.shapes):
            for (label, mask), (expected, true) in zip(drawn(shapes), objects_there, strict=True):
                assert label == expected
                np.testing.assert_array_equal(mask, true)
    judge = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(config)
    assert all(judge.validate_prediction(task["predictions"][0]) for task in tasks.values())


def _check_coco(out: Path, truth: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    raw = json.loads((out / "annotations.json").read_text())
    assert {row["id"]: row["name"] for row in raw["categories"]} == CLASSES
    names = {image["id"]: image["file_name"] for image in raw["images"]}
    found: dict[str, list[tuple[str, np.ndarray]]] = {name: [] for name in truth}
    for row in raw["annotations"]:
        found[names[row["image_id"]]].append((CLASSES[row["category_id"]], decode_rle(row["segmentation"])))
    for name, expected in truth.items():
        assert [label for label, _ in found[name]] == [label for label, _ in expected]
        np.testing.assert_array_equal([m for _, m in found[name]], [m for _, m in expected])
    module = pytest.importorskip("pycocotools.coco")
    judge = module.COCO(str(out / "annotations.json"))
    for row in judge.loadAnns(judge.getAnnIds()):
        assert judge.annToMask(row).sum() == row["area"]


def _check_yolo(out: Path, truth: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    raw = yaml.safe_load((out / "data.yaml").read_text())
    assert raw["names"] == {0: "frog", 1: "owl", 2: "moth"}
    assert (out / raw["train"]).is_dir()
    for name, expected in truth.items():
        assert (out / "images" / name).samefile(f"photos/{name}")
        shapes, problems = read_labels((out / "labels" / name).with_suffix(".txt").read_text(), name, raw["names"])
        assert not problems
        for (label, mask), (wanted, true) in zip(drawn(shapes, fractions=True), expected, strict=True):
            assert label == wanted
            assert (mask & true).sum() >= 0.98 * (mask | true).sum()


def _check_labelme(out: Path, truth: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    """labelme's own loader takes each file, finds its picture, and draws its shapes to the same masks."""
    try:
        from labelme._label_file import LabelFile
        from labelme.utils import shape_to_mask
    except ImportError:
        return
    for name, expected in truth.items():
        file = LabelFile(str((out / name).with_suffix(".json")))
        assert file.imageData
        assert [shape["label"] for shape in file.shapes] == [label for label, _ in expected]
        for shape, (_, true) in zip(file.shapes, expected, strict=True):
            mask = shape_to_mask(true.shape, shape["points"], shape["shape_type"])
            _check_same_but_for_the_rim(mask, true)


def _check_supervision(out: Path, truth: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    """supervision reads both sets with the names of the classes, and their masks."""
    try:
        import supervision
    except ImportError:
        return
    coco = supervision.DetectionDataset.from_coco(
        images_directory_path="photos", annotations_path=str(out / "annotations.json"), force_masks=True
    )
    _check_detections(coco, Path("photos"), truth)
    for camera in ("cam0", "cam1", "cam2"):
        yolo = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(out / "images" / camera),
            annotations_directory_path=str(out / "labels" / camera),
            data_yaml_path=str(out / "data.yaml"),
            force_masks=True,
        )
        part = {name: objects_there for name, objects_there in truth.items() if name.startswith(camera)}
        _check_detections(yolo, out / "images", part)


def _check_detections(found: Any, folder: Path, truth: dict[str, list[tuple[str, np.ndarray]]]) -> None:
    assert set(found.classes) >= {label for objects_there in truth.values() for label, _ in objects_there}
    seen = {Path(path).absolute(): detections for path, _, detections in found}
    for name, expected in truth.items():
        detections = seen[(folder / name).absolute()]
        assert [found.classes[i] for i in detections.class_id] == [label for label, _ in expected]
        for mask, (_, true) in zip(detections.mask, expected, strict=True):
            _check_same_but_for_the_rim(mask, true)


def _check_same_but_for_the_rim(mask: np.ndarray, true: np.ndarray) -> None:
    """Both programs fill an outline together with the line itself, which is a pixel wide."""
    wider = cv2.dilate(true.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert mask[true].all()
    assert not mask[~wider].any()


def test_other_programs_read_what_was_written(here: Path) -> None:
    globox = pytest.importorskip("globox")
    asked = ["--prompts", str(write_coco(here)), "--out", "out", "--quiet"]
    assert main(["segment", "photos", *asked, "--format", "coco", "labelme", "cvat", "voc"]) == 0
    found = globox.AnnotationSet.from_coco(here / "out/annotations.json")
    assert len(found) == 60
    assert found._id_to_label is None or set(found._id_to_label.values()) == set(CLASSES.values())


def test_pictures_and_patterns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = ["--box", "16", "32", "64", "80", "--quiet"]
    assert main(["segment", "photos/cam0/00.png", "photos/cam1/00.png", *box, "--out", "two"]) == 0
    assert main(["segment", "photos/cam2/1*.png", *box, "--out", "some"]) == 0
    assert "two: 2 done" in capsys.readouterr().out
    assert (here / "two/cam0/00_mask.png").is_file()
    assert len(list((here / "some").glob("*_mask.png"))) == 10
    with pytest.raises(UsageError, match="expected pictures, or one folder, found photos"):
        segment.pictures(["photos", "photos/cam0/00.png"])


def test_a_pipe(here: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    content = (here / "photos/cam0/00.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["segment", "-", "--box", "16", "32", "64", "80", "--out", "-"]) == 0
    with Image.open(io.BytesIO(capsysbinary.readouterr().out)) as mask:
        assert np.asarray(mask)[40, 20] == 255
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    alone = ["--format", "indexed", "--alpha", "--out", "-"]
    assert main(["segment", "-", "--box", "16", "32", "64", "80", *alone]) == 2  # two files
    for broken in (b"no picture", content[: len(content) // 2]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(broken)))
        assert main(["segment", "-", "--box", "16", "32", "64", "80"]) == 3


def test_folders_with_dots_and_outputs_with_dots(here: Path) -> None:
    (here / "photos/cam0").rename(here / "2024.05.01")
    box = ["--box", "16", "32", "64", "80", "--quiet"]
    assert main(["segment", "2024.05.01", *box]) == 0
    assert (here / "2024.05.01_masks/00_mask.png").is_file()
    assert main(["segment", "2024.05.01", *box, "--out", "masks.v2"]) == 0
    assert main(["segment", "2024.05.01/00.png", *box, "--out", "one.v2"]) == 0
    assert (here / "one.v2/00_mask.png").is_file()


def test_simplified_outlines_tell_what_they_cost(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = ["--box", "16", "32", "64", "80", "--simplify", "2", "--format", "svg"]
    assert main(["segment", "photos/cam0/00.png", *box, "--out", "one"]) == 0
    assert "IoU 1.000 or more" in capsys.readouterr().out
    assert main(["segment", "photos/cam0", *box, "--out", "all"]) == 0
    assert "IoU with the exact masks 1.0000" in capsys.readouterr().out
    assert main(["segment", "photos/cam0", *box[:-3], "-1"]) == 2


def test_fractions_are_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "photos/cam0/00.png", "--box", ".25", ".25", ".6", ".75"]) == 3
    shown = capsys.readouterr().err
    assert "found fractions of the picture's size" in shown
    assert "try: 32 24 77 72" in shown
    assert main(["segment", "photos/cam0/00.png", "--point", "5", "5", "--label", "0", "--out", "x"]) == 0
    assert "object 0 has background points alone" in capsys.readouterr().err


def test_the_whole_command_line_is_one_parser() -> None:
    assert whole_parser().parse_args(["segment", "a.jpg"]).images == ["a.jpg"]
    assert main(["-V"]) == 0
