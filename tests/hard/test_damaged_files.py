"""Files of ours that users can touch: whatever is in them, they are read, or refused in one line."""

from __future__ import annotations

import copy
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from damage import blanked, cut, flipped, spliced
from ours import Kind, kinds

from vns_sam.errors import VnsSamError

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 2.5, -0.0, 1e308, float("inf"), float("nan"), 10**400, 2**63),
    *("", "x", "../../up", "a\nb", "\0", "nan", "x" * 20_000, [], {}, [[]], [None], {"x": 1}, {"": {}}, [1] * 200),
)
ODD_TEXTS = (
    b"",
    b"\xff\xfe\0\0",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5_000,
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"- - -",
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value can be replaced."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def replaced(value: Any, rng: random.Random) -> Any:
    """A value in which one place is odd, gone, or has a neighbour."""
    value = copy.deepcopy(value)
    at = rng.choice([*places(value)])
    if not at:
        return rng.choice(ODD)
    holder = value
    for key in at[:-1]:
        holder = holder[key]
    if rng.random() < 0.2:
        del holder[at[-1]]
    elif rng.random() < 0.2 and isinstance(holder, dict):
        holder[rng.choice(["odd", "", "x" * 300, "a.b"])] = rng.choice(ODD)
    else:
        holder[at[-1]] = rng.choice(ODD)
    return value


def damaged(kind: Kind, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return rng.choice(ODD_TEXTS)
    if kind.syntax and rng.random() < 0.7:
        if kind.syntax == "lines":
            every = kind.content.splitlines()
            at = rng.randrange(len(every))
            every[at] = json.dumps(replaced(json.loads(every[at]), rng)).encode()
            return b"\n".join(every) + b"\n"
        if kind.syntax == "json":
            return json.dumps(replaced(json.loads(kind.content), rng)).encode()
        made = replaced(yaml.safe_load(kind.content), rng)
        return yaml.safe_dump(made).encode("utf-8", "replace")
    damage = rng.choice((cut, flipped, blanked, spliced))
    return damage(kind.content, np.random.default_rng(rng.randrange(2**32)))


@pytest.fixture
def silence(caplog: pytest.LogCaptureFixture) -> None:
    """What is passed over is told in the log, a line for each."""
    caplog.set_level(logging.CRITICAL)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("count", "seed"), [(25, 0), pytest.param(2000, 1, marks=pytest.mark.hard)], ids=["quick", "hard"]
)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, count: int, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    (tmp_path / "whole").mkdir()
    rng, faults, refused, tried = random.Random(seed), [], 0, 0
    for number, kind in enumerate(kinds(tmp_path / "whole")):
        place = tmp_path / str(number)
        place.mkdir()
        path = place / kind.name
        path.write_bytes(kind.content)
        kind.read(path)  # a whole one is read
        for attempt in range(count):
            content = damaged(kind, rng)
            path.write_bytes(content)
            tried += 1
            try:
                kind.read(path)
            except VnsSamError as error:
                refused += 1
                if "\n" in error.message or len(error.message) > 1000:
                    faults.append(f"{kind.name} {attempt}: message of {len(error.message)}: {error.message[:200]!r}")
            except Exception as error:
                faults.append(f"{kind.name} {attempt}: {type(error).__name__} {str(error)[:80]} of {content[:300]!r}")
    assert faults[:12] == [], f"{len(faults)} of {tried}"
    print(f"{tried} damaged files, {refused} refused, the rest read")
