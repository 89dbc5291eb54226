from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from workshop import write_disks

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.data.sets.gather import fingerprint, gather
from vns_sam.errors import DataError


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks", 4)


def truths(folder: Path) -> dict[str, int]:
    return {pair.stem: int(read_mask(pair.mask).sum()) for pair in find_pairs(folder)}


def test_the_house_layout_comes_with_objects_and_lists_and_stays_as_it_is(disks: Path, tmp_path: Path) -> None:
    (disks / "masks_instance").mkdir()
    cv2.imwrite(str(disks / "masks_instance" / "000.png"), np.ones((48, 64), np.uint8))
    (disks / "train.txt").write_text("000\n001.png\n")
    (disks / "images" / "004.png").write_bytes((disks / "images" / "003.png").read_bytes())
    before = fingerprint(disks, tmp_path)
    found = gather(disks, tmp_path / "out")
    assert found.stems == ["000", "001", "002", "003"]
    assert found.lists == {"train": ["000", "001"]}
    assert found.left_out == [f"expected a mask in {disks / 'masks'} for '004', found none"]
    assert truths(tmp_path / "out") == {stem: count for stem, count in truths_of(disks).items()}
    assert (tmp_path / "out" / "masks_instance" / "000.png").is_file()
    assert fingerprint(disks, tmp_path) == before


def truths_of(disks: Path) -> dict[str, int]:
    return {path.stem: int((cv2.imread(str(path), 0) > 127).sum()) for path in sorted((disks / "masks").iterdir())}


def test_links_that_lead_upwards_are_entered_once(disks: Path, tmp_path: Path) -> None:
    before = fingerprint(disks, tmp_path)
    for name in ("images", "masks"):
        (disks / name / "up").symlink_to("..")
    (disks / "deep").mkdir()
    (disks / "deep" / "up").symlink_to("..")
    assert fingerprint(disks, tmp_path) == before
    (disks / "deep" / "new.png").touch()
    assert fingerprint(disks, tmp_path) != before


def test_a_corrected_mask_takes_the_place_of_the_one_before(disks: Path, tmp_path: Path) -> None:
    gather(disks, tmp_path / "out")
    before = fingerprint(disks, tmp_path)
    (disks / "masks" / "000.png").unlink()
    cv2.imwrite(str(disks / "masks" / "000.png"), np.full((48, 64), 255, np.uint8))
    gather(disks, tmp_path / "out")
    assert truths(tmp_path / "out")["000"] == 48 * 64
    assert fingerprint(disks, tmp_path) != before


