import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.labelling.fusion import Selection, measure
from vns_sam.labelling.maps import decode_map, encode_map, map_path, write_map
from vns_sam.labelling.records import LINES, Record, write_records
from vns_sam.labelling.store import LabelStore

RECORD = Record(
    "a/frog.jpg", "k", map_path("a/frog.jpg"), 4, 5, "scribble", 12, True, 12, 12, 0.05, 0.2, 0.05, 0.3, 0.9
)


@pytest.mark.parametrize("levels", [1, 2, 7, 8, 12, 24, 255])
def test_votes_survive_eight_bits_exactly(levels: int) -> None:
    votes = (np.arange(levels + 1) / levels).astype(np.float32)
    assert (decode_map(encode_map(votes), levels) == votes).all()


def test_probabilities_survive_to_half_a_level() -> None:
    fused = np.linspace(0, 1, 1000, dtype=np.float32)
    assert np.abs(decode_map(encode_map(fused), None) - fused).max() <= 0.5 / 255 + 1e-6


def store(root: Path, *records: Record) -> LabelStore:
    write_records(root / LINES, list(records))
    return LabelStore(root)


def test_there_and_back(tmp_path: Path) -> None:
    fused = (np.arange(20) % 13 / 12).reshape(4, 5).astype(np.float32)
    path, uncertainty = write_map(tmp_path, RECORD.image, fused, 12)
    assert path == RECORD.map
    assert uncertainty == measure(fused)
    read = store(tmp_path, RECORD)
    target, weight = read.training_target(read.records["a/frog.jpg"])
    assert (target == fused).all()
    assert weight[0, 0] == 1
    assert weight[1, 1] == 0
    assert np.asarray(Image.open(tmp_path / path)).dtype == np.uint8


def test_the_choice_is_made_when_reading(tmp_path: Path) -> None:
    wavering = replace(RECORD, image="b", absolute=0.2)
    lost = replace(RECORD, image="c", relative=None)
    doubted = replace(RECORD, image="d", believed=3)
    read = store(tmp_path, RECORD, wavering, lost, doubted)
    assert [r.image for r in read.kept(Selection())] == ["a/frog.jpg"]
    assert [r.image for r in read.kept(Selection(absolute=0.3))] == ["a/frog.jpg", "b"]
    assert [r.image for r in read.kept(Selection(denominator="all"))] == ["a/frog.jpg", "c"]
    assert [r.image for r in read.kept(Selection(views=0.25))] == ["a/frog.jpg", "d"]


def test_the_last_line_of_a_picture_counts_and_half_lines_do_not(tmp_path: Path) -> None:
    earlier = store(tmp_path, RECORD, replace(RECORD, key="new"))
    with (earlier.root / LINES).open("a") as lines:
        lines.write('\n{"image": "ee')
    assert [r.key for r in LabelStore(tmp_path).records.values()] == ["new"]


@pytest.mark.parametrize(
    "change", [{"image": [[]]}, {"views": 0}, {"height": "4"}, {"area": None}, {"score": 10**400}, {"answers": {}}]
)
def test_a_line_that_somebody_changed_is_passed_over(tmp_path: Path, change: dict[str, Any]) -> None:
    store(tmp_path, RECORD)
    with (tmp_path / LINES).open("a") as lines:
        lines.write(json.dumps({**asdict(RECORD), "image": "b", **change}) + "\n")
    assert [*LabelStore(tmp_path).records] == [RECORD.image]


def test_broken_maps_are_told(tmp_path: Path) -> None:
    read = store(tmp_path, RECORD)
    with pytest.raises(DataError, match="expected a fused map"):
        read.fused(RECORD)
    write_map(tmp_path, RECORD.image, np.zeros((5, 4)), None)
    with pytest.raises(DataError, match=r"5 x 4 at .* found 4 x 5"):
        read.fused(RECORD)
    with pytest.raises(DataError, match=r"labels\.jsonl"):
        LabelStore(tmp_path / "nowhere")
