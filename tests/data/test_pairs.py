"""Finding pairs in folders, and reading masks of every kind that the field's sets come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.data.enrich import Component
from vns_sam.data.pairs import (
    FOLDERS,
    Pair,
    find_pairs,
    is_set,
    picture_stem,
    read_instances,
    read_mask,
)
from vns_sam.data.splits import has_split, split_pictures, training_pairs, training_pictures
from vns_sam.errors import DataError

TRUTH = np.array([[0, 1, 1], [0, 0, 1]], bool)


def write(path: Path, values: np.ndarray | None = None, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(TRUTH.astype(np.uint8) * 255 if values is None else values)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "frogs"
    for stem, ending in (("b.1", ".JPG"), ("a", ".png"), ("c", ".tif")):
        write(root / "images" / f"{stem}{ending}", mode="RGB")
        write(root / "masks" / f"{stem}.png")
    write(root / "masks_instance" / "a.png")
    write(root / "masks_ignore" / "c.png")
    (root / "images" / "Thumbs.db").write_text("")
    (root / "images" / "._a.png").write_text("")
    (root / "test.txt").write_text("c\n\na\r\n")
    return root


def test_all_pictures_by_stem(root: Path) -> None:
    pairs = find_pairs(root)
    assert [p.stem for p in pairs] == ["a", "b.1", "c"]
    assert {p.dataset for p in pairs} == {"frogs"}
    assert pairs[1].image.name == "b.1.JPG"
    assert pairs[1].mask == root / "masks" / "b.1.png"
    assert [p.instances is not None for p in pairs] == [True, False, False]
    assert [p.ignore is not None for p in pairs] == [False, False, True]


def test_a_set_behind_a_link_is_called_as_the_link(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toads").symlink_to(root, target_is_directory=True)
    assert {pair.dataset for pair in find_pairs(tmp_path / "toads")} == {"toads"}
    monkeypatch.chdir(root / "images")
    assert {pair.dataset for pair in find_pairs("..")} == {"frogs"}


def test_split_in_the_order_of_its_list(root: Path) -> None:
    assert [p.stem for p in find_pairs(str(root), "test")] == ["c", "a"]


@pytest.mark.parametrize("line", ["b.1", "b.1.JPG", "images/b.1.JPG"])
def test_split_may_name_files(root: Path, line: str) -> None:
    (root / "val.txt").write_text(f"{line}\n")
    assert [p.stem for p in find_pairs(root, "val")] == ["b.1"]


def test_a_stem_that_is_listed_twice_is_one_pair(root: Path) -> None:
    (root / "test.txt").write_text("c\na\nc.tif\n")
    assert [p.stem for p in find_pairs(root, "test")] == ["c", "a"]


def test_a_list_may_begin_with_a_byte_order_mark(root: Path) -> None:
    (root / "test.txt").write_text("c\na\n", encoding="utf-8-sig")
    assert [p.stem for p in find_pairs(root, "test")] == ["c", "a"]


def test_a_list_in_another_encoding_is_refused(root: Path) -> None:
    (root / "test.txt").write_bytes("c\ncaf\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"expected a list in UTF-8 at .*test\.txt"):
        find_pairs(root, "test")


def test_broken_pairs_are_gathered_where_asked_for(root: Path) -> None:
    (root / "test.txt").write_text("c\nabsent\na\n")
    (root / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match="'absent'"):
        find_pairs(root, "test")
    broken: dict[str, str] = {}
    assert [p.stem for p in find_pairs(root, "test", broken=broken)] == ["c"]
    assert list(broken) == ["absent", "a"]
    assert "picture in" in broken["absent"]
    assert "mask in" in broken["a"]


@pytest.mark.parametrize("names", FOLDERS)
def test_sets_with_other_folder_names(root: Path, names: tuple[str, str]) -> None:
    stems = [pair.stem for pair in find_pairs(root)]
    for old, new in zip(("images", "masks"), names, strict=True):
        (root / old).rename(root / new)
    assert is_set(root)
    assert [pair.stem for pair in find_pairs(root)] == stems
    assert {pair.mask.parent.name for pair in find_pairs(root)} == {names[1]}


def test_splits_in_folders_or_a_folder_of_lists(root: Path) -> None:
    first = find_pairs(root)[0].stem
    assert not has_split(root, "te1")
    (root / "list").mkdir()
    (root / "list" / "te1.txt").write_text(first)
    assert has_split(root, "te1")
    assert [pair.stem for pair in find_pairs(root, "te1")] == [first]
    for name in ("images", "masks"):
        (root / name).rename(root / f"{name}_te2")
    assert has_split(root, "te2")
    assert not has_split(root, "te1")
    assert first in [pair.stem for pair in find_pairs(root, "te2")]


def test_a_mask_of_too_many_pixels_is_refused_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(DataError, match="exceeds limit"):
        read_mask(root / "masks" / "a.png")


def test_a_set_without_its_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no folder there"):
        find_pairs(tmp_path / "absent")
    with pytest.raises(DataError, match="expected a folder images/"):
        find_pairs(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="expected a folder masks/"):
        find_pairs(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="at least one picture"):
        find_pairs(tmp_path)


def test_a_missing_list_names_the_others(root: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt, found none") as caught:
        find_pairs(root, "train")
    assert "test" in caught.value.hint


def test_an_empty_list_is_refused(root: Path) -> None:
    (root / "train.txt").write_text("\n")
    with pytest.raises(DataError, match="at least one picture"):
        find_pairs(root, "train")


def test_a_picture_without_mask_is_refused(root: Path) -> None:
    (root / "masks" / "a.png").unlink()
    (root / "masks" / "c.png").unlink()
    with pytest.raises(DataError, match=r"mask in .* for 'a' and 1 more"):
        find_pairs(root)
    with pytest.raises(DataError, match=r"mask in .* for 'c' and 1 more"):
        find_pairs(root, "test")


def test_a_listed_stem_without_picture_is_refused(root: Path) -> None:
    (root / "test.txt").write_text("ghost\n")
    with pytest.raises(DataError, match=r"picture in .* for 'ghost'"):
        find_pairs(root, "test")


def test_two_pictures_of_one_stem_are_refused(root: Path) -> None:
    write(root / "images" / "a.jpg", mode="RGB")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png"):
        find_pairs(root)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (TRUTH.astype(np.uint8) * 255, None),
        (TRUTH.astype(np.uint8), None),
        (TRUTH.astype(np.uint8) * 255, "1"),
        (TRUTH.astype(np.uint16) * 65535, None),
        (np.where(TRUTH, 128, 127).astype(np.uint8), None),
        (np.where(TRUTH, 128, 127).astype(np.uint8), "RGB"),
        (TRUTH.astype(np.uint8) * 255, "RGBA"),
        (TRUTH.astype(np.uint8) * 255, "LA"),
    ],
    ids=["gray", "zero-one", "bilevel", "16-bit", "threshold", "rgb", "rgba", "la"],
)
def test_masks_of_every_kind(tmp_path: Path, values: np.ndarray, mode: str | None) -> None:
    mask = read_mask(write(tmp_path / "mask.png", values, mode))
    assert mask.dtype == bool
    assert np.array_equal(mask, TRUTH)


@pytest.mark.parametrize(
    ("palette", "indices"),
    [
        ([0, 0, 0, 128, 0, 0, 0, 128, 0], TRUTH * 2),
        ([255, 255, 255, 0, 0, 0], ~TRUTH),
    ],
    ids=["coloured: by index", "gray: by colour"],
)
def test_palette_masks(tmp_path: Path, palette: list[int], indices: np.ndarray) -> None:
    image = Image.fromarray(indices.astype(np.uint8), mode="L").convert("P")
    image.putdata(indices.astype(np.uint8).ravel().tolist())
    image.putpalette(palette)
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), TRUTH)


def test_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    assert not read_mask(write(tmp_path / "mask.png", np.zeros((4, 5), np.uint8))).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_instances_by_rising_id(tmp_path: Path, dtype: type) -> None:
    high = int(np.iinfo(dtype).max)
    ids = np.array([[0, high, high], [3, 0, 3]], dtype)
    found = read_instances(write(tmp_path / "ids.png", ids))
    assert [m.tolist() for m in found] == [(ids == 3).tolist(), (ids == high).tolist()]


def test_no_instances_on_background_alone(tmp_path: Path) -> None:
    assert read_instances(write(tmp_path / "ids.png", np.zeros((2, 2), np.uint8))) == []


@pytest.mark.parametrize("content", [None, b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_mask_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mask.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="expected a mask picture"):
        read_mask(path)


def test_a_truncated_mask_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.png", np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"mask\.png"):
        read_mask(path)


def stems(root: Path) -> tuple[list[str], list[str] | None]:
    training, held = training_pairs(root)
    return [pair.stem for pair in training], None if held is None else [pair.stem for pair in held]


def test_a_training_follows_its_list_wherever_that_is(root: Path) -> None:
    (root / "list").mkdir()
    (root / "list" / "train.txt").write_text("c\nb.1\n")
    assert stems(root) == (["c", "b.1"], None)
    (root / "list" / "val.txt").write_text("c\n")
    assert stems(root) == (["b.1"], ["c"])


def test_a_training_without_a_list_leaves_out_what_others_name(root: Path) -> None:
    assert stems(root) == (["b.1"], None)  # test.txt names the other two
    (root / "test.txt").write_text("c#1\n")
    (root / "val.txt").write_text("a\n")
    assert stems(root) == (["b.1"], ["a"])
    (root / "test.txt").unlink()
    assert stems(root) == (["b.1", "c"], ["a"])


@pytest.mark.parametrize(
    ("listed", "held"), [("a#1\n", ["a"]), ("gone\nc\na#1\na#2\n", ["c", "a"]), ("gone\n", []), ("", [])]
)
@pytest.mark.parametrize("train", [False, True])
def test_val_is_read_as_tolerantly_as_test(root: Path, listed: str, held: list[str], train: bool) -> None:
    (root / "test.txt").write_text("")
    (root / "val.txt").write_text(listed)
    if train:
        (root / "train.txt").write_text("a\nb.1\n")
    there = ["a", "b.1"] if train else ["a", "b.1", "c"]
    assert stems(root) == ([stem for stem in there if stem not in held], held)


def test_a_test_list_counts_beside_folders_of_its_split(root: Path) -> None:
    write(root / "images_test" / "z.png", mode="RGB")
    write(root / "masks_test" / "z.png")
    assert stems(root) == (["b.1"], None)


def test_a_training_follows_folders_of_splits(root: Path) -> None:
    for split in ("train", "val"):
        for kind, mode in (("images", "RGB"), ("masks", None)):
            write(root / f"{kind}_{split}" / f"{split}.png", mode=mode)
            write(root / f"{kind}_{split}" / "same.png", mode=mode)
    assert stems(root) == (["same", "train"], ["same", "val"])


@pytest.mark.parametrize("lists", [{}, {"val": "a\n"}, {"train": "a\nb.1\n"}, {"train": "c\na\n", "val": "a\n"}])
def test_a_training_without_masks_sees_the_same_of_a_set_that_has_all(root: Path, lists: dict[str, str]) -> None:
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)
    write(root / "images_val" / "z.png", mode="RGB")  # of no set, since there is one
    assert training_pictures(root) == training_pairs(root)


def test_only_the_held_out_need_masks(root: Path) -> None:
    (root / "masks" / "b.1.png").unlink()
    (root / "masks" / "c.png").unlink()
    (root / "test.txt").unlink()
    (root / "val.txt").write_text("a\nb.1\n")
    pictures, held = training_pictures(root)
    assert [(each.stem, isinstance(each, Pair)) for each in pictures] == [("c", False)]
    assert held is not None
    assert [each.stem for each in held] == ["a"]
    with pytest.raises(DataError, match=r"expected a mask in .*masks for 'b\.1' and 1 more"):
        training_pairs(root)


def test_folders_of_splits_need_no_masks_either(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / f"images_{split}" / f"{split}.png", mode="RGB")
    write(tmp_path / "masks_val" / "val.png")
    pictures, held = training_pictures(tmp_path)
    assert [each.stem for each in pictures] == ["train"]
    assert held is not None
    assert [each.stem for each in held] == ["val"]


def test_pictures_of_a_split_need_no_masks(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", mode="RGB")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("a.png\n")
    assert split_pictures(tmp_path, "train") == (tmp_path / "images", {"a"})
    (tmp_path / "images_val").mkdir()
    assert split_pictures(tmp_path, "val") == (tmp_path / "images_val", None)
    with pytest.raises(DataError, match=r"expected the list .*test\.txt"):
        split_pictures(tmp_path, "test")


def test_pictures_of_a_split_are_where_a_training_takes_them_from(root: Path) -> None:
    write(root / "images_train" / "z.png", mode="RGB")
    with pytest.raises(DataError, match=r"expected masks_train/ beside .*images_train in a set with masks"):
        split_pictures(root, "train")
    assert {each.image.parent for each in training_pictures(root)[0]} == {root / "images"}
    write(root / "masks_train" / "z.png")
    assert split_pictures(root, "train") == (root / "images_train", None)
    assert [each.image.parent for each in training_pictures(root)[0]] == [root / "images_train"]


def test_samples_of_one_picture_have_one_stem() -> None:
    names = [Component(number, 9, (0, 0, 1, 1)).sample("frog_comp_a") for number in (0, 7, 12)]
    assert {picture_stem(name) for name in names} == {"frog_comp_a"}
    assert picture_stem("frog") == "frog"
