"""`vns-sam bench` and the timing below it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import FakeModel

from vns_sam.cli import bench
from vns_sam.cli.main import main
from vns_sam.errors import VnsSamError
from vns_sam.evaluation.timing import Fresh, Times, in_fresh_process, take_turns
from vns_sam.types import ModelInfo


def test_what_is_compared_takes_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    times = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert [len(one.seconds) for one in times.values()] == [3, 3]
    assert Times((3.0, 1.0, 2.0)).median == 2
    assert Times((3.0, 1.0, 2.0)).spread == (1, 3)


def test_memory_is_that_of_the_process_itself() -> None:
    small = in_fresh_process("pass")
    large = in_fresh_process(
        "import sys; held = bytearray(int(sys.argv[1])); held[::4096] = held[::4096]", ["100000000"]
    )
    assert 80 < large.peak_mib - small.peak_mib < 250
    with pytest.raises(VnsSamError, match="KeyError"):
        in_fresh_process("{}[1]")


def test_a_model_is_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vns_sam.evaluation.timing.in_fresh_process", lambda *_: Fresh(1.5, 300.0))
    command = ["bench", "sam-tiny", "--boxes", "1", "2", "--size", "64", "96", "--rounds", "1", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["what"].partition(": ")[2] for row in told["rows"]] == [
        "encode",
        "1 boxes in one call",
        "2 boxes in one call",
        "2 boxes one at a time",
        "first mask",
    ]
    assert all(row["seconds"] > 0 for row in told["rows"])
    assert told["rows"][-1]["peak_mib"] == 300


def test_the_first_mask_has_the_device_and_a_true_median(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, given = iter((1.0, 4.0)), []

    def measured(code: str, arguments: list[str]) -> Fresh:
        given.append(arguments)
        return Fresh(next(seconds), 300.0)

    monkeypatch.setattr("vns_sam.evaluation.timing.in_fresh_process", measured)
    command = ["bench", "sam-tiny", "--boxes", "1", "--size", "64", "96", "--rounds", "2", "--device", "cpu", "--json"]
    assert main(command) == 0
    last = json.loads(capsys.readouterr().out)["rows"][-1]
    assert (last["seconds"], last["shortest"], last["longest"]) == (2.5, 1, 4)
    assert given == [["sam-tiny", "auto", "64", "96", "cpu"]] * 2


@pytest.mark.parametrize(("kinds", "what"), [({"box", "point"}, "boxes"), ({"point"}, "clicks")])
def test_a_model_is_asked_with_what_it_takes(kinds: set[str], what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = ModelInfo("some", "some", prompts=frozenset(kinds))
    monkeypatch.setattr(FakeModel, "info", info)
    calls = bench._calls(FakeModel(), np.zeros((48, 64, 3), np.uint8), [2])
    assert list(calls) == ["encode", f"2 {what} in one call", f"2 {what} one at a time"]
    for call in calls.values():
        call()


def test_boxes_lie_in_the_picture() -> None:
    boxes = bench.random_boxes(50, 30, 60)
    assert boxes.min() >= 0
    assert (boxes[:, [0, 2]] <= 60).all()
    assert (boxes[:, [1, 3]] <= 30).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()


@pytest.mark.parametrize("wrong", [["--boxes", "0"], ["--rounds", "0"], ["--size", "0", "9"]])
def test_numbers_below_one_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *wrong]) == 2
    assert "expected a whole number" in capsys.readouterr().err
