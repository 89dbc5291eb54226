"""Numbers that make no sense are a wrong command line, whichever command they are given to."""

from __future__ import annotations

import argparse

import pytest

from vns_sam.cli.main import main
from vns_sam.cli.numbers import at_least, number


@pytest.mark.parametrize(
    "command",
    [
        "data check set --workers -1",
        "data darken set --out dark --seed -1",
        "data enrich set --out more --workers=-1",
        "data realism set --synthetic dark --limit 0",
        "data realism set --synthetic dark --seed -1",
        "data scribble set --out lines --seed -1",
        "data score set --workers two",
        "evaluate sam-tiny --data set --limit -1",
        "evaluate sam-tiny --data set --figures -2 --out report",
        "evaluate sam-tiny --data set --workers -1",
        "evaluate --compare a.json b.json --seed -1",
    ],
)
def test_numbers_below_the_least_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("error: argument --")
    assert "expected a whole number of" in line


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("serve --port 99999", "expected a whole number from 1 to 65535"),
        ("serve --port -1", "expected a whole number from 1 to 65535"),
        *(
            (f"serve {option} {value}", "expected a number from 0.001 to 1,000,000")
            for option in ("--memory", "--max-upload", "--max-pixels")
            for value in ("nan", "inf", "1e308", "-1", "0", "many")
        ),
        ("segment photos --box 1 2 3 4 --memory 1e308", "expected a number above 0, 1,000,000 at most"),
        ("segment photos --box 1 2 3 4 --cluster --actors -1", "expected a whole number of 0 or more"),
        ("segment photos --box 1 2 3 4 --cluster --actor-cpus nan", "expected a number from 0 to 10,000"),
        ("segment photos --box 1 2 3 4 --cluster --actor-gpus inf", "expected a number from 0 to 10,000"),
        (f"segment photos --auto --points-per-side {10**30}", "expected a whole number from 1 to 1000"),
        ("pseudo-label photos --labels lines --out maps --seed -1", "expected a whole number of 0 or more"),
        ("models average a b --out c --shares 1 nan", "expected a number from 0 to 1,000,000"),
        (f"bench --boxes 4 {10**30}", "expected a whole number from 1 to 100000"),
        ("bench --size 64 0", "expected a whole number from 1 to 30000"),
        ("bench --rounds 0", "expected a whole number of 1 or more"),
        (f"export sam-tiny --anylabeling pair --canvas 64 {10**30}", "expected a whole number from 64 to 8192"),
    ],
)
def test_numbers_outside_of_their_bounds_are_refused(
    command: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("error: argument --")
    assert f"{told}, found '{command.split()[-1]}'" in line


def test_bounds_themselves_are_numbers() -> None:
    assert [at_least(1, 3)(text) for text in ("1", "3")] == [1, 3]
    assert [number(0.5, 3)(text) for text in ("0.5", " 3")] == [0.5, 3.0]
    assert number(0, 3, above=True)("1e-9") == 1e-9
    for refused in ("0", "3.1", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0, 3 at most"):
            number(0, 3, above=True)(refused)
