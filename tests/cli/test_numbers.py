"""Numbers that make no sense are a wrong command line, whichever command they are given to."""

from __future__ import annotations

import pytest

from vns_sam.cli.main import main


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
