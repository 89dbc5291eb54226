"""Scores of pictures and sets; the same from any number of processes, and as the library gives for a set."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vns_sam
from vns_sam.errors import DataError, MissingExtraError, UsageError, VnsSamError
from vns_sam.metrics.scoring import METRICS, ImageScores, Scorer, parse_metrics, score_image, summarise

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("py_sod_metrics") is None, reason="the extra 'eval' is not installed"
)


def pictures(count: int, size: tuple[int, int] = (24, 32)) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mask, map and truth of random blobs; the last truth is empty."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        truth = np.zeros(size, bool)
        if i < count - 1:
            y, x = rng.integers(2, 12, 2)
            truth[y : y + 9, x : x + 11] = True
        gray = np.clip(truth * 150 + rng.integers(0, 106, size), 0, 255).astype(np.uint8)
        made.append((gray > 128, gray, truth))
    return made


@needs_library
def test_set_scores_equal_the_library() -> None:
    import py_sod_metrics as library

    made = pictures(6)
    ours = summarise(score_image(*picture, METRICS) for picture in made)
    measures = {
        "em": library.Emeasure(),
        "sm": library.Smeasure(),
        "wfm": library.WeightedFmeasure(),
        "mae": library.MAE(),
    }
    f = library.FmeasureV2({"f": library.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3)})
    for _, gray, truth in made:
        for measure in (*measures.values(), f):
            measure.step(gray, truth.astype(np.uint8) * 255)
    theirs = {name: measure.get_results()[name] for name, measure in measures.items()}
    theirs_f = f.get_results()["f"]
    expected = {"mae": theirs["mae"], "s": theirs["sm"], "weighted_f": theirs["wfm"]}
    expected |= {"mean_e": theirs["em"]["curve"].mean(), "max_e": theirs["em"]["curve"].max()}
    expected |= {"adaptive_e": theirs["em"]["adp"], "mean_f": theirs_f["dynamic"].mean()}
    expected |= {"max_f": theirs_f["dynamic"].max(), "adaptive_f": theirs_f["adaptive"]}
    assert list(ours) == list(METRICS)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-7), name


def test_max_is_that_of_the_mean_curve() -> None:
    early, late = np.zeros((2, 256), np.float32)
    early[0], late[255], late[7] = 1, 0.5, 0.4
    early[7] = 0.8
    sets = summarise([ImageScores({"iou": 1.0}, {"f": early}), ImageScores({"iou": 0.5}, {"f": late})])
    assert sets == pytest.approx({"iou": 0.75, "max_f": 0.6})


@needs_library
def test_json_keeps_the_scores_exactly() -> None:
    made = [score_image(*picture, METRICS) for picture in pictures(3)]
    again = [ImageScores.from_json(json.loads(json.dumps(scores.to_json(), allow_nan=False))) for scores in made]
    assert summarise(again) == summarise(made)
    assert len(json.dumps(made[0].to_json())) < 3500


@pytest.mark.parametrize("value", [{}, {"values": {}}, {"values": {"iou": "x"}, "curves": {}}, [], None])
def test_json_of_something_else_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="expected the scores of a picture"):
        ImageScores.from_json(value)  # type: ignore[arg-type]


def test_a_short_curve_is_refused() -> None:
    with pytest.raises(DataError, match="a curve of 1 values"):
        ImageScores.from_json({"values": {}, "curves": {"e": "AAAAAA=="}})


def test_sets_that_have_no_score_are_refused() -> None:
    with pytest.raises(DataError, match="at least one scored picture"):
        summarise([])
    with pytest.raises(DataError, match="the same metrics"):
        summarise([ImageScores({"iou": 1.0}), ImageScores({"biou": 1.0})])


def test_names_of_metrics() -> None:
    assert parse_metrics(["max_e", "iou", "iou"]) == ("iou", "max_e")
    with pytest.raises(UsageError, match="unknown metric 'mean_g'") as error:
        parse_metrics(["mean_g"])
    assert "did you mean mean_" in error.value.hint
    with pytest.raises(UsageError, match="at least one"):
        parse_metrics([])


@needs_library
def test_a_mask_alone_is_scored_as_a_map() -> None:
    mask, _, truth = pictures(2)[0]
    assert score_image(mask, None, truth, ["mae"]).values["mae"] == pytest.approx(np.mean(mask != truth))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("position", "bad", "says"),
    [
        (0, np.zeros((24, 31), bool), "expected a mask of shape"),
        (1, np.zeros((24, 32), np.float32), "expected a map of uint8"),
        (2, np.zeros((24, 32), np.uint8), "expected a true mask of bool"),
        (2, np.zeros((0, 32), bool), "with pixels"),
    ],
)
def test_wrong_arrays_are_refused_in_the_caller(workers: int, position: int, bad: np.ndarray, says: str) -> None:
    picture = list(pictures(1)[0])
    picture[position] = bad
    with Scorer(["iou"], workers) as scorer, pytest.raises(DataError, match=says):
        scorer.submit("a", *picture)


@needs_library
def test_processes_give_what_the_caller_gives_in_its_order() -> None:
    made = pictures(21)
    results = {}
    for workers in (0, 2):
        taken = []
        with Scorer(METRICS, workers) as scorer:
            for i, picture in enumerate(made):
                scorer.submit(("set", i), *picture)
                assert sum(not future.done() for _, future in scorer._pending) <= max(1, 4 * workers)
                taken += scorer.done()
            taken += scorer.drain()
            assert list(scorer.drain()) == []
        assert [key for key, _, _ in taken] == [("set", i) for i in range(21)]
        assert all(seconds > 0 for _, _, seconds in taken)
        results[workers] = [scores.to_json() for _, scores, _ in taken]
    assert results[0] == results[2]


def test_a_dead_process_is_one_error() -> None:
    picture = pictures(1)[0]
    with Scorer(["iou"], 1) as scorer:
        scorer.submit(0, *picture)
        list(scorer.drain())
        assert scorer._pool is not None
        (process,) = scorer._pool._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with pytest.raises(VnsSamError, match="found one dead"):
            _score_again(scorer, picture)


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text(
        "import os, signal, numpy as np\n"
        "from vns_sam.metrics.scoring import Scorer\n"
        "if __name__ == '__main__':\n"
        "    with Scorer(['iou'], 1) as scorer:\n"
        "        scorer.submit(0, np.ones((4, 4), bool), None, np.ones((4, 4), bool))\n"
        "        list(scorer.drain())\n"
        "        print(*scorer._pool._processes, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(vns_sam.__path__[0]).parent)}
    with (tmp_path / "out").open("w+") as out:  # a pipe would be held open by the processes
        subprocess.run([sys.executable, str(script)], stdout=out, env=environment, check=False)
        out.seek(0)
        worker = int(out.read())
    deadline = time.monotonic() + 10
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(worker)


def _score_again(scorer: Scorer, picture: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scorer.submit("again", *picture)
    list(scorer.drain())


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_the_extra_is_asked_for_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py_sod_metrics", None)
    Scorer(["iou", "biou"], 0)
    with pytest.raises(MissingExtraError):
        Scorer(["iou", "s"], 0)
    with pytest.raises(UsageError, match="0 or more"):
        Scorer(["iou"], -1)
