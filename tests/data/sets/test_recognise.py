"""Which set and which split a folder is, in the layouts of the authors' archives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raw_trees import CAMO, COD10K, KVASIR, pack_zip, write_object, write_pairs, write_picture

from vns_sam.data.sets import recognise as module
from vns_sam.data.sets.archives import open_raw
from vns_sam.data.sets.recognise import UNSPLIT, Recognition, recognise
from vns_sam.formats.annotation import Described, Shape
from vns_sam.formats.drawing import draw_objects
from vns_sam.formats.rle import number_objects
from vns_sam.types import cut_out


def look(root: Path) -> Recognition:
    return recognise(open_raw([root]).trees)


def stems(seen: Recognition) -> dict[tuple[str, str], set[str]]:
    return {(part.dataset, part.split): {pair.stem for pair in part.pairs} for part in seen.parts}


def cod_training(root: Path) -> None:
    write_pairs(root / "TrainDataset/Imgs", root / "TrainDataset/GT", (*CAMO, *COD10K))
    for stem in CAMO:
        write_object(root / f"TrainDataset/Edge/{stem}.png")


def cod_tests(root: Path) -> None:
    for name, names in (("CAMO", CAMO), ("COD10K", COD10K), ("NC4K", (1, 2)), ("CHAMELEON", ("animal-1",))):
        write_pairs(root / f"TestDataset/{name}/Imgs", root / f"TestDataset/{name}/GT", names)


def camo_archive(root: Path) -> None:
    top = root / "CAMO-V.1.0-CVIU2019"
    write_pairs(top / "Images/Train", top / "GT", CAMO[:2])
    write_pairs(top / "Images/Test", top / "GT", CAMO[2:])


def cod10k_archive(root: Path) -> None:
    for split, names in (("Train", COD10K[:1]), ("Test", COD10K[1:])):
        top = root / "COD10K-v3" / split
        write_pairs(top / "Image", top / "GT_Object", (*names, "COD10K-NonCAM-3-Flying-1"))
        write_object(top / f"GT_Instance/{names[0]}.png")


def polyp_training(root: Path) -> None:
    write_pairs(root / "TrainDataset/image", root / "TrainDataset/mask", (*KVASIR, 1, 20), ".png")


def polyp_tests(root: Path) -> None:
    for name, names in (("Kvasir", KVASIR), ("CVC-ClinicDB", (3,)), ("CVC-ColonDB", (1, 2)), ("CVC-300", (149,))):
        write_pairs(root / f"TestDataset/{name}/images", root / f"TestDataset/{name}/masks", names, ".png")
    write_pairs(root / "TestDataset/ETIS-LaribPolypDB/images", root / "TestDataset/ETIS-LaribPolypDB/masks", (7,))


def polyp_homes(root: Path) -> None:
    write_pairs(root / "Kvasir-SEG/images", root / "Kvasir-SEG/masks", KVASIR, mask=".jpg")
    write_pairs(root / "CVC-ClinicDB/Original", root / "CVC-ClinicDB/Ground Truth", (1, 2), ".tif", ".tif")


def dark_of_the_authors(root: Path) -> None:
    for split, stem in (("TR", "a"), ("VD", "b")):
        top = root / f"DIS5K/DIS-{split}-1536"
        write_pairs(top / "lowlight_im", top / "gt", (stem,), ".png")
    for split, stem in (("train", "c"), ("test", "d")):
        side = root / f"ThinObject5K_low/images_{split}"
        write_pairs(side, side, (stem,))
    write_pairs(root / "fss_all-low/fss_all-low", root / "fss_all-low/fss_all-low", ("e",))


def dark_of_ours(root: Path) -> None:
    for name, split, stem in (("DIS-Dark", "train", "a"), ("DIS-Dark", "test", "b"), ("Thin-Dark", "train", "c")):
        write_pairs(root / f"{name}/{split}/images", root / f"{name}/{split}/masks", (stem,))
    for name in ("ab_wheel", "zebra"):
        write_pairs(root / f"FSS-Dark/{name}", root / f"FSS-Dark/{name}", (1, 2))


def hq_parts(root: Path) -> None:
    for split, stem in (("TR", "a"), ("VD", "b"), ("TE3", "c")):
        write_pairs(root / f"DIS5K/DIS-{split}/im", root / f"DIS5K/DIS-{split}/gt", (stem,))
    write_pairs(root / "cascade_psp/DUTS-TR", root / "cascade_psp/DUTS-TR", ("d",))
    thin = root / "thin_object_detection"
    write_pairs(thin / "HRSOD/images", thin / "HRSOD/masks_max255", ("e",))
    write_pairs(thin / "ThinObject5K/images", thin / "ThinObject5K/masks", ("f", "g", "h"))
    for split, stem in (("train", "f"), ("val", "g"), ("test", "h")):
        path = thin / f"ThinObject5K/list/{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{stem}.jpg\n")


def test_numbered_pictures_of_two_sets_are_no_classes_of_one(tmp_path: Path) -> None:
    for name in ("ecssd", "MSRA_10K"):
        write_pairs(tmp_path / "raw/cascade_psp" / name, tmp_path / "raw/cascade_psp" / name, (1, 2))
    assert stems(look(tmp_path / "raw")) == {("ecssd", "train"): {"1", "2"}, ("msra10k", "train"): {"1", "2"}}


def defects(root: Path) -> None:
    for kind in ("Positive", "Negative"):
        write_pairs(root / f"CDS2K/{kind}/Image", root / f"CDS2K/{kind}/GroundTruth", (kind,))


def house(root: Path) -> None:
    write_pairs(root / "camo/images", root / "camo/masks", CAMO)
    (root / "camo/train.txt").write_text("\n".join(CAMO[:2]))
    (root / "camo/test.txt").write_text(CAMO[2])


LAYOUTS = [
    (cod_training, {("camo", "train"): set(CAMO), ("cod10k", "train"): set(COD10K)}),
    (
        cod_tests,
        {
            ("camo", "test"): set(CAMO),
            ("cod10k", "test"): set(COD10K),
            ("nc4k", "test"): {"1", "2"},
            ("chameleon", "test"): {"animal-1"},
        },
    ),
    (camo_archive, {("camo", "train"): set(CAMO[:2]), ("camo", "test"): set(CAMO[2:])}),
    (cod10k_archive, {("cod10k", "train"): set(COD10K[:1]), ("cod10k", "test"): set(COD10K[1:])}),
    (polyp_training, {("kvasir_seg", "train"): set(KVASIR), ("cvc_clinicdb", "train"): {"1", "20"}}),
    (
        polyp_tests,
        {
            ("kvasir_seg", "test"): set(KVASIR),
            ("cvc_clinicdb", "test"): {"3"},
            ("cvc_colondb", "test"): {"1", "2"},
            ("cvc_300", "test"): {"149"},
            ("etis", "test"): {"7"},
        },
    ),
    (polyp_homes, {("kvasir_seg", UNSPLIT): set(KVASIR), ("cvc_clinicdb", UNSPLIT): {"1", "2"}}),
    (
        dark_of_the_authors,
        {
            ("dis_dark", "train"): {"a"},
            ("dis_dark", "test"): {"b"},
            ("thin_dark", "train"): {"c"},
            ("thin_dark", "test"): {"d"},
            ("fss_dark", "train"): {"e"},
        },
    ),
    (
        dark_of_ours,
        {
            ("dis_dark", "train"): {"a"},
            ("dis_dark", "test"): {"b"},
            ("thin_dark", "train"): {"c"},
            ("fss_dark", "train"): {"ab_wheel_1", "ab_wheel_2", "zebra_1", "zebra_2"},
        },
    ),
    (
        hq_parts,
        {
            ("dis5k", "train"): {"a"},
            ("dis5k", "val"): {"b"},
            ("dis5k", "te3"): {"c"},
            ("duts_tr", "train"): {"d"},
            ("hrsod", "test"): {"e"},
            ("thinobject5k", "train"): {"f"},
            ("thinobject5k", "val"): {"g"},
            ("thinobject5k", "test"): {"h"},
        },
    ),
    (defects, {("cds2k", "test"): {"Positive"}}),
    (house, {("camo", "train"): set(CAMO[:2]), ("camo", "test"): set(CAMO[2:])}),
]


@pytest.mark.parametrize(("write", "expected"), LAYOUTS, ids=[write.__name__ for write, _ in LAYOUTS])
@pytest.mark.parametrize("form", ["folder", "nested", "zip"])
def test_layouts(
    write: Callable[[Path], None], expected: dict[tuple[str, str], set[str]], form: str, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    if form == "zip":
        write(tmp_path / "source")
        raw.mkdir()
        pack_zip(tmp_path / "source", raw / "download (1).zip")
    else:
        write(raw / ("my downloads/of today" if form == "nested" else ""))
    seen = look(raw)
    assert stems(seen) == expected
    assert len(seen.parts) == len(expected)
    assert seen.strangers == ()


def test_a_number_of_pictures_tells_a_set_without_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "stuff/images", tmp_path / "stuff/masks", range(62))
    assert stems(look(tmp_path)) == {("cvc_clinicdb", "test"): {str(i) for i in range(62)}}
    monkeypatch.setattr(module, "MIN_TELLING_COUNT", 63)
    assert stems(look(tmp_path)) == {}


def test_strangers_are_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "frogs/images", tmp_path / "frogs/masks", ("a", "b"))
    write_picture(tmp_path / "holiday/me.jpg")
    assert look(tmp_path).strangers == (
        "frogs/images: 2 pairs of no set in the catalog",
        "holiday: 1 pictures without masks",
    )


def test_pictures_and_masks_may_lie_in_different_archives(tmp_path: Path) -> None:
    raw, source = tmp_path / "raw/NC4K", tmp_path / "source"
    raw.mkdir(parents=True)
    write_pairs(source / "a/Imgs", source / "b/GT", (1, 2))
    pack_zip(source / "a", raw / "Imgs.zip")
    pack_zip(source / "b", raw / "GT.zip")
    assert stems(look(tmp_path / "raw")) == {("nc4k", "test"): {"1", "2"}}


def test_pieces_of_one_archive_are_one(tmp_path: Path) -> None:
    raw, source = tmp_path / "raw", tmp_path / "source"
    raw.mkdir()
    write_pairs(source / "a/NC4K/Imgs", source / "b/NC4K/GT", (1, 2))
    pack_zip(source / "a", raw / "drive-download-001.zip")
    pack_zip(source / "b", raw / "drive-download-002.zip")
    assert stems(look(raw)) == {("nc4k", "test"): {"1", "2"}}


def test_a_split_list_of_another_division_is_not_followed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "Kvasir-SEG/images", tmp_path / "Kvasir-SEG/masks", KVASIR)
    (tmp_path / "Kvasir-SEG/train.txt").write_text("\n".join(KVASIR[:2]))
    (tmp_path / "Kvasir-SEG/val.txt").write_text(KVASIR[2])
    assert stems(look(tmp_path)) == {("kvasir_seg", UNSPLIT): set(KVASIR)}


def test_lis_takes_its_masks_from_annotations_in_another_archive(tmp_path: Path) -> None:
    for name in ("2.JPG", "4.JPG", "6.JPG"):
        write_picture(tmp_path / f"raw/LIS/RGB-dark/JPEGImages/{name}")
    square = {"image_id": 1, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]], "iscrowd": 0}
    images = [{"id": i, "file_name": f"RGB-dark/{2 * i}.JPG", "height": 8, "width": 8} for i in (1, 2)]
    coco = {"images": images, "annotations": [square]}
    path = tmp_path / "notes/annotations/lis_coco_JPG_traintest+1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(coco))
    pack_zip(tmp_path / "notes", tmp_path / "raw/annotations.zip")
    seen = look(tmp_path / "raw")
    assert stems(seen) == {("lis", "test"): {"2"}}
    assert seen.parts[0].lonely == ("4", "6")
    path.unlink()
    (tmp_path / "raw/annotations.zip").unlink()
    assert "no annotations" in look(tmp_path / "raw").problems[0]


def test_objects_are_drawn_with_the_small_on_top() -> None:
    large = Shape(outline=(np.array([[0, 0], [8, 0], [8, 6], [0, 6]], float),))
    runs = Shape(outline={"size": [6, 8], "counts": [7, 2, 39]})
    packed = Shape(outline={"size": [6, 8], "counts": "72W1"})
    first, second = draw_objects(Described("a.jpg", (6, 8), (runs, large)))
    assert second.mask.all()
    ids = number_objects([cut_out(first.mask), cut_out(second.mask)], (6, 8))
    assert ids.shape == (6, 8)
    assert np.argwhere(ids == 1).tolist() == [[1, 1], [2, 1]]
    assert np.count_nonzero(ids == 2) == 46
    (alone,) = draw_objects(Described("a.jpg", (6, 8), (packed,)))
    assert np.array_equal(alone.mask, ids == 1)
