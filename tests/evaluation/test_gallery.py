"""The figures of an evaluation: which are drawn, and that they show what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workshop import narrow_sam, write_disks

from vns_sam.data.pairs import pair_digest
from vns_sam.errors import UsageError
from vns_sam.evaluation import gallery
from vns_sam.evaluation import suite as module
from vns_sam.evaluation.ablate import Ablation
from vns_sam.evaluation.figures import Case, side_by_side
from vns_sam.evaluation.gallery import write_figures
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.suite import make_suite
from vns_sam.images.read import read_image
from vns_sam.metrics.iou import iou
from vns_sam.vns.model import VnsSamModel


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_disks(root / "disks", 4)
    write_disks(root / "more", 3, seed=1)
    return root


def test_each_set_has_its_figures_and_points_their_curves(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = make_suite([sets], Measure(prompts=("clicks:2", "points:1-3")))
    runs = [suite.run(narrow_sam(), "sam"), suite.run(VnsSamModel.from_sam(narrow_sam(seed=1)).eval(), "vns")]
    for run in runs:
        list(run)
    hashed: list[str] = []
    monkeypatch.setattr(module, "pair_digest", lambda pair: hashed.append(pair.stem) or pair_digest(pair))
    written = list(write_figures(tmp_path, runs, suite.report(runs).models, suite, count=2))
    assert len(hashed) == 7  # once each, for the report of both models and for the figures
    per_set = ["worst-{}.jpg", "side-by-side-{}.jpg", "attention-{}-1.jpg", "attention-{}-2.jpg"]
    expected = [name.format(dataset) for dataset in ("disks", "more") for name in per_set]
    expected += ["points-disks.png", "points-more.png", "points-mean.png"]
    assert [path.name for path in written] == expected
    assert all(read_image(path).std() > 10 for path in written)


def test_without_iou_nothing_can_be_sorted(sets: Path, tmp_path: Path) -> None:
    suite = make_suite([sets], Measure(metrics=("biou",)))
    run = suite.run(narrow_sam(), "sam")
    list(run)
    with pytest.raises(UsageError, match="sorted by IoU"):
        list(write_figures(tmp_path, [run], suite.report([run]).models, suite, count=2))
    assert not list(tmp_path.iterdir())


def test_a_model_less_a_part_is_drawn_less_the_part(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Case] = []

    def keep(cases: list[Case], models: list[str]) -> np.ndarray:
        drawn.extend(cases)
        return side_by_side(cases, models)

    monkeypatch.setattr(gallery, "side_by_side", keep)
    suite = make_suite([sets / "disks"])
    whole = suite.run(narrow_sam(), "whole")
    part = suite.run(narrow_sam(), "less", part=Ablation("prompt_encoder", "zero"))
    for run in (whole, part):
        list(run)
    list(write_figures(tmp_path, [whole, part], suite.report([whole, part]).models, suite, count=4))
    scores = {label: [case.scores[label] for case in drawn] for label in ("whole", "less")}
    assert scores["whole"] != scores["less"]
    for label, measured in scores.items():
        assert [iou(case.found[label], case.truth) for case in drawn] == pytest.approx(measured)