@pytest.mark.parametrize("layout", ["", "train"])
def test_what_the_source_no_longer_has_does_not_stay(layout: str, disks: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    inner, out = source / layout, tmp_path / "out"
    inner.parent.mkdir(exist_ok=True)
    disks.rename(inner)
    (inner / "masks_instance").mkdir()
    for number in range(3):
        mask = inner / "masks" / f"00{number}.png"
        cv2.imwrite(str(mask.with_suffix(".jpg")), cv2.imread(str(mask)))
        mask.rename(inner / "masks_instance" / mask.name)
    assert len(gather(source, out).stems) == 4
    for number in range(3):  # as the doctor mends it
        (inner / "masks" / f"00{number}.jpg").unlink()
        (inner / "masks_instance" / f"00{number}.png").rename(inner / "masks" / f"00{number}.png")
    (inner / "masks_instance").rmdir()
    for folder in ("images", "masks"):
        (inner / folder / "003.png").unlink()
    assert sorted(gather(source, out).stems) == ["000", "001", "002"]
    assert [pair.stem for pair in find_pairs(out)] == ["000", "001", "002"]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["images", "masks"]


def test_a_folder_that_became_annotations_is_gathered_again(disks: Path, tmp_path: Path) -> None:
    gather(disks, tmp_path / "out")
    content = {
        "images": [{"id": 1, "file_name": "001.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]}],
        "categories": [{"id": 1, "name": "disk"}],
    }
    (disks / "masks").rename(tmp_path / "masks")
    (disks / "annotations.json").write_text(json.dumps(content))
    assert gather(disks, tmp_path / "out").stems == ["001"]
    assert truths(tmp_path / "out") == {"001": 200}
    (disks / "annotations.json").rename(disks / "corrected.json")
    assert gather(disks, tmp_path / "out").stems == ["001"]
    (tmp_path / "masks").rename(disks / "masks")
    assert gather(disks, tmp_path / "out").stems == ["000", "001", "002", "003"]
    assert truths(tmp_path / "out") == truths_of(disks)


@pytest.mark.parametrize("names", [("Imgs", "GT"), ("pictures/Image", "pictures/GT_Object"), ("a", "a")])
def test_other_layouts(disks: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    images, masks = (tmp_path / "raw" / name for name in names)
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((disks / "images").iterdir()):
        cv2.imwrite(str(images / f"{path.stem}.jpg"), cv2.imread(str(path)))
        (masks / path.name).write_bytes((disks / "masks" / path.name).read_bytes())
    found = gather(tmp_path / "raw", tmp_path / "out")
    assert sorted(found.stems) == ["000", "001", "002", "003"]
    assert truths(tmp_path / "out") == truths_of(disks)


def test_folders_of_splits_become_lists_and_stems_that_two_share_are_told_apart(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "test")):
        write_disks(tmp_path / "raw" / split, 3, seed)
    found = gather(tmp_path / "raw", tmp_path / "out")
    assert len(set(found.stems)) == 6
    assert {split: len(stems) for split, stems in found.lists.items()} == {"train": 3, "test": 3}
    assert len(find_pairs(tmp_path / "out")) == 6


def test_a_coco_file_is_drawn(disks: Path, tmp_path: Path) -> None:
    square = [10, 10, 30, 10, 30, 20, 10, 20]
    content = {
        "images": [{"id": 1, "file_name": "001.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square], "bbox": [10, 10, 20, 10]}],
        "categories": [{"id": 1, "name": "disk"}],
    }
    for path in (disks / "masks").iterdir():
        path.unlink()
    (disks / "masks").rmdir()
    (disks / "annotations.json").write_text(json.dumps(content))
    for _ in range(2):
        found = gather(disks, tmp_path / "out")
        assert found.stems == ["001"]
        assert truths(tmp_path / "out") == {"001": 200}
    (disks / "more.json").write_text("{}")
    with pytest.raises(DataError, match="2 JSON files"):
        gather(disks, tmp_path / "other")


def test_coco_files_of_splits_bring_their_lists(disks: Path, tmp_path: Path) -> None:
    square = [10, 10, 30, 10, 30, 20, 10, 20]
    for number, split in enumerate(("train", "valid"), start=1):
        name = f"00{number}.png"
        (tmp_path / "raw" / split).mkdir(parents=True)
        (disks / "images" / name).rename(tmp_path / "raw" / split / name)
        content = {
            "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}],
            "categories": [{"id": 1, "name": "disk"}],
        }
        (tmp_path / "raw" / split / "_annotations.coco.json").write_text(json.dumps(content))
    found = gather(tmp_path / "raw", tmp_path / "out")
    assert found.lists == {"train": ["001"], "val": ["002"]}
    assert truths(tmp_path / "out") == {"001": 200, "002": 200}


def test_a_yolo_folder_brings_its_splits(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for split in ("train", "val"):
        folder = raw / split
        write_disks(folder, 2)
        (folder / "labels").mkdir()
        for stem in ("000", "001"):
            (folder / "labels" / f"{stem}.txt").write_text("0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    for path in raw.glob("val/*/*"):
        path.rename(path.with_name(f"v{path.name}"))
    for mask in raw.glob("*/masks/*"):
        mask.unlink()
    found = gather(raw, tmp_path / "out")
    assert {split: sorted(stems) for split, stems in found.lists.items()} == {
        "train": ["000", "001"],
        "val": ["v000", "v001"],
    }
    assert set(truths(tmp_path / "out").values()) == {32 * 24}


def test_what_holds_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        gather(tmp_path / "absent", tmp_path / "out")
    (tmp_path / "raw").mkdir()
    cv2.imwrite(str(tmp_path / "raw" / "a.jpg"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"recognised none; \.: 1 pictures without masks"):
        gather(tmp_path / "raw", tmp_path / "out")


@pytest.mark.parametrize("names", [("images", "masks"), ("pictures/Image", "pictures/GT_Object")])
def test_a_list_of_objects_keeps_its_pictures_apart(disks: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    raw = tmp_path / "raw"
    for old, new in zip(("images", "masks"), names, strict=True):
        (raw / new).parent.mkdir(parents=True, exist_ok=True)
        (disks / old).rename(raw / new)
    ((raw / names[0]).parent / "test.txt").write_text("000#1\n000#2\n001\n")
    lists = gather(raw, tmp_path / "out").lists
    assert {split: sorted(stems) for split, stems in lists.items()} == {"test": ["000", "001"]}
