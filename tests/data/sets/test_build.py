"""Building a benchmark: what it writes, what it says is missing, and that a killed build goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_trees import CAMO, KVASIR, pack_tar, pack_zip, write_object, write_pairs, write_picture

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.data.sets import assemble as assembling
from vns_sam.data.sets.build import BuildReport, SplitReport, build_benchmark
from vns_sam.data.sets.catalog import Benchmark, find_benchmark
from vns_sam.data.sets.gather import gather
from vns_sam.errors import DataError, UsageError
from vns_sam.runs.lock import locked
from vns_sam.runs.memory import BYTES_A_PIXEL, Ceiling
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import Overlapped

SMALL = Benchmark("small", "camouflage", {"camo": {"train": 2, "test": 1}, "nc4k": {"test": 2}})


def write_small(root: Path) -> None:
    write_pairs(root / "TrainDataset/Imgs", root / "TrainDataset/GT", CAMO[:2])
    for name, stems in (("CAMO", CAMO[2:]), ("NC4K", ("1", "2"))):
        write_pairs(root / f"TestDataset/{name}/Imgs", root / f"TestDataset/{name}/GT", stems)


def split(report: BuildReport, dataset: str, name: str) -> SplitReport:
    return next(one for one in report.splits if (one.dataset, one.split) == (dataset, name))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_complete_build_in_the_house_layout(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_small(raw)
    told: list[tuple[int, int, str]] = []
    report = build_benchmark(SMALL, [raw], out, progress=lambda *now: told.append(now))
    assert report.complete
    assert (report.found, report.expected) == (5, 5)
    assert [pair.stem for pair in find_pairs(out / "camo", "train")] == list(CAMO[:2])
    assert [pair.stem for pair in find_pairs(out / "camo", "test")] == [CAMO[2]]
    assert len(find_pairs(out / "nc4k")) == 2
    linked = out / "camo/images" / f"{CAMO[0]}.jpg"
    assert os.path.samefile(linked, raw / "TrainDataset/Imgs" / linked.name)
    assert [done for done, _, _ in told] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in told} == {5}


def test_the_manifest_says_where_all_is_from(tmp_path: Path) -> None:
    write_small(tmp_path / "raw")
    build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["complete"] is True
    assert manifest["benchmark"] == "small"
    assert manifest["options"] == {"raw": [str(tmp_path / "raw")]}
    camo = manifest["sets"]["camo"]
    assert camo["home"].startswith("https://")
    assert "non-commercial" in camo["licence"]
    assert camo["splits"]["train"]["expected"] == camo["splits"]["train"]["found"] == 2
    assert camo["splits"]["train"]["sources"] == ["TrainDataset/Imgs"]
    entry = camo["files"][0]
    assert (entry["stem"], entry["split"], entry["image"]) == (CAMO[0], "train", f"images/{CAMO[0]}.jpg")
    for kind in ("image", "mask"):
        content = (tmp_path / "out/camo" / entry[kind]).read_bytes()
        assert entry[f"{kind}_sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("pack", [pack_zip, pack_tar])
def test_archives_give_the_same_as_folders(pack: object, tmp_path: Path) -> None:
    write_small(tmp_path / "source")
    (tmp_path / "raw").mkdir()
    suffix = ".zip" if pack is pack_zip else ".tar.gz"
    pack(tmp_path / "source", tmp_path / f"raw/stuff{suffix}")  # type: ignore[operator]
    assert build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "packed", mapper=Processes(2)).complete
    build_benchmark(SMALL, [tmp_path / "source"], tmp_path / "plain")
    names = files(tmp_path / "plain")
    assert files(tmp_path / "packed") == names
    for name in names:
        if name != "manifest.json":
            assert (tmp_path / "packed" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_partial_raw_folder_gives_a_partial_build_that_says_so(tmp_path: Path) -> None:
    write_pairs(tmp_path / "raw/NC4K/Imgs", tmp_path / "raw/NC4K/GT", ("1",))
    report = build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    assert not report.complete
    assert (split(report, "nc4k", "test").found, split(report, "nc4k", "test").expected) == (1, 2)
    assert split(report, "camo", "train").found == 0
    assert split(report, "camo", "train").sources == ()
    assert not (tmp_path / "out/camo").exists()
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["complete"] is False
    assert "SINet-V2" in manifest["sets"]["camo"]["get"]


def test_broken_pairs_are_named_skipped_and_counted(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    top = raw / "NC4K"
    write_pairs(top / "Imgs", top / "GT", ("ok", "cut", "small", "text"))
    write_picture(top / "Imgs/alone.jpg")
    write_object(top / "GT/small.png", (4, 8))
    (top / "Imgs/text.jpg").write_text("no picture")
    whole = (top / "Imgs/cut.jpg").read_bytes()
    (top / "Imgs/cut.jpg").write_bytes(whole[: len(whole) // 2])
    report = build_benchmark(SMALL, [raw], out)
    nc4k = split(report, "nc4k", "test")
    assert nc4k.found == 1
    assert [line.split(":")[0] for line in nc4k.broken] == ["alone", "cut", "small", "text"]
    assert "NC4K/GT/small.png is 4 x 8" in nc4k.broken[2]
    assert "NC4K/Imgs/cut.jpg" in nc4k.broken[1]
    assert files(out / "nc4k") == ["images/ok.jpg", "masks/ok.png", "test.txt"]
    assert json.loads((out / "manifest.json").read_text())["sets"]["nc4k"]["splits"]["test"]["broken"] == list(
        nc4k.broken
    )


def test_masks_of_other_kinds_become_png(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_pairs(raw / "NC4K/Imgs", raw / "NC4K/GT", ("1",), mask=".bmp")
    write_picture(raw / "NC4K/Imgs/2.JPG")
    write_object(raw / "NC4K/GT/2_mask.png")
    before = (raw / "NC4K/GT/1.bmp").read_bytes()
    build_benchmark(SMALL, [raw], out)
    assert files(out / "nc4k") == ["images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png", "test.txt"]
    with Image.open(out / "nc4k/masks/1.png") as mask:
        assert (mask.format, mask.mode) == ("PNG", "L")
        assert np.unique(np.asarray(mask)).tolist() == [0, 255]
    assert (raw / "NC4K/GT/1.bmp").read_bytes() == before
    assert (out / "nc4k/masks/2.png").read_bytes() == (raw / "NC4K/GT/2_mask.png").read_bytes()
    assert np.count_nonzero(read_mask(out / "nc4k/masks/1.png")) == 16


def test_a_killed_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_small(raw)
    read, calls = assembling.read_image, 0

    def die_at_the_third(path: Path) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(assembling, "read_image", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build_benchmark(SMALL, [raw], out)
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob(".*part"))
    calls = 10
    build_benchmark(SMALL, [raw], out)
    assert calls == 13, "the two pairs of the first run are not read again"
    build_benchmark(SMALL, [raw], tmp_path / "fresh")
    assert json.loads((out / "manifest.json").read_text()) == json.loads((tmp_path / "fresh/manifest.json").read_text())


@pytest.mark.parametrize("kind", [".jpg", ".bmp", ".tif", ".png"])
def test_a_build_from_a_tar_goes_on_with_what_is_there(kind: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_pairs(source / "NC4K/Imgs", source / "NC4K/GT", ("1", "2", "3"))
    for mask in (source / "NC4K/GT").iterdir():
        with Image.open(mask) as file:
            file.save(mask.with_suffix(kind))
        if kind != ".png":
            mask.unlink()
    (source / "NC4K/Imgs/3.jpg").write_bytes(b"no picture")
    (tmp_path / "raw").mkdir()
    pack_tar(source, tmp_path / "raw/stuff.tar.gz")
    first = build_benchmark(SMALL, [tmp_path / "raw"], out)
    assert first.found == 2
    assert build_benchmark(SMALL, [tmp_path / "raw"], out) == first
    for file in out.rglob("1.*"):
        file.unlink()
    assert build_benchmark(SMALL, [tmp_path / "raw"], out) == first
    for file in (source / "NC4K/GT").iterdir():
        file.write_bytes(b"no mask")
    pack_tar(source, tmp_path / "raw/stuff.tar.gz")
    assert build_benchmark(SMALL, [tmp_path / "raw"], out).found == 0
    assert not (out / "nc4k/test.txt").exists()


def test_a_cut_or_missing_file_is_made_again(tmp_path: Path) -> None:
    write_small(tmp_path / "source")
    (tmp_path / "raw").mkdir()
    pack_zip(tmp_path / "source", tmp_path / "raw/all.zip")
    out = tmp_path / "out"
    build_benchmark(SMALL, [tmp_path / "raw"], out)
    cut, gone = out / "nc4k/images/1.jpg", out / "nc4k/masks/2.png"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:20])
    gone.unlink()
    assert build_benchmark(SMALL, [tmp_path / "raw"], out).complete
    assert cut.read_bytes() == whole
    assert gone.is_file()


def test_a_second_build_in_the_same_folder_is_told(tmp_path: Path) -> None:
    write_small(tmp_path / "raw")
    with locked(tmp_path / "out", "data build"), pytest.raises(UsageError, match="another run at work"):
        build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    write_small(tmp_path / "raw")
    part = tmp_path / "out/nc4k/images/.1.jpg.123.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".*"))


def test_of_two_sources_the_more_complete_wins(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_pairs(raw / "old/NC4K/Imgs", raw / "old/NC4K/GT", ("1",))
    write_pairs(raw / "new/NC4K/Imgs", raw / "new/NC4K/GT", ("1", "2"))
    nc4k = split(build_benchmark(SMALL, [raw], tmp_path / "out"), "nc4k", "test")
    assert nc4k.sources == ("new/NC4K/Imgs",)
    assert nc4k.notes == ("new/NC4K/Imgs (2 pairs) is taken, old/NC4K/Imgs (1) passed over",)


def test_a_better_source_replaces_pictures_of_another_format(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_pairs(raw / "a/NC4K/Imgs", raw / "a/NC4K/GT", ("1",), ".png")
    build_benchmark(SMALL, [raw], out)
    write_pairs(raw / "b/NC4K/Imgs", raw / "b/NC4K/GT", ("1", "2"))
    build_benchmark(SMALL, [raw], out)
    assert files(out / "nc4k/images") == ["1.jpg", "2.jpg"]
    assert (raw / "a/NC4K/Imgs/1.png").is_file()


POLYPS = Benchmark("polyps", "polyps", {"kvasir_seg": {"train": 2, "test": 1}})


def test_a_set_without_its_split_stays_undivided(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_pairs(raw / "Kvasir-SEG/images", raw / "Kvasir-SEG/masks", KVASIR, mask=".jpg")
    report = build_benchmark(POLYPS, [raw], out)
    whole = split(report, "kvasir_seg", "unsplit")
    assert not report.complete
    assert (whole.found, whole.expected) == (3, 0)
    assert "nothing tells which" in whole.notes[0]
    assert (out / "kvasir_seg/unsplit.txt").is_file()
    assert not (out / "kvasir_seg/train.txt").exists()

    test = raw / "TestDataset/Kvasir"
    write_pairs(test / "images", test / "masks", KVASIR[:1], ".png")
    report = build_benchmark(POLYPS, [raw], out)
    assert report.complete
    assert "leave of the 3 pairs" in split(report, "kvasir_seg", "train").notes[0]
    assert [pair.stem for pair in find_pairs(out / "kvasir_seg", "train")] == list(KVASIR[1:])
    assert not (out / "kvasir_seg/unsplit.txt").exists()


def test_a_test_may_be_made_of_validation_and_test(tmp_path: Path) -> None:
    benchmark = Benchmark("thin", "thin", {"thin_dark": {"train": 1, "test": 2}})
    top = tmp_path / "raw/Thin-Dark"
    write_pairs(top / "images", top / "masks", ("a", "b", "c"))
    for name, stem in (("train", "a"), ("val", "b"), ("test", "c")):
        (top / f"{name}.txt").write_text(stem)
    assert build_benchmark(benchmark, [tmp_path / "raw"], tmp_path / "out").complete
    assert [pair.stem for pair in find_pairs(tmp_path / "out/thin_dark", "test")] == ["b", "c"]


def test_a_name_in_two_splits_stays_in_the_test(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_pairs(raw / "TrainDataset/Imgs", raw / "TrainDataset/GT", CAMO)
    write_pairs(raw / "TestDataset/CAMO/Imgs", raw / "TestDataset/CAMO/GT", CAMO[2:])
    report = build_benchmark(SMALL, [raw], tmp_path / "out")
    assert split(report, "camo", "train").found == 2
    assert "1 pairs left out" in split(report, "camo", "train").notes[0]
    assert split(report, "camo", "test").found == 1


def test_more_than_the_official_number_is_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "raw/NC4K/Imgs", tmp_path / "raw/NC4K/GT", range(3))
    nc4k = split(build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out"), "nc4k", "test")
    assert nc4k.complete
    assert "3 pairs are more than the official 2" in nc4k.notes[0]


def test_dis_dark_is_complete_with_what_dis_vd_has(tmp_path: Path) -> None:
    write_pairs(tmp_path / "raw/DIS-Dark/test/im", tmp_path / "raw/DIS-Dark/test/gt", ("a",))
    report = build_benchmark(find_benchmark("vns-seg"), [tmp_path / "raw"], tmp_path / "out")
    dark = split(report, "dis_dark", "test")
    assert (dark.expected, dark.enough, dark.found) == (480, 470, 1)


def test_a_list_that_cannot_be_read_is_told_and_the_rest_is_built(tmp_path: Path) -> None:
    write_small(tmp_path / "raw")
    write_pairs(tmp_path / "source/COIFT/im", tmp_path / "source/COIFT/gt", ("a", "b"))
    (tmp_path / "source/COIFT/list").mkdir()
    (tmp_path / "source/COIFT/list/test.txt").write_text("a and b" * 9)
    pack_zip(tmp_path / "source", tmp_path / "raw/thin.zip")
    content = (tmp_path / "raw/thin.zip").read_bytes()
    (tmp_path / "raw/thin.zip").write_bytes(content.replace(b"a and b" * 9, b"b and a" * 9))
    report = build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    assert report.complete
    (line,) = report.problems
    assert line.startswith("thin.zip/COIFT/list/test.txt cannot be read (Bad CRC-32")
    gathered = gather(tmp_path / "raw", tmp_path / "own")
    assert len(gathered.stems) == 5
    assert gathered.left_out == [f"thin.zip/COIFT/im: 2 pictures, since {line}"]


def test_hard_links_in_a_tar_are_files_and_other_links_are_told(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_small(source)
    for path in [path for path in source.rglob("*") if path.is_file()]:
        os.link(path, source / f"first{len(list(source.iterdir()))}.bin")  # stored first, and the pictures as links
    link = source / "TestDataset/NC4K/Imgs/3.jpg"
    link.symlink_to("1.jpg")
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "raw/stuff.tar.gz", "w:gz") as packed:
        for path in sorted(source.glob("first*")):
            packed.add(path, arcname=f"./{path.name}")
        packed.add(source / "TrainDataset", arcname="./TrainDataset")
        packed.add(source / "TestDataset", arcname="./TestDataset")
        assert sum(info.islnk() for info in packed.getmembers()) == 10
    report = build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out", mapper=Processes(2))
    assert report.complete
    assert build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out") == report
    (line,) = report.problems
    assert line.startswith("stuff.tar.gz/TestDataset/NC4K/Imgs/3.jpg: unpack the archive yourself")


def test_other_sets_strangers_and_foreign_archives_are_told(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_small(raw)
    write_pairs(raw / "DIS5K/DIS-TR/im", raw / "DIS5K/DIS-TR/gt", ("a",))
    write_pairs(raw / "frogs/images", raw / "frogs/masks", ("a",))
    (raw / "NC4K.rar").write_bytes(b"Rar!")
    (raw / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(raw / "outer.zip", "w") as outer:
        outer.writestr("inner.zip", b"")
    report = build_benchmark(SMALL, [raw], tmp_path / "out")
    assert report.also_found == ("dis5k",)
    assert report.strangers == ("frogs/images: 1 pairs of no set in the catalog",)
    assert "unpack" in report.problems[0]
    assert report.problems[1].startswith("cut.zip: expected an archive")
    assert report.problems[2].startswith("outer.zip/inner.zip: unpack the outer archive")


def test_members_that_lead_out_of_an_archive_are_not_touched(tmp_path: Path) -> None:
    write_small(tmp_path / "source")
    pack_zip(tmp_path / "source", tmp_path / "all.zip")
    (tmp_path / "raw").mkdir()
    shutil.move(tmp_path / "all.zip", tmp_path / "raw/all.zip")
    with zipfile.ZipFile(tmp_path / "raw/all.zip", "a") as archive:
        for name in ("../../NC4K/Imgs/evil.jpg", "/NC4K/GT/evil.png", "__MACOSX/NC4K/Imgs/._1.jpg"):
            archive.writestr(name, b"evil")
    report = build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    assert report.complete
    assert report.strangers == ()
    assert not list(tmp_path.rglob("evil*"))


def test_nothing_known_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    write_pairs(tmp_path / "raw/frogs/images", tmp_path / "raw/frogs/masks", ("a",))
    with pytest.raises(DataError, match="recognised none; found frogs/images: 1 pairs"):
        build_benchmark(SMALL, [tmp_path / "raw"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="expected a folder"):
        build_benchmark(SMALL, [tmp_path / "absent"], tmp_path / "out")


def test_an_output_inside_the_raw_folder_is_no_source(tmp_path: Path) -> None:
    write_small(tmp_path)
    build_benchmark(SMALL, [tmp_path], tmp_path / "built")
    report = build_benchmark(SMALL, [tmp_path], tmp_path / "built")
    assert split(report, "nc4k", "test").notes == ()


@pytest.mark.parametrize(("orientation", "inside"), [(1, (6, 6)), (6, (6, 1))], ids=["upright", "turned by EXIF"])
def test_lis_gets_its_objects_one_by_one(tmp_path: Path, orientation: int, inside: tuple[int, int]) -> None:
    raw, out = tmp_path / "raw/LIS", tmp_path / "out"
    write_picture(raw / "RGB-dark/JPEGImages/2.JPG")
    with Image.open(raw / "RGB-dark/JPEGImages/2.JPG") as picture:
        exif = picture.getexif()
        exif[0x0112] = orientation
        picture.copy().save(raw / "RGB-dark/JPEGImages/2.JPG", "JPEG", exif=exif)
    squares = [[[0, 0, 4, 0, 4, 4, 0, 4]], [[5, 5, 8, 5, 8, 8, 5, 8]]]
    annotations = [{"image_id": 2, "segmentation": square} for square in squares]
    coco = {"images": [{"id": 2, "file_name": "2.JPG", "height": 8, "width": 8}], "annotations": annotations}
    (raw / "annotations").mkdir()
    (raw / "annotations/lis_coco_JPG_test+1.json").write_text(json.dumps(coco))
    benchmark = Benchmark("dark", "dark", {"lis": {"test": 1}})
    assert build_benchmark(benchmark, [raw], out).complete
    pair = find_pairs(out / "lis", "test")[0]
    assert pair.instances is not None
    with Image.open(pair.instances) as ids:
        assert np.unique(np.asarray(ids)).tolist() == [0, 1, 2]
    assert read_mask(pair.mask)[inside]
    assert read_mask(pair.mask).sum() == 4 * 4 + 3 * 3


@pytest.mark.parametrize("packed", [False, True])
def test_a_picture_above_the_ceiling_is_told_and_the_others_are_built(packed: bool, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_small(raw)
    folder = raw / "TestDataset/NC4K"
    write_picture(folder / "Imgs/2.jpg", (64, 96))
    write_object(folder / "GT/2.png", (64, 96))
    if packed:
        pack_zip(raw / "TestDataset", raw / "TestDataset.zip")
        shutil.rmtree(raw / "TestDataset")
    ceiling = Ceiling(64 * 96 * BYTES_A_PIXEL - 1, firm=True)
    report = build_benchmark(SMALL, [raw], out, mapper=Overlapped(ceiling))
    assert report.found == 4
    (line,) = split(report, "nc4k", "test").broken
    assert line.startswith("2: it takes about")
    assert build_benchmark(SMALL, [raw], out, mapper=Overlapped(Ceiling(64 * 96 * BYTES_A_PIXEL, firm=True))).complete


def test_a_corrected_annotation_file_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, out = tmp_path / "raw/LIS", tmp_path / "out"
    write_picture(raw / "RGB-dark/JPEGImages/2.JPG")
    (raw / "annotations").mkdir()
    lis = Benchmark("lis", "", {"lis": {"test": 1}})

    def build(side: int) -> int:
        told = {"images": [{"id": 2, "file_name": "2.JPG", "height": 8, "width": 8}]}
        square = [0, 0, side, 0, side, side, 0, side]
        told["annotations"] = [{"image_id": 2, "segmentation": [square]}]
        (raw / "annotations/lis_coco_JPG_test+1.json").write_text(json.dumps(told))
        assert build_benchmark(lis, [raw], out).found == 1
        with Image.open(out / "lis/masks_instance/2.png") as ids:
            assert np.count_nonzero(np.asarray(ids)) == side * side
        return int(read_mask(out / "lis/masks/2.png").sum())

    assert build(2) == 4
    assert build(3) == 9
    monkeypatch.setattr(assembling, "draw_objects", None)  # what has not changed is not drawn again
    assert build(3) == 9


@pytest.mark.parametrize("pack", [None, pack_zip, pack_tar])
def test_a_corrected_mask_of_another_kind_is_converted_again(pack: object, tmp_path: Path) -> None:
    source, raw, out = tmp_path / "source", tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    write_pairs(source / "NC4K/Imgs", source / "NC4K/GT", ("1",), mask=".bmp")

    def build() -> int:
        if pack is None:
            shutil.copytree(source, raw, dirs_exist_ok=True)
        else:
            pack(source, raw / ("a.zip" if pack is pack_zip else "a.tar.gz"))  # type: ignore[operator]
        assert build_benchmark(SMALL, [raw], out).found == 1
        return int(read_mask(out / "nc4k/masks/1.png").sum())

    assert build() == 16
    with Image.open(source / "NC4K/GT/1.bmp") as mask:
        values = np.full_like(np.asarray(mask), 255)
    Image.fromarray(values if pack is not pack_tar else np.dstack([values] * 3)).save(source / "NC4K/GT/1.bmp")
    assert build() == values.size
