"""The pictures of a folder: which are found, and how much of which kind is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.find import find_images, list_images
from vns_sam.images.read import read_image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_is_passed_over_is_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "sub/c.tif", "notes.txt", "sub/more.txt", ".hidden.png", ".git/x.png", "README")
    listing = list_images(tmp_path)
    assert listing.names == ("a.png", "b.JPG", "sub/c.tif")
    assert listing.left_out == {".txt": 2, "hidden": 2, "without an ending": 1}
    assert listing.told() == "2 .txt, 2 hidden, 1 without an ending"


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif", "jp2", "tga"])
def test_what_opens_singly_is_found_in_a_folder(tmp_path: Path, suffix: str) -> None:
    kind = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "tga": "TGA"}[suffix]
    Image.new("RGB", (20, 10), "red").save(tmp_path / f"a.{suffix}", kind)
    assert find_images(tmp_path) == [f"a.{suffix}"]
    assert read_image(tmp_path / f"a.{suffix}").shape == (10, 20, 3)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/sub/b.png", "elsewhere/c.png")
    folder = tmp_path / "in"
    (folder / "disk").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder / "sub")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "above").symlink_to(tmp_path)
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    listing = list_images(folder)
    assert listing.names == ("a.png", "disk/c.png", "gone.png", "sub/b.png")
    assert listing.left_out == {"link(s) to a folder seen otherwise": 3}


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", "b.csv")
    with pytest.raises(DataError, match=r"no picture in .*, found 1 \.csv, 1 \.txt"):
        find_images(tmp_path)


def test_folders_of_results_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "masks/a_mask.png")
    listing = list_images(tmp_path, lambda folder: folder.name == "masks")
    assert (listing.names, listing.left_out) == (("a.png",), {"folder(s) of results": 1})
