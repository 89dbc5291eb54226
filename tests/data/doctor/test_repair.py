"""``--fix``: readers see the same masks as before, originals are kept, and a second time there is nothing to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from frogs import HEIGHT, WIDTH, picture, write_set
from PIL import Image

from vns_sam.data.doctor.check import check
from vns_sam.data.doctor.repair import Action, repair
from vns_sam.data.pairs import read_mask


def mend(root: Path) -> list[Action]:
    return repair(check([root]).findings)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "frogs", 3)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def colour_palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8) * 3).convert("P")
    image.putdata((mask.astype(np.uint8) * 3).ravel().tolist())
    image.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 0, 90, 0])
    return image


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda m: Image.fromarray(m.astype(np.uint8)), "1.png"),
        (lambda m: Image.fromarray(m.astype(np.uint8) * 200), "1.png"),
        (lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGB"), "1.png"),
        (lambda m: Image.fromarray(m.astype(np.uint8) * 255).convert("RGBA"), "1.bmp"),
        (colour_palette, "1.png"),
        (lambda m: Image.fromarray(m.astype(np.uint8) * 255), "1.jpg"),
        (lambda m: Image.fromarray(cv2.GaussianBlur(m.astype(np.uint8) * 255, (0, 0), 3)), "1.png"),
        (lambda m: Image.fromarray(m.astype(np.uint16) * 65535), "1.png"),
    ],
    ids=["zero-one", "off-white", "rgb", "rgba", "palette", "jpeg", "soft", "16-bit"],
)
def test_masks_become_plain_and_read_as_before(
    root: Path, draw: Callable[[np.ndarray], Image.Image], name: str
) -> None:
    (root / "masks" / "1.png").unlink()
    file = root / "masks" / name
    draw(picture(1)[1]).save(file)
    before, original = read_mask(file), file.read_bytes()
    actions = mend(root)
    assert {action.error for action in actions} == {""}
    assert {action.result for action in actions} == {"masks/1.png"}
    assert sorted(path.name for path in (root / "masks").iterdir()) == ["0.png", "1.png", "2.png"]
    plain = Image.open(root / "masks" / "1.png")
    assert (plain.mode, set(np.unique(np.asarray(plain)).tolist())) == ("L", {0, 255})
    np.testing.assert_array_equal(read_mask(root / "masks" / "1.png"), before)
    assert {(root / action.original).read_bytes() for action in actions} == {original}
    after = contents(root)
    assert mend(root) == []
    assert contents(root) == after
    assert check([root]).findings == ()


def test_a_resized_mask_gets_the_size_of_its_picture(root: Path) -> None:
    small = picture(1)[1].astype(np.uint8)[::2, ::2]
    Image.fromarray(small).save(root / "masks" / "1.png")
    assert [action.finding.code for action in mend(root)] == ["size", "zero-one"]
    mask = read_mask(root / "masks" / "1.png")
    np.testing.assert_array_equal(mask, small.repeat(2, 0).repeat(2, 1) > 0)
    assert mask.shape == (HEIGHT, WIDTH)
    assert mend(root) == []


def test_lists_lose_what_is_missing_or_doubled(root: Path) -> None:
    (root / "train.txt").write_text("2\n0\nabsent\n2\n")
    (root / "test.txt").write_text("1\n")
    mend(root)
    assert (root / "train.txt").read_text() == "2\n0\n"
    assert (root / "test.txt").read_text() == "1\n"
    assert (root / ".doctor" / "originals" / "train.txt").read_text() == "2\n0\nabsent\n2\n"
    assert mend(root) == []


def test_a_list_of_another_set_is_left_alone(root: Path) -> None:
    (root / "train.txt").write_text("tree\nhouse\n")
    actions = mend(root)
    assert all("expected a stem with a picture" in action.error for action in actions)
    assert (root / "train.txt").read_text() == "tree\nhouse\n"


def test_what_is_not_safe_is_left_alone(root: Path) -> None:
    Image.fromarray(picture(0)[1].astype(np.uint8) * 90).save(root / "masks" / "0.png")
    (root / "images" / "1.png").unlink()
    (root / "masks" / "2.png").write_bytes(b"")
    before = contents(root)
    assert mend(root) == []
    assert contents(root) == before


LEVELS = (0, 80, 160, 255)
LABELS = np.repeat(np.array(LEVELS, np.uint8), HEIGHT * WIDTH // 4).reshape(HEIGHT, WIDTH)
DARK = LABELS // 3
IDS = (LABELS // 80).clip(0, 2)


def gray_palette(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    return image


def colours(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


@pytest.mark.parametrize(
    ("image", "name", "code"),
    [
        (Image.fromarray(LABELS), "1.png", "labels"),
        (Image.fromarray(LABELS).convert("RGB"), "1.png", "labels"),
        (Image.fromarray(DARK).convert("RGB"), "1.png", "faint-mask"),
        (gray_palette(LABELS), "1.png", "labels"),
        (gray_palette(DARK), "1.png", "faint-mask"),
        (Image.fromarray(IDS), "1.png", "labels"),
        (colours(IDS), "1.png", "labels"),
        (Image.fromarray(picture(1)[1].astype(np.uint8) * 80), "1.jpg", "faint-mask"),
    ],
    ids=["gray", "rgb", "rgb-dark", "gray-palette", "gray-palette-dark", "ids", "palette", "jpeg-dark"],
)
def test_what_would_lose_objects_is_left_alone(root: Path, image: Image.Image, name: str, code: str) -> None:
    (root / "masks" / "1.png").unlink()
    image.save(root / "masks" / name)
    findings = [finding for finding in check([root]).findings if finding.file == f"masks/{name}"]
    assert code in [finding.code for finding in findings]
    assert not any(finding.repairable for finding in findings)
    before = contents(root)
    assert mend(root) == []
    assert contents(root) == before


def test_the_log_names_each_repair(root: Path) -> None:
    Image.fromarray(picture(1)[1].astype(np.uint8)).save(root / "masks" / "1.png")
    (action,) = mend(root)
    (line,) = (root / ".doctor" / "log.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["finding"]["code"], logged["finding"]["file"]) == ("zero-one", "masks/1.png")
    assert (logged["result"], logged["original"]) == (action.result, ".doctor/originals/masks/1.png")


def test_a_second_original_does_not_replace_the_first(root: Path) -> None:
    kept = root / ".doctor" / "originals" / "masks"
    for value in (1, 200):
        Image.fromarray(picture(1)[1].astype(np.uint8) * value).save(root / "masks" / "1.png")
        mend(root)
    assert [int(np.asarray(Image.open(kept / name)).max()) for name in ("1.png", "1.1.png")] == [1, 200]


def test_a_run_that_was_stopped_is_finished(root: Path) -> None:
    mask = Image.fromarray(picture(1)[1].astype(np.uint8) * 255)
    mask.save(root / "masks" / "1.jpg")
    Image.fromarray(read_mask(root / "masks" / "1.jpg").astype(np.uint8) * 255).save(root / "masks" / "1.png")
    mend(root)
    assert not (root / "masks" / "1.jpg").exists()
    assert check([root]).findings == ()


def test_two_masks_of_one_stem_that_differ_both_stay(root: Path) -> None:
    Image.fromarray(picture(2)[1].astype(np.uint8) * 255).save(root / "masks" / "1.jpg")
    before = {path.name for path in (root / "masks").iterdir()}
    assert any("found another mask" in action.error for action in mend(root))
    assert {path.name for path in (root / "masks").iterdir()} == before


def test_lists_of_objects_keep_them(root: Path) -> None:
    (root / "test.txt").write_text("0#1\n1\n2#2\n2#2\n9#1\n")
    assert {action.error for action in mend(root)} == {""}
    assert (root / "test.txt").read_text() == "0#1\n1\n2#2\n"
    assert mend(root) == []
