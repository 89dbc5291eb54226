"""Pseudo-masks as others publish them: a folder of pictures enters a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workshop import write_disks

from vns_sam.data.pairs import find_pairs
from vns_sam.errors import DataError
from vns_sam.labelling.fusion import Selection
from vns_sam.labelling.store import LabelStore
from vns_sam.training.samples.weak import SetLabels
from vns_sam.training.ws_settings import Ws


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sure mask of 0 and 255, one of 0 and 1, a soft one that is sure, one that is not, and one without an object."""
    values = np.zeros((5, 20, 30), np.uint8)
    values[0, 5:15, 5:20], values[1, 5:15, 5:20] = 255, 1
    values[2, 5:15, 5:20], values[2, 5, 5:20] = 255, 128
    values[3, :, :] = 128
    (tmp_path / "masks" / "deep").mkdir(parents=True)
    for name, value in zip(("sure", "codes", "deep/soft", "doubt", "empty"), values, strict=True):
        Image.fromarray(value).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path / "masks"


def test_a_folder_of_masks_is_a_store(folder: Path) -> None:
    store = LabelStore(folder)
    assert {record.image for record in store.kept(Selection())} == {"codes", "soft", "sure"}
    record = store.find("sure.jpg")
    assert record is not None
    assert record.why_left_out(Selection()) == ""
    codes = store.find("codes.jpg")
    assert codes is not None
    target, weight = store.training_target(codes)
    assert (target.sum(), weight.min()) == (150, 1)
    doubt = store.find("doubt.jpg")
    assert doubt is not None
    assert doubt.why_left_out(Selection()) == "100% of the picture uncertain, not below 10%"
    soft = store.find("soft.jpg")
    assert soft is not None
    assert soft.absolute == pytest.approx(15 / 600)
    assert store.find("other.jpg") is None


def test_training_learns_from_them(tmp_path: Path) -> None:
    disks = write_disks(tmp_path / "disks", 2)
    labels = SetLabels(Ws(pseudo=str(tmp_path / "{set}" / "masks")), "disks", [])
    (pair, _) = find_pairs(disks)
    picture = labels.read(pair)
    with Image.open(pair.mask) as mask:
        np.testing.assert_array_equal(picture.target, np.asarray(mask))
    assert picture.keep
    assert (picture.weight == 255).all()


def test_what_is_no_such_folder_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"found no labels\.jsonl and no pseudo-mask there"):
        LabelStore(tmp_path / "none")
    (folder / "sure.jpg").write_bytes((folder / "sure.png").read_bytes())
    with pytest.raises(DataError, match="one pseudo-mask for 'sure'"):
        LabelStore(folder)
