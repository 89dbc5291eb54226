"""The figure of WS-SAM's groups: its tiles, and that a group's colour lies where its places are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_model
from workshop import write_disks

from vns_sam.errors import DataError
from vns_sam.evaluation.gallery import write_figures
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.suite import make_suite
from vns_sam.images.read import read_image
from vns_sam.images.tiles import Tile
from vns_sam.ws import figures as module
from vns_sam.ws.figures import COLOURS, groups_figure
from vns_sam.ws.head import WsSamOutput

IMAGE = np.full((40, 60, 3), 128, np.uint8)
TRUTH = np.zeros((40, 60), bool)


def test_each_level_has_a_row_and_the_answers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[Tile]] = []
    monkeypatch.setattr(module, "grid", lambda tiles, **_: rows.extend(tiles))
    groups_figure(small_model(grouping_levels=(3, 4)), IMAGE, TRUTH)
    assert [[tile.caption for tile in row] for row in rows] == [
        ["picture, truth", "4 fine groups, level 3", "2 coarse groups, level 3"],
        ["4 fine groups, level 4", "2 coarse groups, level 4"],
        ["global prior", *(f"answer, level {level}" for level in (4, 3, 2, 1))],
    ]


@pytest.mark.parametrize("image_size", [64, 72])  # 72 is padded to 96
def test_a_group_has_its_colour_in_its_place(image_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    side = image_size + -image_size % 32
    left = torch.zeros(1, 2, side, side)
    left[:, 0, :, : image_size // 2] = 1
    left[:, 1] = 1 - left[:, 0]
    model = small_model(image_size=image_size)
    output = WsSamOutput((torch.zeros(1, 1, 2, 2),) * 5, {4: (left, left)})
    model.head.register_forward_hook(lambda *_: output)
    rows: list[list[Tile]] = []
    monkeypatch.setattr(module, "grid", lambda tiles, **_: rows.extend(tiles))
    groups_figure(model, IMAGE, TRUTH)
    drawn = rows[0][1].image.astype(int)
    for colour, x in zip(COLOURS, (drawn.shape[1] // 4, 3 * drawn.shape[1] // 4), strict=False):
        expected = 0.75 * np.array(colour) + 0.25 * 128
        assert np.abs(drawn[drawn.shape[0] // 2, x] - expected).max() <= 1


def test_a_truth_of_another_size_is_told() -> None:
    with pytest.raises(DataError, match="the true mask is 60 x 39, its picture 60 x 40"):
        groups_figure(small_model(), IMAGE, TRUTH[1:])


def test_an_evaluation_draws_it(tmp_path: Path) -> None:
    write_disks(tmp_path / "disks", 3)
    suite = make_suite([tmp_path / "disks"], Measure(prompts=("image",)))
    run = suite.run(small_model(), "ws")
    list(run)
    written = [path.name for path in write_figures(tmp_path / "out", [run], suite.report([run]).models, suite, count=2)]
    assert written == ["worst-disks.jpg", "side-by-side-disks.jpg", "groups-disks-1.jpg", "groups-disks-2.jpg"]
    assert read_image(tmp_path / "out" / "figures" / "groups-disks-1.jpg").std() > 10
