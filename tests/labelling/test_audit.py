from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jobs import label
from labelling_colours import ColourModel, write_pond
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.labelling.audit import Audited, area_under, audit, mean_iou, risk_coverage
from vns_sam.labelling.figures import chosen, write_figures
from vns_sam.labelling.folder import plan_run
from vns_sam.labelling.fusion import Selection
from vns_sam.labelling.maps import map_path
from vns_sam.labelling.records import Record
from vns_sam.labelling.store import LabelStore

RECORD = Record("a", "k", map_path("a"), 4, 5, "scribble", 12, True, 12, 12, 0.05, 0.2, 0.05, 0.3, 0.9)


def row(doubt: float, iou: float | None) -> Audited:
    return Audited(replace(RECORD, image=str(doubt), absolute=doubt), doubt < 0.1, iou)


def test_risk_of_the_surest_first() -> None:
    rows = [row(0.3, 0.4), row(0.1, 1.0), row(0.2, 0.7), row(0.0, None)]
    points = risk_coverage(rows, "absolute")
    assert [share for share, _ in points] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [risk for _, risk in points] == pytest.approx([0.0, 0.15, 0.3])
    assert area_under(points) == pytest.approx(0.15)


def test_equally_sure_pictures_have_no_order() -> None:
    rows = [row(0.1, 1.0), row(0.1, 0.0)]
    assert risk_coverage(rows, "absolute") == risk_coverage(rows[::-1], "absolute") == [(0.5, 0.5), (1.0, 0.5)]


def test_the_models_score_orders_from_the_highest() -> None:
    sure, unsure = (Audited(replace(RECORD, score=score), True, score) for score in (0.9, 0.2))
    assert risk_coverage([unsure, sure], "model's score")[0][1] == pytest.approx(0.1)


def test_mean_of_nothing() -> None:
    assert mean_iou([row(0.1, None)]) is None


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelStore, Path]:
    root = tmp_path_factory.mktemp("audit")
    images, labels = write_pond(root)
    list(label(ColourModel(blind=range(12, 24)), plan_run(images, labels, root / "out")))
    return LabelStore(root / "out"), images


def test_an_audit_with_truth(pond: tuple[LabelStore, Path], tmp_path: Path) -> None:
    store, images = pond
    found = audit(store, Selection(), images)
    assert [r.kept for r in found.rows] == [True, False, True]
    assert found.kept_ratio == pytest.approx(2 / 3)
    assert mean_iou(found.kept) > 0.97
    assert found.rows[1].iou < 0.1
    assert not found.problems


def test_truth_that_is_missing_or_of_another_size_is_told(pond: tuple[LabelStore, Path], tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "eel.png")
    found = audit(pond[0], Selection(), tmp_path)
    assert len(found.problems) == 3
    assert "found 9 x 9" in found.problems[0]
    assert "frog.png" in found.problems[1]
    assert not found.scored
    with pytest.raises(DataError, match="found none"):
        audit(pond[0], Selection(), tmp_path / "nowhere")


@pytest.mark.parametrize("with_truth", [True, False])
def test_figures(pond: tuple[LabelStore, Path], with_truth: bool) -> None:
    store, images = pond
    found = audit(store, Selection(), images if with_truth else None)
    files = write_figures(found, store, Selection(), (images / "images").joinpath)
    names = ["uncertainty_absolute.png", "uncertainty_relative.png", "risk_coverage.png", "maps.png"]
    assert [path.name for path in files] == [name for name in names if with_truth or name != "risk_coverage.png"]
    for path in files:
        assert np.ptp(np.asarray(Image.open(path))) > 200


def test_the_sheet_spans_sure_and_unsure() -> None:
    some = chosen([row(k / 100, None) for k in range(50)], 3)
    assert [r.record.absolute for r in some][::2] == [0, 0.49]
