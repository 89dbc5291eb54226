"""The VNS-score: equal to the authors' code, right by hand, defined everywhere; and whole sets of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file
from workshop import write_disks

from vns_sam.data.pairs import find_pairs
from vns_sam.data.score_set import ScoredPair, ScoreJob, scored_rows, summarise_set, write_scores
from vns_sam.data.vns_score import VnsScore, local_ring, texture_contrast, vns_score
from vns_sam.errors import DataError
from vns_sam.runs.engine import try_all
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import in_line

RNG = np.random.default_rng(0)
BLOCK = np.pad(np.ones((20, 20), bool), 20)


def flat(inside: int, outside: int) -> np.ndarray:
    """A picture of two grays, the first on BLOCK."""
    return np.where(BLOCK[..., None], inside, outside).repeat(3, axis=2).astype(np.uint8)


def test_scores_equal_the_authors(fixtures_dir: Path) -> None:
    reference = load_file(fixtures_dir / "vns" / "aux.safetensors")
    for i, expected in enumerate(reference["vns.cfb_blur_score"]):
        image = np.ascontiguousarray(reference[f"vns.image_bgr.{i}"][..., ::-1])
        mask = reference[f"vns.mask.{i}"] > 0
        assert np.array_equal(local_ring(mask), reference[f"vns.local_bg.{i}"] > 0)
        score = vns_score(image, mask)
        assert (score.contrast, score.blur, score.score) == pytest.approx(tuple(expected), abs=1e-9)


def test_texture_is_the_contrast_of_the_co_occurrence_matrix() -> None:
    skimage = pytest.importorskip("skimage.feature", reason="scikit-image is not installed")
    for shape in ((17, 23), (1, 5), (6, 2)):
        gray = RNG.integers(0, 256, shape, dtype=np.uint8)
        region = RNG.random(shape) > 0.4
        matrix = skimage.graycomatrix(np.where(region, gray, 0), [1], [0], levels=256, symmetric=True, normed=True)
        expected = skimage.graycoprops(matrix, "contrast")[0, 0]
        assert texture_contrast(gray, region) == pytest.approx(expected, rel=1e-12)


def test_flat_squares_by_hand() -> None:
    same = vns_score(flat(90, 90), BLOCK)
    assert (same.color, same.blur) == (0, 1)
    # 20 rows, each with two steps of 90 among 60 x 59 neighbours; the ring of a 15 x 15 ellipse is dark there too.
    assert texture_contrast(np.full(BLOCK.shape, 90, np.uint8), BLOCK) == pytest.approx(2 * 20 * 90**2 / (60 * 59))
    assert 0.9 < same.score <= 1
    stark = vns_score(flat(255, 0), BLOCK)
    assert stark.color == pytest.approx(2.55)  # Lab, 8 bit: L from 0 to 255
    assert stark.score < 0 < vns_score(flat(120, 90), BLOCK).score < same.score


@pytest.mark.parametrize(
    ("top", "side"),
    [(30, 15), (9, 9), (1, 1), (0, 1)],
    ids=["inside", "near-the-border", "one-pixel-off", "at-the-border"],
)
def test_ring_follows_the_room_to_the_border(top: int, side: int) -> None:
    mask = np.zeros((70, 70), bool)
    mask[top : top + 10, 30:40] = True
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    widened = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    expected = widened & ~mask if side > 1 else ~mask
    assert np.array_equal(local_ring(mask), expected)


@pytest.mark.parametrize("mask", [np.zeros((60, 60), bool), np.ones((60, 60), bool)], ids=["empty", "full"])
def test_nothing_to_compare_is_half(mask: np.ndarray) -> None:
    assert vns_score(flat(255, 0), mask) == VnsScore(0.5, 0.5, 0.5, 0.5, 0.5)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3, 3), (40, 50)])
@pytest.mark.parametrize("last", [False, True])
def test_one_pixel_has_a_finite_score(shape: tuple[int, int], last: bool) -> None:
    mask = np.zeros(shape, bool)
    mask[(-1, -1) if last else (0, 0)] = True
    score = vns_score(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8), mask)
    assert np.isfinite([score.color, score.texture, score.contrast, score.blur, score.score]).all()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (flat(1, 2)[..., 0], BLOCK),
        (flat(1, 2), BLOCK[1:]),
        (flat(1, 2) / 255, BLOCK),
        (flat(1, 2), BLOCK * 255),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), bool)),
    ],
)
def test_what_cannot_be_scored_is_refused(image: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected a"):
        vns_score(image, mask)


def test_processes_give_what_the_caller_gives(tmp_path: Path) -> None:
    pairs = find_pairs(write_disks(tmp_path / "disks", 11))
    (tmp_path / "disks" / "masks" / "004.png").write_bytes(b"no picture")
    job = ScoreJob(None, ["disks"], pairs, {}, 0.7)
    alone = list(try_all(job, in_line))
    assert sorted(try_all(job, Processes(2)), key=lambda outcome: outcome.name) == alone
    assert [outcome.name for outcome in alone if outcome.error] == ["disks/004"]
    rows = scored_rows([o.line for o in alone if not o.error], {o.name: o.error for o in alone if o.error})
    assert [row.stem for row in rows if row.score] == [f"{i:03d}" for i in range(11) if i != 4]


def scored(dataset: str, stem: str, score: float) -> ScoredPair:
    """A row of that score."""
    return ScoredPair(dataset, stem, VnsScore(0.1, 0.2, 0.15, 0.5, score))


def test_summary_and_files(tmp_path: Path) -> None:
    rows = [scored("a", "x,1", 0.7), scored("a", "y", 0.3), ScoredPair("a", "z", None, "gone"), scored("b", "y", -0.2)]
    summaries = [summarise_set(name, [row for row in rows if row.dataset == name], 0.7) for name in ("a", "b")]
    assert (summaries[0].pictures, summaries[0].broken, summaries[0].share) == (2, 1, 0.5)
    assert (summaries[0].mean, summaries[0].sd) == pytest.approx((0.5, 0.2))
    assert summarise_set("c", [], 0.7).mean is None
    write_scores(tmp_path, rows, summaries, 0.7)
    with (tmp_path / "scores.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [(row["set"], row["stem"], float(row["score"])) for row in table] == [
        ("a", "x,1", 0.7),
        ("a", "y", 0.3),
        ("b", "y", -0.2),
    ]
    assert set(table[0]) == {"set", "stem", "color", "texture", "c_fb", "b_blur", "score"}
    assert ((tmp_path / "a" / "ns.txt").read_text(), (tmp_path / "a" / "s.txt").read_text()) == ("x,1\n", "y\n")
    assert ((tmp_path / "b" / "ns.txt").read_text(), (tmp_path / "b" / "s.txt").read_text()) == ("", "y\n")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["broken"] == [{"set": "a", "stem": "z", "error": "gone"}]
    assert (tmp_path / "histogram.png").is_file()
    assert (tmp_path / "b" / "histogram.png").is_file()
