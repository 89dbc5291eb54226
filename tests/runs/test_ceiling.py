"""How many items are at work at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from vns_sam.runs.job import Mapper, Work
from vns_sam.runs.memory import BYTES_A_PIXEL, Ceiling, weight_of
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import Overlapped

WEIGHTS = [3, 3, 9, 1, 1, 1, 1]


class Weighed(Work[int, int]):
    """Items that say what they weigh; ``seen`` has what all that were at work weighed together, at each start."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._held = 0
        self._lock = threading.Lock()

    def name(self, item: int) -> str:
        return str(item)

    def weight(self, item: int) -> int:
        return WEIGHTS[item]

    def read(self, item: int) -> None:
        with self._lock:
            self._held += WEIGHTS[item]
            self.seen.append(self._held)

    def work(self, item: int, content: None) -> None:
        time.sleep(0.05)

    def encode(self, item: int, answer: None) -> int:
        with self._lock:
            self._held -= WEIGHTS[item]
        return WEIGHTS[item]


class Plain(Work[int, int]):
    """The same, uncounted, for other processes."""

    def name(self, item: int) -> str:
        return str(item)

    def weight(self, item: int) -> int:
        return WEIGHTS[item]

    def work(self, item: int, content: None) -> None: ...

    def encode(self, item: int, answer: None) -> int:
        return WEIGHTS[item]


def errors(mapper: Mapper, work: Work[int, int], items: Sequence[int]) -> dict[str, str]:
    return {done.name: done.error for done in mapper(work, items)}


def test_items_at_work_stay_below_the_ceiling_together() -> None:
    free, bound = Weighed(), Weighed()
    assert not any(errors(Overlapped(Ceiling(100)), free, range(7)).values())
    assert not any(errors(Overlapped(Ceiling(6)), bound, range(7)).values())
    assert max(free.seen) > 9
    assert sorted(bound.seen)[-2:] == [6, 9]  # the one that is above the ceiling is done alone


@pytest.mark.parametrize("mapper", [Overlapped(Ceiling(6, firm=True)), Processes(2, Ceiling(6, firm=True))])
def test_what_takes_more_than_is_allowed_is_refused_and_the_rest_is_done(mapper: Mapper) -> None:
    found = errors(mapper, Plain(), range(7))
    assert [name for name, error in found.items() if error] == ["2"]
    assert found["2"].startswith("2: it takes about 8.38e-09 GiB, --memory allows 5.59e-09:")
    assert len(found) == 7


def test_the_weight_is_that_of_the_largest_picture(tmp_path: Path) -> None:
    for name, side in (("a.png", 10), ("b.png", 20)):
        cv2.imwrite(str(tmp_path / name), np.zeros((side, side, 3), np.uint8))
    (tmp_path / "c.csv").write_text("no picture")
    assert weight_of(tmp_path / name for name in ("a.png", "b.png", "c.csv", "gone.png")) == 400 * BYTES_A_PIXEL
