"""Pictures that EXIF turns: annotations of their stored pixels and of the upright picture come to the same masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vns_sam.data.importing import convert
from vns_sam.data.label_import import import_labels
from vns_sam.data.sparse import SparseLabels
from vns_sam.formats import coco
from vns_sam.formats.objects import read_objects
from vns_sam.formats.png import read_mask
from vns_sam.formats.result import Result
from vns_sam.formats.rle import encode_rle
from vns_sam.images.read import read_image
from vns_sam.images.windows import mask_boxes
from vns_sam.prompts.files import read_prompt_file
from vns_sam.types import Prediction

ORIENTATION = 0x0112
ALL = pytest.mark.parametrize("orientation", range(1, 9))
SIZES = pytest.mark.parametrize("size", [(24, 40), (32, 32)], ids=["oblong", "square"])
CORNERS = [[4, 3], [15, 3], [15, 6], [8, 6], [8, 12], [4, 12]]


def drawn(size: tuple[int, int]) -> np.ndarray:
    """A mask that no turn leaves as it is: the outline of ``CORNERS``."""
    mask = np.zeros(size, bool)
    mask[3:6, 4:15] = mask[6:12, 4:8] = True
    return mask


def turned(mask: np.ndarray, orientation: int) -> np.ndarray:
    """A mask as Pillow turns a picture of that orientation."""
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(picture)) > 0


def photo(folder: Path, size: tuple[int, int], orientation: int) -> Path:
    picture = Image.new("RGB", size[::-1], "green")
    exif = picture.getexif()
    exif[ORIENTATION] = orientation
    (folder / "images").mkdir()
    picture.save(folder / "images/a.jpg", exif=exif)
    return folder / "images/a.jpg"


def stored_coco(file: Path, size: tuple[int, int], **more: Any) -> Path:
    """What another tool writes of the stored pixels: one object as run lengths, one as a polygon."""
    height, width = size
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": encode_rle(drawn(size)), "bbox": [4, 3, 11, 9]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[side for xy in CORNERS for side in xy]]},
    ]
    image = {"id": 1, "file_name": "a.jpg", "height": height, "width": width, **more}
    raw = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "frog"}]}
    file.write_text(json.dumps(raw))
    return file


def check(file: Path, path: Path, expected: np.ndarray) -> None:
    """Import, prompts and labels see the same object in the picture."""
    assert read_image(path).shape[:2] == expected.shape
    out = file.parent / "set"
    assert [state.problems for state, _ in convert(file, out)] == [[]]
    np.testing.assert_array_equal(read_mask(out / "masks/a.png"), expected)
    for each in read_objects(out / "objects/a.json"):
        np.testing.assert_array_equal(each.mask, expected)

    box = mask_boxes(expected[None])[0].tolist()
    table = read_prompt_file(file)
    assert table.in_folder(path.parent, ["a.jpg"]).prompts["a.jpg"]["boxes"] == [box] * len(
        table.entries["a.jpg"]["boxes"]
    )
    assert table.for_picture(path) == table.in_folder(path.parent, ["a.jpg"]).prompts["a.jpg"]

    labels = SparseLabels(file).read("a.jpg", (expected.shape[0], expected.shape[1]), picture=path)
    np.testing.assert_array_equal(labels.codes == 1, expected)


@ALL
@SIZES
def test_our_own_coco_leads_back(tmp_path: Path, size: tuple[int, int], orientation: int) -> None:
    path = photo(tmp_path, size, orientation)
    expected = turned(drawn(size), orientation)
    masks = expected[None]
    found = Prediction(masks, masks * 2.0 - 1, np.ones(1, np.float32), None, mask_boxes(masks), classes=("frog",))
    written = coco.encode(Result("a.jpg", found), ["a.json"])["a.json"]
    file = tmp_path / coco.SET
    file.write_bytes(coco.merge([written], {1: "frog"})[coco.SET])  # type: ignore[arg-type, list-item]
    check(file, path, expected)


@ALL
@SIZES
def test_stored_pixels_of_other_tools_are_turned(tmp_path: Path, size: tuple[int, int], orientation: int) -> None:
    path = photo(tmp_path, size, orientation)
    check(stored_coco(tmp_path / "a.json", size), path, turned(drawn(size), orientation))


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_size_that_only_the_upright_picture_has_tells_upright_pixels(tmp_path: Path, orientation: int) -> None:
    path = photo(tmp_path, (40, 24), orientation)
    check(stored_coco(tmp_path / "a.json", (24, 40)), path, drawn((24, 40)))


def test_boxes_of_labels_are_turned(tmp_path: Path) -> None:
    path = photo(tmp_path, (24, 40), 6)
    file = stored_coco(tmp_path / "a.json", (24, 40))
    raw = json.loads(file.read_text())
    del raw["annotations"][0]["segmentation"], raw["annotations"][1]
    file.write_text(json.dumps(raw))
    list(import_labels(file, path.parent, tmp_path / "labels"))
    assert (tmp_path / "labels/boxes.csv").read_text() == "name,x0,y0,x1,y1\na.jpg,12,4,21,15\n"


def test_a_picture_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    path = photo(tmp_path, (24, 40), 6)
    path.write_bytes(path.read_bytes()[:10])
    table = read_prompt_file(stored_coco(tmp_path / "a.json", (24, 40)))
    assert table.for_picture(path) == table.entries["a.jpg"]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_one_picture_in_both_ways_is_turned_where_it_is_stored(tmp_path: Path, orientation: int) -> None:
    size = (24, 40)
    path = photo(tmp_path, size, orientation)
    files = tmp_path / "files"
    files.mkdir()
    upright = turned(drawn(size), orientation)
    stored_coco(files / "a.json", size)
    stored_coco(files / "b.json", upright.shape, upright=True)
    boxes = [mask_boxes(mask[None])[0].tolist() for mask in (upright, drawn(size))]
    entry = read_prompt_file(files).for_picture(path)
    assert entry is not None
    assert entry["boxes"] == [boxes[0], boxes[0], boxes[1], boxes[1]]
    assert entry["classes"] == ["frog"] * 4
    assert entry["sizes"] == ([[*size]] if orientation == 1 else []) + [[*upright.shape]]


@pytest.mark.parametrize(
    ("size", "orientation", "noted"),
    [((24, 40), 1, False), ((24, 40), 3, True), ((24, 40), 6, False), ((32, 32), 6, True), ((32, 32), 1, False)],
)
def test_a_turn_that_the_size_does_not_tell_is_noted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: tuple[int, int], orientation: int, noted: bool
) -> None:
    path = photo(tmp_path, size, orientation)
    table = read_prompt_file(stored_coco(tmp_path / "a.json", size))
    for _ in range(2):
        table.for_picture(path)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * noted
    assert caplog.text.count("what a COCO file says of a.jpg") == noted
