"""Suites by name: where their sets are found, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import narrow_sam, write_disks

from vns_sam.data.sets.catalog import find_set
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.measure import PRECISION, Measure
from vns_sam.evaluation.papers import TABLES, find_table, locate
from vns_sam.evaluation.protocol import parse_protocols
from vns_sam.evaluation.suite import make_suite
from vns_sam.metrics.scoring import parse_metrics


def rename(folder: Path, images: str, masks: str) -> Path:
    (folder / "images").rename(folder / images)
    (folder / "masks").rename(folder / masks)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """DIS5K as downloaded, without DIS-TE4, beside the sets of HQSeg-44K."""
    for i, name in enumerate(("DIS-TR", "DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3")):
        rename(write_disks(tmp_path / "DIS5K" / name, 1 + i % 2, seed=i), "im", "gt")
    write_disks(tmp_path / "thin_object_detection" / "COIFT", 2)
    rename(write_disks(tmp_path / "thin_object_detection" / "HRSOD", 1), "images", "masks_max255")
    thin = write_disks(tmp_path / "thin_object_detection" / "ThinObject5K", 1)
    rename(thin, "images_test", "masks_test")
    return tmp_path


def test_sets_are_found_as_they_were_downloaded(root: Path) -> None:
    located = locate(find_table("dis5k"), [root])
    names = ["DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "COIFT", "HRSOD", "ThinObject5K"]
    assert list(located.folders) == names
    assert located.folders["DIS-TE2"] == str(root / "DIS5K" / "DIS-TE2")
    assert located.folders["ThinObject5K"].endswith("ThinObject5K@test")
    assert list(located.missing) == ["DIS-TE4"]
    assert "DIS5K" in located.missing["DIS-TE4"]
    assert list(located.groups) == ["DIS-VD and zero-shot"]
    suite = make_suite(located.folders, Measure(groups=located.groups))
    assert suite.sets == names
    assert len(suite.pairs) == 2 + 1 + 2 + 1 + 2 + 1 + 1


def test_sets_of_camouflage_polyps_and_glass_are_found_as_they_were_downloaded(tmp_path: Path) -> None:
    for name in ("CHAMELEON", "CAMO", "COD10K", "NC4K"):
        rename(write_disks(tmp_path / "TestDataset" / name, 1), "Imgs", "GT")
    for name in ("CVC-ColonDB", "ETIS-LaribPolypDB"):
        write_disks(tmp_path / "polyps" / name, 1)
    for split in ("train", "test"):
        rename(write_disks(tmp_path / "GDD" / split, 1), "image", "mask")
    located = locate(find_table("ws-sam"), [tmp_path])
    assert list(located.missing) == ["GSD"]
    assert list(located.groups) == ["camouflage", "polyps"]
    assert located.folders["ETIS"] == str(tmp_path / "polyps" / "ETIS-LaribPolypDB")
    assert located.folders["GDD"] == str(tmp_path / "GDD" / "test")
    assert len(make_suite(located.folders, Measure(prompts=("image",), groups=located.groups)).pairs) == 7


def test_sets_are_found_by_the_other_names_that_the_catalog_knows(tmp_path: Path) -> None:
    for name in ("Kvasir", "CVC-612", "ETIS-LaribPolypDB"):
        write_disks(tmp_path / name, 1)
    located = locate(find_table("vns-seg"), [tmp_path])
    assert {name: Path(place).name for name, place in located.folders.items()} == {
        "kvasir_seg": "Kvasir",
        "cvc_clinicdb": "CVC-612",
        "etis": "ETIS-LaribPolypDB",
    }
    assert "camo" in located.missing


def test_several_roots_and_sets_themselves(root: Path) -> None:
    zero_shot = find_table("zero-shot")
    folders = [root / "thin_object_detection" / name for name in ("COIFT", "HRSOD", "ThinObject5K")]
    assert list(locate(zero_shot, folders, strict=True).folders) == ["COIFT", "HRSOD", "ThinObject5K"]
    assert list(locate(zero_shot, folders[:1]).folders) == ["COIFT"]


def test_lists_of_one_folder_are_sets(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "dis5k", 3)
    for split, stem in (("val", "000"), ("te1", "002")):
        (folder / f"{split}.txt").write_text(stem)
    located = locate(find_table("dis5k"), [tmp_path])
    assert located.folders == {"DIS-VD": f"{folder}@val", "DIS-TE1": f"{folder}@te1"}
    suite = make_suite(located.folders)
    assert [(pair.dataset, pair.stem) for pair in suite.pairs] == [("DIS-VD", "000"), ("DIS-TE1", "002")]


def test_what_is_missing_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the set DIS-TE4 below") as error:
        locate(find_table("dis5k"), [root], strict=True)
    assert "xuebinqin" in error.value.hint
    with pytest.raises(DataError, match="expected the set camo and 10 more below"):
        locate(find_table("vns-seg"), [root])
    with pytest.raises(DataError, match="found no folder"):
        locate(find_table("dis5k"), [tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="unknown suite 'dis5'") as usage:
        find_table("dis5")
    assert "did you mean dis5k" in usage.value.hint


@pytest.mark.parametrize("name", TABLES)
def test_names_of_suites_exist(name: str) -> None:
    suite = TABLES[name]
    measure = suite.measure
    scored = set(measure.metrics) - {PRECISION}
    assert set(parse_metrics(scored)) == scored
    assert len(parse_protocols(measure.prompts)) == len(measure.prompts)
    for places in suite.sets.values():
        assert find_set(places[-1].partition("@")[0])
    assert all(set(members) <= set(suite.sets) for members in measure.groups.values())


def test_the_table_has_lines_for_sets_and_columns_for_metrics(root: Path, tmp_path: Path) -> None:
    named = find_table("dis5k")
    write_disks(root / "DIS5K" / "DIS-TE4", 1)
    located = locate(named, [root])
    suite = make_suite(located.folders, Measure(metrics=("hce", "mae"), groups=located.groups, by_metric=True, limit=1))
    runs = [suite.run(narrow_sam(seed), f"model {seed}", tmp_path / "out") for seed in (0, 1)]
    for run in runs:
        assert not [outcome.error for outcome in run if outcome.error]
    lines = suite.report(runs).to_markdown().splitlines()
    assert lines[:4] == ["**box**", "", "| set | model | hce | mae |", "|---|---|--:|--:|"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:] if line.startswith("|")]
    assert [row[0] for row in cells[::2]] == [
        "DIS-VD (1)",
        *(f"DIS-TE{i} (1)" for i in range(1, 5)),
        "DIS-TE (all) (4)",
        "COIFT (1)",
        "HRSOD (1)",
        "ThinObject5K (1)",
        "DIS-VD and zero-shot (4)",
    ]
    assert [row[1] for row in cells] == ["model 0", "model 1"] * 10
    first = {row[0]: float(row[2]) for row in cells[::2]}
    assert first["DIS-TE (all) (4)"] == pytest.approx(sum(first[f"DIS-TE{i} (1)"] for i in range(1, 5)) / 4, abs=0.1)
    kept = list((tmp_path / "out" / "skeletons").iterdir())
    assert 1 <= len(kept) <= 8  # one for each true mask, whichever model
