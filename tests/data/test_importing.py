"""COCO and YOLO annotations become sets in the house layout; what is wrong is told by name and left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frogs import HEIGHT, WIDTH, picture
from PIL import Image

from vns_sam.data.annotated import find_annotated, find_coco, find_yolo
from vns_sam.data.doctor.check import check
from vns_sam.data.importing import CLAIMS, Import, convert
from vns_sam.data.pairs import find_pairs, pair_objects, read_instances, read_mask
from vns_sam.errors import DataError
from vns_sam.formats.objects import read_objects
from vns_sam.formats.rle import encode_rle

SQUARE = [10, 20, 40, 20, 40, 50, 10, 50]
BOX = (slice(20, 50), slice(10, 40))


def save_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)[0]).save(path)


def coco(folder: Path, annotations: list[dict[str, Any]], names: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    for name in names:
        save_picture(folder / "images" / name)
    images = [{"id": i, "file_name": n, "height": HEIGHT, "width": WIDTH} for i, n in enumerate(names)]
    rows = [{"id": 100 + i, "category_id": 1, "iscrowd": 0, **a} for i, a in enumerate(annotations)]
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": rows}))
    return file


def imported(source: Path, out: Path, **options: Any) -> Import:
    state = Import()
    for state, _ in convert(source, out, **options):  # noqa: B007
        pass
    return state


def test_coco_polygons_and_run_lengths(tmp_path: Path) -> None:
    _, mask = picture(0)
    plain = {"size": [HEIGHT, WIDTH], "counts": [5, 3, HEIGHT * WIDTH - 8]}
    file = coco(
        tmp_path,
        [
            {"image_id": 0, "segmentation": encode_rle(mask)},
            {"image_id": 0, "segmentation": [SQUARE, [100, 70, 110, 70, 110, 80, 100, 80]]},
            {"image_id": 0, "segmentation": plain, "iscrowd": 1},
            {"image_id": 1, "segmentation": plain},
        ],
    )
    state = imported(file, tmp_path / "out")
    assert (state.pictures, state.objects, state.problems) == (2, 3, [])
    first, second = find_pairs(tmp_path / "out")
    square = np.zeros_like(mask)
    square[BOX] = square[70:80, 100:110] = True
    np.testing.assert_array_equal(read_mask(first.mask), mask | square)
    assert first.instances is not None
    objects = read_instances(first.instances)
    assert len(objects) == 2
    small, large = sorted((mask, square), key=np.sum)
    drawn = sorted(objects, key=np.sum)
    np.testing.assert_array_equal(drawn[0] | drawn[1], mask | square)
    assert any(np.array_equal(one, small) for one in objects)  # the smaller one is on top
    assert any(np.array_equal(one, large & ~small) for one in objects)
    assert np.argwhere(read_mask(second.mask)).tolist() == [[5, 0], [6, 0], [7, 0]]
    assert first.image.samefile(tmp_path / "images" / "a.png")
    assert not [f for f in check([tmp_path / "out"]).findings if f.severity == "error"]


def test_objects_that_overlap_are_also_kept_whole(tmp_path: Path) -> None:
    _, mask = picture(0)
    rows = [
        {"image_id": 0, "segmentation": encode_rle(mask), "category_id": 1},
        {"image_id": 0, "segmentation": [SQUARE], "category_id": 2},
        {"image_id": 1, "segmentation": [SQUARE]},
    ]
    file = coco(tmp_path, rows)
    imported(file, tmp_path / "plain")
    first, second = find_pairs(tmp_path / "plain")
    assert second.objects is None
    both = pair_objects(first)
    np.testing.assert_array_equal(both["1"].mask, mask)
    assert np.argwhere(both["2"].mask).min(axis=0).tolist() == [20, 10]
    assert [each.label for each in both.values()] == ["", ""]

    raw = json.loads(file.read_text())
    file.write_text(json.dumps({**raw, "categories": [{"id": 1, "name": "frog"}, {"id": 2, "name": "leaf"}]}))
    imported(file, tmp_path / "named")
    first, second = find_pairs(tmp_path / "named")
    assert [each.label for each in pair_objects(first).values()] == ["frog", "leaf"]
    assert [each.label for each in pair_objects(second).values()] == ["frog"]
    assert not [f for f in check([tmp_path / "named"]).findings if f.severity == "error"]


@pytest.mark.parametrize("text", ["[]", '{"size": [2, 2]}', '{"size": [2, 2], "objects": [{"counts": "9"}]}', "no"])
def test_a_broken_file_of_objects_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        read_objects(path)


def test_many_objects_are_16_bit(tmp_path: Path) -> None:
    corners = [(x, y) for x in range(0, 120, 4) for y in range(0, 88, 8)][:300]
    rows = [{"image_id": 0, "segmentation": [[x, y, x + 3, y, x + 3, y + 3, x, y + 3]]} for x, y in corners]
    imported(coco(tmp_path, rows), tmp_path / "out")
    ids = np.asarray(Image.open(tmp_path / "out" / "masks_instance" / "a.png"))
    assert ids.dtype == np.uint16
    assert ids.max() == 300


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"image_id": 77, "segmentation": [SQUARE]}, "annotation 101: unknown image id 77"),
        ({"segmentation": [SQUARE]}, "annotation 101: unknown image id None"),
        ({"image_id": 0, "segmentation": [[1, 2, 3, 4]]}, "annotation 101: a polygon of 2 corners"),
        ({"image_id": 0, "segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "expected pairs of coordinates"),
        ({"image_id": 0, "segmentation": []}, "expected polygons or run lengths"),
        ({"image_id": 0}, "expected polygons or run lengths"),
        ({"image_id": 0, "segmentation": {"counts": "0"}}, "expected 'size' and 'counts'"),
        ({"image_id": 0, "segmentation": {"size": [3, 3], "counts": [9]}}, "object 2: run lengths for a size"),
        ({"image_id": 0, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [9]}}, "object 2"),
        ({"image_id": 0, "segmentation": [[500, 1, 510, 1, 510, 9]]}, "object 2: it covers no pixel"),
        ({"image_id": 0, "segmentation": [["x", 1, 510, 1, 510, 9]]}, "annotation 101"),
    ],
)
def test_a_bad_coco_object_is_told_and_left_out(tmp_path: Path, annotation: dict[str, Any], says: str) -> None:
    file = coco(tmp_path, [{"image_id": 0, "segmentation": [SQUARE]}, annotation])
    state = imported(file, tmp_path / "out")
    assert (state.pictures, state.objects, len(state.problems)) == (1, 1, 1)
    assert says in state.problems[0]
    with pytest.raises(DataError) as refused:
        imported(file, tmp_path / "strict", strict=True)
    assert says in refused.value.message


def test_missing_and_broken_pictures_are_told(tmp_path: Path) -> None:
    rows = [{"image_id": i, "segmentation": [SQUARE]} for i in range(4)]
    file = coco(tmp_path, rows, ("a.png", "gone.png", "broken.png", "small.png"))
    (tmp_path / "images" / "gone.png").unlink()
    (tmp_path / "images" / "broken.png").write_bytes(b"broken")
    Image.fromarray(picture(0)[0][:50]).save(tmp_path / "images" / "small.png")
    state = imported(file, tmp_path / "out")
    assert state.pictures == 1
    for says in ("no picture gone.png", "broken.png is not a picture", f"annotated as {WIDTH} x {HEIGHT}"):
        assert sum(says in problem for problem in state.problems) == 1
    assert len(state.problems) == 3


def test_pictures_where_cocos_archives_put_them(tmp_path: Path) -> None:
    save_picture(tmp_path / "val2017" / "7.jpg")
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    file.write_text(
        json.dumps({"images": [{"id": 1, "file_name": "7.jpg", "height": 9, "width": 9}], "annotations": []})
    )
    pictures, problems = find_coco(file)
    assert [p.image for p in pictures] == [tmp_path / "val2017" / "7.jpg"]
    assert problems == []


def test_names_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    save_picture(tmp_path / "secret.png")
    file = coco(tmp_path / "set", [], ("a.png",))
    raw = json.loads(file.read_text())
    raw["images"] += [
        {**raw["images"][0], "id": 5 + i, "file_name": n} for i, n in enumerate(("../secret.png", "", "."))
    ]
    raw["images"].append({**raw["images"][0], "id": 9, "file_name": str(tmp_path / "secret.png")})
    file.write_text(json.dumps(raw))
    pictures, problems = find_coco(file, tmp_path / "set" / "images")
    assert [p.stem for p in pictures] == ["a"]
    assert len(problems) == 4


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"images": [], "annotations": 3}', '{"images": [{}], "annotations": []}']
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"expected .* found"):
        find_coco(file)


def yolo(folder: Path, lines: dict[str, str]) -> Path:
    for name, text in lines.items():
        save_picture(folder / "images" / f"{name}.png")
        file = folder / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def line(*corners: float) -> str:
    return "0 " + " ".join(f"{v / (WIDTH, HEIGHT)[i % 2]:.6f}" for i, v in enumerate(corners)) + "\n"


def test_yolo_polygons(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE) + "\n" + line(60, 60, 80, 60, 80, 80, 60, 80), "empty": ""})
    save_picture(source / "images" / "unlabelled.png")
    state = imported(source, tmp_path / "out")
    assert (state.pictures, state.objects, state.without_objects, state.problems) == (1, 2, 2, [])
    (pair,) = find_pairs(tmp_path / "out")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[BOX] = expected[60:80, 60:80] = True
    np.testing.assert_array_equal(read_mask(pair.mask), expected)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("0 0.5 0.5 0.2 0.2\n", "labels/a.txt, line 2: four numbers are a box"),
        ("0 0.1 0.1 1.2 0.1 0.3 0.3\n", "coordinates from 0.1 to 1.2"),
        ("0 -0.1 0.1 0.2 0.1 0.3 0.3\n", "coordinates from -0.1 to"),
        ("0 0.1 0.1 0.2\n", "expected pairs"),
        ("0 0.1 0.1 x 0.1 0.3 0.3\n", "could not convert"),
        ("0 0.1 0.1 nan 0.1 0.3 0.3\n", "not finite"),
        ("0\n", "a polygon of 0 corners"),
    ],
)
def test_a_bad_yolo_line_is_told_and_left_out(tmp_path: Path, bad: str, says: str) -> None:
    state = imported(yolo(tmp_path / "set", {"a": line(*SQUARE) + bad}), tmp_path / "out")
    assert (state.pictures, state.objects, len(state.problems)) == (1, 1, 1)
    assert says in state.problems[0]


def test_yolo_splits_and_labels_without_picture(tmp_path: Path) -> None:
    source = yolo(
        tmp_path / "set", {"train2017/a": line(*SQUARE), "val2017/b": line(*SQUARE), "extra/c": line(*SQUARE)}
    )
    (source / "labels" / "lonely.txt").write_text(line(*SQUARE))
    state = imported(source, tmp_path / "out")
    assert state.problems == [f"{source}/labels/lonely.txt: no picture"]
    assert [p.stem for p in find_pairs(tmp_path / "out")] == ["a", "b", "extra_c"]
    assert [p.stem for p in find_pairs(tmp_path / "out", "train")] == ["a"]
    assert [p.stem for p in find_pairs(tmp_path / "out", "val")] == ["b"]


def test_yolo_folders_of_splits(tmp_path: Path) -> None:
    yolo(tmp_path / "set" / "train", {"a": line(*SQUARE)})
    yolo(tmp_path / "set" / "valid", {"b": line(*SQUARE), "a": line(*SQUARE)})
    state = imported(tmp_path / "set", tmp_path / "out")
    assert [p.stem for p in find_pairs(tmp_path / "out", "val")] == ["b"]
    assert len(state.problems) == 1
    assert "a picture 'a' was there before" in state.problems[0]


@pytest.mark.parametrize(
    ("folders", "files"),
    [
        (("train", "valid"), ("train/_annotations.coco.json", "valid/_annotations.coco.json")),
        (
            ("train2017", "images/val2017"),
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ),
    ],
)
def test_coco_folders_of_splits(tmp_path: Path, folders: tuple[str, str], files: tuple[str, str]) -> None:
    for name, folder, file in zip("ab", folders, files, strict=True):
        written = coco(tmp_path / name, [{"image_id": 0, "segmentation": [SQUARE]}], names=(f"{name}.png",))
        for source, target in ((tmp_path / name / "images", folder), (written, file)):
            (tmp_path / "set" / target).parent.mkdir(parents=True, exist_ok=True)
            source.rename(tmp_path / "set" / target)
    state = imported(tmp_path / "set", tmp_path / "out")
    assert (state.pictures, state.problems) == (2, [])
    assert [p.stem for p in find_pairs(tmp_path / "out", "train")] == ["a"]
    assert [p.stem for p in find_pairs(tmp_path / "out", "val")] == ["b"]


def test_the_problems_of_a_split_name_its_file(tmp_path: Path) -> None:
    written = coco(tmp_path, [{"image_id": 0, "segmentation": [SQUARE]}, {"image_id": 7, "segmentation": [SQUARE]}])
    written.rename(tmp_path / "_annotations.coco.json")
    _, problems = find_annotated(tmp_path)
    assert problems == [f"{tmp_path}/_annotations.coco.json: annotation 101: unknown image id 7"]


def test_a_folder_with_one_json_is_read_by_it_and_with_two_by_none(tmp_path: Path) -> None:
    written = coco(tmp_path, [{"image_id": 0, "segmentation": [SQUARE]}])
    pictures, problems = find_annotated(written.parent)
    assert (len(pictures[0].shapes), problems) == (1, [])
    (written.parent / "other.json").write_text("{}")
    with pytest.raises(DataError, match="holds 2 JSON files"):
        find_annotated(written.parent)


def test_an_import_is_repeated_but_never_mixed(tmp_path: Path) -> None:
    first, second = (yolo(tmp_path / name, {"a": line(*SQUARE)}) for name in ("one", "two"))
    imported(first, tmp_path / "out")
    imported(first, tmp_path / "out")
    with pytest.raises(DataError, match="expected a new folder"):
        imported(second, tmp_path / "out")


def test_what_holds_no_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a COCO file, or a folder"):
        find_annotated(tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        find_yolo(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(DataError, match="expected pictures with objects"):
        imported(yolo(tmp_path / "set", {"a": ""}), tmp_path / "out")


def test_what_the_source_no_longer_has_goes_and_nothing_else(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"train/a": line(*SQUARE), "val/b": line(*SQUARE)})
    out = tmp_path / "out"
    assert imported(source, out).removed == 0
    (out / "ns.txt").write_text("b\n")
    save_picture(out / "images" / "mine.png")
    (source / "images" / "val" / "b.png").unlink()
    (source / "labels" / "val" / "b.txt").unlink()
    state = imported(source, out)
    assert (state.pictures, state.removed) == (1, 5)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    mine = [
        "images/mine.png",
        "imported.json",
        "masks/a.png",
        "masks_instance/a.png",
        "ns.txt",
        "objects/a.json",
        "train.txt",
    ]
    assert found == ["images/a.png", *mine]


def test_an_import_that_fails_removes_nothing(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE), "b": line(*SQUARE)})
    out = tmp_path / "out"
    imported(source, out)
    (source / "labels" / "b.txt").write_text("0 0.1\n")
    with pytest.raises(DataError):
        imported(source, out, strict=True)
    assert [pair.stem for pair in find_pairs(out)] == ["a", "b"]
    imported(source, out)
    assert [pair.stem for pair in find_pairs(out)] == ["a"]


@pytest.mark.parametrize("stop", ["strict", "early"])
def test_what_a_stopped_import_did_not_write_is_never_removed(tmp_path: Path, stop: str) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE), "b": "0 0.1\n" * (stop == "strict"), "e": ""})
    out = tmp_path / "out"
    if stop == "strict":
        with pytest.raises(DataError):
            imported(source, out, strict=True)
    else:
        next(convert(source, out))
    assert (out / "masks" / "a.png").is_file() == (stop == "early")
    for folder in ("images", "masks"):
        save_picture(out / folder / "e.png")
    assert imported(source, out).removed == 0
    assert [pair.stem for pair in find_pairs(out)] == ["a", "e"]


def test_what_a_stopped_import_wrote_goes_once_the_source_has_it_no_more(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE), "b": line(*SQUARE)})
    out = tmp_path / "out"
    next(convert(source, out))
    (source / "images" / "a.png").unlink()
    (source / "labels" / "a.txt").unlink()
    with (out / CLAIMS).open("a") as file:
        file.write('["images/mine')  # killed while it wrote the line
    assert imported(source, out).removed == 4
    assert [pair.stem for pair in find_pairs(out)] == ["b"]
    assert not (out / CLAIMS).exists()


def test_an_import_that_was_killed_at_its_first_write_goes_on(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE)})
    out = tmp_path / "out"
    out.mkdir()
    parts = [out / ".imported.json.1234.part", out / "images" / ".a.png.1234.part"]
    parts[0].touch()
    imported(source, out)
    parts[1].touch()
    imported(source, out)
    assert not any(part.exists() for part in parts)
    assert [pair.stem for pair in find_pairs(out)] == ["a"]


def test_a_picture_that_cannot_be_read_now_keeps_what_was_imported(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE), "b": line(*SQUARE)})
    out = tmp_path / "out"
    imported(source, out)
    (source / "images" / "b.png").unlink()  # another file: the set may hold a link to this one
    (source / "images" / "b.png").write_bytes(b"no picture")
    state = imported(source, out)
    assert (state.pictures, state.removed, len(state.problems)) == (1, 0, 1)
    assert [pair.stem for pair in find_pairs(out)] == ["a", "b"]


def test_a_marker_never_leads_out_of_the_set(tmp_path: Path) -> None:
    source = yolo(tmp_path / "set", {"a": line(*SQUARE)})
    out = tmp_path / "out"
    imported(source, out)
    (tmp_path / "secret.txt").write_text("")
    told = json.loads((out / "imported.json").read_text())
    (out / "imported.json").write_text(json.dumps({**told, "files": ["../secret.txt", "images/../../secret.txt", 3]}))
    with pytest.raises(DataError, match="expected a new folder"):
        imported(source, out)
    (out / "imported.json").write_text(json.dumps({**told, "files": ["../secret.txt", "images/../../secret.txt"]}))
    assert imported(source, out).removed == 0
    assert (tmp_path / "secret.txt").is_file()
