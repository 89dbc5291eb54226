"""What the answers about a picture weigh, for those who may take no more than so much memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeModel
from PIL import Image

from vns_sam.cli.main import main
from vns_sam.inference.answers import (
    BYTES_OF_A_PROMPT,
    BYTES_OF_LOGITS,
    BYTES_OF_MAPS,
    PIXELS_KEPT,
    weight_of_answers,
)
from vns_sam.inference.folder import FolderRun, SegmentJob
from vns_sam.inference.predictor import Predictor
from vns_sam.runs.memory import BYTES_A_PIXEL
from vns_sam.serving.settings import Settings
from vns_sam.types import ModelInfo

PIXELS = 32 * 24


class Matting(FakeModel):
    """A model with alpha that offers three masks."""

    @property
    def info(self) -> ModelInfo:
        return replace(super().info, alpha=True, candidates=3)


def test_masks_that_are_kept_as_what_they_cover_weigh_nothing_and_maps_what_they_take() -> None:
    """All maps are kept up to ``PIXELS_KEPT``; those of one mask are counted with its picture."""
    plain, rimmed, matting = FakeModel().info, FakeModel(edges=True).info, Matting().info
    kept = PIXELS_KEPT // 64
    assert weight_of_answers(rimmed, kept + 1, 64) == weight_of_answers(rimmed, PIXELS_KEPT, 1) == 0
    assert weight_of_answers(rimmed, kept, 64) == kept * 63 * BYTES_OF_MAPS
    assert weight_of_answers(plain, kept, 64) == kept * 63 * BYTES_OF_LOGITS
    assert weight_of_answers(plain, kept + 1, 64, edges=True) == (kept + 1) * 64 * BYTES_OF_LOGITS
    assert weight_of_answers(rimmed, kept + 1, 64, edges=True) == (kept + 1) * 64 * BYTES_OF_MAPS
    assert weight_of_answers(matting, kept + 1, 64) == (kept + 1) * 64 * BYTES_OF_MAPS
    both = weight_of_answers(matting, 100, 2, masks=True, candidates=True)
    assert both == 200 * (BYTES_OF_MAPS + BYTES_OF_A_PROMPT + 3)


@pytest.mark.parametrize("name", ["sam-tiny", "vns-sam-tiny"])
def test_several_small_masks_weigh_what_they_take(name: str) -> None:
    predictor = Predictor(name, second_look="off")
    predictor.set_image(np.zeros((500, 500, 3), np.uint8))
    peaks = []
    for objects in (1, 41):
        tracemalloc.start()
        predictor.predict(boxes=[[10, 10, 200 + k, 300] for k in range(objects)])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] == pytest.approx(weight_of_answers(predictor.model.info, 500 * 500, 41), rel=0.2)


def test_a_server_answers_about_as_many_objects_as_it_takes_at_once_of_usual_pictures() -> None:
    settings, info = Settings(), replace(FakeModel(edges=True).info, candidates=4)
    objects = settings.limits.objects
    asked = {"masks": True, "candidates": True}
    assert weight_of_answers(info, PIXELS_KEPT // objects, objects, **asked) < settings.memory


@pytest.mark.parametrize(
    ("model", "given", "formats", "more"),
    [
        (FakeModel(edges=True), {"boxes": [[2, 2, 20, 20]] * 5}, ("png",), 4 * BYTES_OF_MAPS),
        (FakeModel(), {"boxes": [[2, 2, 20, 20]] * 5}, ("png",), 4 * BYTES_OF_LOGITS),
        (FakeModel(), {"boxes": [[2, 2, 20, 20]]}, ("png",), 0),
        (FakeModel(), {}, ("png",), 0),
        (Matting(), {"boxes": [[2, 2, 20, 20]] * 5}, ("png",), 5 * BYTES_OF_MAPS),
        (Matting(), {"boxes": [[2, 2, 20, 20]] * 5}, ("png", "candidates"), 5 * (BYTES_OF_MAPS + 3)),
        (FakeModel(), {"masks": np.ones((4, 24, 32), bool)}, ("png",), 3 * BYTES_OF_LOGITS + 4 * BYTES_OF_A_PROMPT),
        (FakeModel(), {"masks": [["a.png", "0", 0]] * 2}, ("png",), BYTES_OF_LOGITS + 2 * BYTES_OF_A_PROMPT),
        (Matting(), {}, ("png",), BYTES_OF_MAPS),
    ],
)
def test_a_picture_of_a_folder_weighs_what_is_asked_about_it(
    tmp_path: Path, model: FakeModel, given: dict[str, Any], formats: tuple[str, ...], more: int
) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "a.png")
    run = FolderRun(tmp_path, tmp_path / "out", {"a.png": given, "gone.png": given}, formats)
    job = SegmentJob(run, lambda: Predictor(model))
    assert job.weight("a.png") == PIXELS * (BYTES_A_PIXEL + more)
    assert job.weight("gone.png") == 0


@pytest.mark.parametrize("place", ["a.png", "."])
def test_many_refined_objects_are_more_than_memory_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (100, 100), "grey").save("a.png")
    allowed = 10_000 * (BYTES_A_PIXEL + BYTES_OF_MAPS + 1) / 2**30
    options = ["--refine", "dis-sam-tiny", "--no-second-look", "--memory", str(allowed), "--force"]
    assert main(["segment", place, "--box", "20", "20", "60", "60", *options, "--out", "out"]) == 0
    two = ["--box", "20", "20", "60", "60", "--box", "30", "30", "70", "70"]
    assert main(["segment", place, *two, *options, "--out", "out"]) == 3
    assert (
        f"a.png: it takes about {10_000 * (BYTES_A_PIXEL + 2 * BYTES_OF_MAPS) / 2**30:.3g} GiB"
        in capsys.readouterr().err
    )
