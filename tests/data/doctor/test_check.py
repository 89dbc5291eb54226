"""The dataset doctor: silent on sound sets, and a finding by name for each thing that is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from frogs import HEIGHT, WIDTH, picture, write_set
from PIL import Image

from vns_sam.data.doctor.alignment import find_misfit
from vns_sam.data.doctor.check import Report, check, find_sets
from vns_sam.data.doctor.findings import KINDS, Severity
from vns_sam.data.doctor.repair import repair
from vns_sam.errors import DataError


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.code, finding.file) for finding in report.findings}


def save(values: np.ndarray, path: Path, mode: str | None = None, **options: object) -> None:
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)


def mask_values(root: Path, stem: str = "1") -> np.ndarray:
    return np.asarray(Image.open(root / "masks" / f"{stem}.png"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "frogs", 4)


def test_a_sound_set_has_no_findings(root: Path) -> None:
    (root / "train.txt").write_text("0\n1\n")
    (root / "test.txt").write_text("2.png\n3\n")
    report = check([root], flips=True)
    assert report.findings == ()
    assert report.sets == {str(root): 4}


def alpha_only(values: np.ndarray) -> np.ndarray:
    return np.dstack([np.full((*values.shape, 3), 255, np.uint8), values])


def many_colours(values: np.ndarray) -> np.ndarray:
    ramp = np.arange(values.size).reshape(values.shape) % 256
    return np.dstack([values, ramp, values // 3 * 2]).astype(np.uint8)


def two_labels(values: np.ndarray) -> np.ndarray:
    labels = values.copy()
    labels[:40][labels[:40] > 0] = 90
    return labels


@pytest.mark.parametrize(
    ("change", "code", "repairable"),
    [
        (lambda m: m // 255, "zero-one", True),
        (lambda m: (m > 0).astype(np.uint8) * 200, "off-white", True),
        (lambda m: (m > 0).astype(np.uint8) * 100, "faint-mask", False),
        (two_labels, "labels", False),
        (lambda m: cv2.GaussianBlur(m, (0, 0), 1), "soft-edges", True),
        (lambda m: cv2.GaussianBlur(m, (0, 0), 8), "soft-mask", True),
        (lambda m: np.dstack([m, m, m]), "colour-mask", True),
        (lambda m: np.dstack([m, m, m, np.full_like(m, 255)]), "colour-mask", True),
        (lambda m: np.dstack([m * 0, m, m * 0]), "colour-mask", True),
        (lambda m: np.dstack([m * 0, two_labels(m), m]), "labels", False),
        (many_colours, "colours", False),
        (alpha_only, "alpha-mask", True),
        (lambda m: m.astype(np.uint16) * 257, "deep-mask", True),
        (lambda m: (m > 0).astype(np.uint16) * 100, "faint-mask", False),
        (lambda m: m * 0, "empty", False),
        (lambda m: m * 0 + 255, "full", False),
        (lambda m: 255 - m, "inverted", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_of_masks(root: Path, change: Callable[[np.ndarray], np.ndarray], code: str, repairable: bool) -> None:
    save(change(mask_values(root)), root / "masks" / "1.png")
    finding, *notes = check([root]).findings
    assert {note.code for note in notes} <= {"colour-mask"}
    assert (finding.code, finding.file, finding.repairable) == (code, "masks/1.png", repairable)
    assert finding.dataset == str(root)


def test_a_lossy_mask(root: Path) -> None:
    save(mask_values(root), root / "masks" / "1.jpg", quality=60)
    (root / "masks" / "1.png").unlink()
    (finding,) = check([root]).findings
    assert (finding.code, finding.file) == ("lossy-mask", "masks/1.jpg")
    assert "% of the pixels are gray" in finding.text


def test_a_tiny_object(root: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[10:13, 10:15] = 255
    save(values, root / "masks" / "1.png")
    assert found(check([root])) == {("tiny", "masks/1.png")}


@pytest.mark.parametrize(
    ("size", "says", "repairable"),
    [
        ((HEIGHT, WIDTH), "transposed", False),
        ((WIDTH // 2, HEIGHT // 2), "resized", True),
        ((WIDTH, HEIGHT + 20), "another aspect", False),
    ],
)
def test_sizes(root: Path, size: tuple[int, int], says: str, repairable: bool) -> None:
    save(cv2.resize(mask_values(root), size, interpolation=cv2.INTER_NEAREST), root / "masks" / "1.png")
    (finding,) = check([root]).findings
    assert (finding.code, finding.file, finding.repairable) == ("size", "masks/1.png", repairable)
    assert says in finding.text
    assert f"{size[0]} x {size[1]}, its picture {WIDTH} x {HEIGHT}" in finding.text


def test_a_resized_mask_of_unclear_values_is_not_repairable(root: Path) -> None:
    small = two_labels(mask_values(root))[::2, ::2]
    save(small, root / "masks" / "1.png")
    findings = check([root]).findings
    assert [(f.code, f.repairable) for f in findings] == [("size", False), ("labels", False)]


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_a_picture_rotated_by_exif(root: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(picture(1)[0], root / "images" / f"1.{kind}", exif=exif)
    (root / "images" / "1.png").unlink()
    report = check([root])
    assert found(report) == {("exif", f"images/1.{kind}"), ("size", "masks/1.png")}
    assert f"stored as {WIDTH} x {HEIGHT}" in report.findings[-1].text + report.findings[0].text
    assert "before its EXIF rotation" in report.findings[0].text


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize("keep", [0, 200])
def test_damaged_files(root: Path, folder: str, keep: int) -> None:
    file = root / folder / "1.png"
    if folder == "masks":
        save(np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8) * 255, file)
    file.write_bytes(file.read_bytes()[:keep])
    (finding,) = check([root]).findings
    assert (finding.code, finding.file) == ("unreadable", f"{folder}/1.png")
    assert str(root) not in finding.text
    assert (finding.text == "0 bytes") == (keep == 0)


def test_a_flat_picture(root: Path) -> None:
    save(np.full((HEIGHT, WIDTH, 3), 3, np.uint8), root / "images" / "1.png")
    assert found(check([root])) == {("flat", "images/1.png")}


def test_names(root: Path) -> None:
    (root / "masks" / "0.png").unlink()
    (root / "images" / "1.png").unlink()
    (root / "images" / "2.png").rename(root / "images" / "Two.png")
    (root / "masks" / "2.png").rename(root / "masks" / "two.png")
    shutil.copy(root / "images" / "3.png", root / "images" / "3.bmp")
    (root / "images" / "notes.txt").write_text("no picture")
    assert found(check([root])) == {
        ("no-mask", "images/0.png"),
        ("no-picture", "masks/1.png"),
        ("case", "images/Two.png"),
        ("same-stem", "images/3.png"),
    }


def test_stems_that_differ_only_in_case(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder / "0.png").rename(root / folder / "frog.png")
        (root / folder / "1.png").rename(root / folder / "Frog.png")
    codes = {code for code, _ in found(check([root]))}
    assert codes == {"case-clash"}


def test_lists(root: Path) -> None:
    (root / "train.txt").write_text("0\n1\n1\nabsent\n")
    (root / "test.txt").write_text("1\n2\n")
    (root / "hard.txt").write_text("nothing here is judged\n")
    report = check([root])
    assert found(report) == {
        ("list-missing", "train.txt"),
        ("list-twice", "train.txt"),
        ("in-both-lists", "test.txt"),
        ("unlisted", "images/3.png"),
    }


def test_a_listed_stem_in_another_case_is_not_dropped(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder / "0.png").rename(root / folder / "frog.png")
    (root / "test.txt").write_text("Frog\n1\n2\n3\n")
    (finding,) = [f for f in check([root]).findings if f.code == "list-missing"]
    assert not finding.repairable
    assert "differs in case from 'frog'" in finding.text


def test_object_ids_and_ignored_pixels(root: Path) -> None:
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    ids[0:30, 0:30], ids[50, 50] = 300, 7
    for folder in ("masks_instance", "masks_ignore"):
        (root / folder).mkdir()
    save(ids, root / "masks_instance" / "0.png")
    save(ids[:50, :50], root / "masks_instance" / "1.png")
    save(many_colours(mask_values(root)), root / "masks_instance" / "2.png")
    save(mask_values(root)[:, 1:], root / "masks_ignore" / "0.png")
    assert found(check([root])) == {
        ("tiny", "masks_instance/0.png"),
        ("size", "masks_instance/1.png"),
        ("ids", "masks_instance/2.png"),
        ("size", "masks_ignore/0.png"),
    }
    assert not any(f.repairable for f in check([root]).findings)


def add(root: Path, stem: str, image: np.ndarray, mask: np.ndarray, suffix: str = ".jpg") -> None:
    save(image, root / "images" / f"{stem}{suffix}")
    save(mask.astype(np.uint8) * 255, root / "masks" / f"{stem}.png")


def test_duplicates_in_a_set(root: Path) -> None:
    image, mask = picture(0)
    add(root, "same", image, mask, ".png")
    add(root, "object2", image, np.roll(mask, 3, axis=1), ".png")
    shutil.copy(root / "images" / "0.png", root / "images" / "object2.png")
    add(root, "again", cv2.resize(picture(1)[0], (100, 75)), cv2.resize(picture(1)[1].astype(np.uint8), (100, 75)) > 0)
    codes = found(check([root]))
    assert codes == {
        ("duplicate", "images/same.png"),
        ("several-masks", "images/object2.png"),
        ("similar", "images/again.jpg"),
    }


@pytest.mark.parametrize(("exact", "code"), [(True, "leak"), (False, "near-leak")])
def test_a_leak_between_splits(root: Path, exact: bool, code: str) -> None:
    image, mask = picture(2)
    add(root, "twin", image, mask, ".png" if exact else ".jpg")
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "test.txt").write_text("3\ntwin\n")
    (finding,) = check([root]).findings
    assert finding.code == code
    assert "like frogs/images/2.png of train" in finding.text


def test_flipped_leaks_are_found_with_flips(root: Path) -> None:
    image, mask = picture(2)
    add(root, "twin", np.rot90(image).copy(), np.rot90(mask))
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "test.txt").write_text("3\ntwin\n")
    assert check([root]).findings == ()
    (finding,) = check([root], flips=True).findings
    assert finding.code == "near-leak"
    assert "rotated to the left" in finding.text


def test_pictures_that_sets_share(root: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "toads", 3, seed=100)
    image, mask = picture(1)
    add(other, "copy", image, mask)
    shutil.copy(root / "images" / "3.png", other / "images" / "1.png")
    report = check([root, other])
    assert {(f.code, f.dataset, f.file) for f in report.findings if f.code != "misaligned"} == {
        ("near-shared", str(other), "images/copy.jpg"),
        ("shared", str(other), "images/1.png"),
    }


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (lambda m: np.roll(m, (12, 16), axis=(0, 1)), "it fits -16 px to the right and -12 px down"),
        (lambda m: m[:, ::-1], "mirrored left to right"),
        (lambda m: m[::-1, ::-1], "rotated by 180 degrees"),
    ],
    ids=["shifted", "mirrored", "rotated"],
)
def test_misaligned_masks(move: Callable[[np.ndarray], np.ndarray], says: str) -> None:
    suspected = [find_misfit(image, move(mask)) for image, mask in map(picture, range(10))]
    texts = [misfit.text for misfit in suspected if misfit]
    assert len(texts) >= 8
    assert sum(says in text for text in texts) >= len(texts) // 2


def test_aligned_masks_and_objects_without_edges_are_not_suspected() -> None:
    assert [find_misfit(*picture(seed)) for seed in range(20)] == [None] * 20
    hidden = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert [find_misfit(hidden, picture(seed)[1]) for seed in range(20)] == [None] * 20


def test_workers_find_the_same(tmp_path: Path) -> None:
    root = write_set(tmp_path / "many", 16)
    save(mask_values(root) // 255, root / "masks" / "1.png")
    shutil.copy(root / "images" / "3.png", root / "images" / "9.png")
    seen = []
    alone = check([root], progress=lambda *step: seen.append(step))
    assert check([root], workers=2) == alone
    assert ("examine", 16, 16) in seen


def test_finding_sets(root: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "toads", 1)
    (tmp_path / "notes").mkdir()
    assert find_sets(root) == [root]
    assert find_sets(tmp_path) == [root, other]


def test_a_set_may_be_named_by_dots(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "images")
    assert check(find_sets("..")).sets == {str(root): 4}


def test_a_set_with_the_folders_of_dis5k_and_lists_apart(root: Path) -> None:
    save(mask_values(root) // 255, root / "masks" / "1.png")
    shutil.copy(root / "images" / "2.png", root / "images" / "3.png")
    (root / "masks" / "0.png").unlink()
    (root / "images").rename(root / "im")
    (root / "masks").rename(root / "gt")
    (root / "list").mkdir()
    (root / "list" / "train.txt").write_text("0\n1\n2\nabsent\n")
    (root / "list" / "test.txt").write_text("3\n")
    assert find_sets(root.parent) == [root]
    assert found(check([root])) == {
        ("no-mask", "im/0.png"),
        ("zero-one", "gt/1.png"),
        ("leak", "im/3.png"),
        ("list-missing", "list/train.txt"),
    }
    assert not any(action.error for action in repair(check([root]).findings))
    assert found(check([root])) == {("no-mask", "im/0.png"), ("leak", "im/3.png")}


def test_files_of_too_many_pixels_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert {code for code, _ in found(check([root]))} == {"unreadable"}


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no folder there"):
        find_sets(tmp_path / "absent")
    with pytest.raises(DataError, match="found none"):
        find_sets(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError) as refused:
        find_sets(tmp_path)
    assert "vns-sam data import" in refused.value.hint
    with pytest.raises(DataError, match="expected pictures"):
        check([write_set(tmp_path / "empty", 0)])


def test_findings_come_by_severity(root: Path) -> None:
    save(mask_values(root, "0") // 255, root / "masks" / "0.png")
    save(mask_values(root) * 0, root / "masks" / "1.png")
    (root / "masks" / "2.png").unlink()
    report = check([root])
    assert [f.severity for f in report.findings] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    assert report.to_json()["counts"] == {"no-mask": 1, "empty": 1, "zero-one": 1}
    order = [severity for severity, _ in KINDS.values()]
    assert order == sorted(order, key=list(Severity).index)


def test_a_list_of_objects_is_sound(root: Path) -> None:
    (root / "train.txt").write_text("3\n")
    (root / "test.txt").write_text("0#1\n0#2\n1\n2#2\n")
    assert check([root]).findings == ()
    (root / "train.txt").write_text("3\n2\n")
    (root / "test.txt").write_text("0#1\n0#1\n1\n2#2\n9#1\n")
    texts = {(finding.code, finding.text) for finding in check([root]).findings}
    assert texts == {
        ("list-missing", "'9#1' has no picture"),
        ("list-twice", "'0#1' 2 times"),
        ("in-both-lists", "'2' is in train.txt, too"),
    }
