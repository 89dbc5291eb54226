"""Streams of samples stay what they are, byte for byte: a run that was begun goes on with the same pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import Dataset
from workshop import write_disks

from vns_sam.data.pairs import Pair, read_mask
from vns_sam.training.dis_settings import Dis
from vns_sam.training.samples.prompted import TrainingSet
from vns_sam.training.samples.refinement import RefinementSet
from vns_sam.training.samples.settings import SceneMix, SetData, TrainingData
from vns_sam.training.samples.weak import WeakSet
from vns_sam.training.ws_settings import Ws


@dataclass(frozen=True)
class Stages:
    """Coarse masks of two first stages: the true mask moved right, and all but it."""

    prints: tuple[str, ...] = ("moved", "rest")

    def read(self, pair: Pair, number: int) -> np.ndarray:
        truth = read_mask(pair.mask)
        return (np.roll(truth, 3, axis=1) if number == 0 else ~truth)[None]


def digest(samples: Dataset[dict[str, np.ndarray]], count: int = 24) -> str:
    found = hashlib.sha256()
    for position in range(count):
        for name, value in sorted(samples[position].items()):
            found.update(f"{name} {value.shape} {value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
    return found.hexdigest()[:16]


def streams(root: Path) -> dict[str, Dataset[dict[str, np.ndarray]]]:
    for seed, name in enumerate(("disks", "more")):
        write_disks(root / name, 6, seed=seed)
    sets = {"disks": 2.0, "more": 1.0}
    run = {"length": 24, "step_size": 4, "seed": 3}
    plain = SetData(root=root, sets=sets, sizes=(32, 64), cache_side=64)
    mix = SceneMix(composite=0.4, camouflage=0.3, dark=0.3, defect=0.2, crack=0.2)
    mixed = TrainingData(root=root, sets=sets, sizes=(32, 64), cache_side=64, mix=mix, corrections=0.5)
    dis = Dis(colour=0.5, drop=0.3, views="object")
    return {
        "prompted": TrainingSet(mixed, edges=True, **run),
        "refinement": RefinementSet(plain, dis, Stages(), None, **run),  # type: ignore[arg-type]
        "thin": RefinementSet(plain, replace(dis, thin=4), None, thin(root), **run),
        "weak": WeakSet(plain, Ws(supervision="full"), **run),
    }


def thin(root: Path) -> Path:
    """A folder with another set, of the name that synthetic pictures have."""
    if not (root / "made").is_dir():
        write_disks(root / "made" / "thin", 4, seed=9)
    return root / "made"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prompted", "dc93df971e2db944"),
        ("refinement", "bf3efd2b68966579"),
        ("thin", "146d5a331aad5f59"),
        ("weak", "b5ce6419b8c08be7"),
    ],
)
def test_streams_are_what_they_were(tmp_path: Path, name: str, expected: str) -> None:
    assert digest(streams(tmp_path)[name]) == expected
