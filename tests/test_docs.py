"""Tables in README, cards and documents are what the files of results say, and what pages tell of the code is so."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from vns_sam.cli import main
from vns_sam.sam.registry import BUNDLED as WEIGHTS
from vns_sam.ws.config import WsSamConfig

REPOSITORY = Path(__file__).parents[1]
if not (REPOSITORY / "results").is_dir():
    pytest.skip("the results are not in this copy", allow_module_level=True)


sys.path.insert(0, str(REPOSITORY / "benchmarks"))  # they import each other
TABLES, BUNDLED = importlib.import_module("tables"), importlib.import_module("bundled")
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
DOCUMENTS = [path for path in TABLES.documents() if TABLES.TABLE.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_tables_say_what_the_results_say(path: Path) -> None:
    assert TABLES.refresh(path, check=True), "make docs"


def test_a_changed_number_is_seen_and_mended(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    number = re.search(r"\| 0\.\d{3} \|", text)
    assert number is not None
    copy.write_text(text[: number.start()] + "| 1.234 |" + text[number.end() :], encoding="utf-8")
    assert not TABLES.refresh(copy, check=True)
    assert not TABLES.refresh(copy, check=False)
    assert copy.read_text(encoding="utf-8") == text


def test_every_measurement_is_shown_and_names_its_command() -> None:
    orders = [match[2] for path in DOCUMENTS for match in TABLES.TABLE.finditer(path.read_text(encoding="utf-8"))]
    shown = {order.split()[0] for order in orders}
    files = sorted((REPOSITORY / "results").glob("*.json"))
    assert shown == {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert all(TABLES.read_results(path).command for path in files)


@pytest.mark.parametrize("name", BUNDLED.MEASUREMENTS)
def test_what_is_measured_of_bundled_models_is_measured_as_the_script_does(name: str) -> None:
    asked = BUNDLED.MEASUREMENTS[name]
    results = TABLES.read_results(REPOSITORY / "results" / f"{name}.json")
    words = BUNDLED.command_of(asked, next(iter(asked.options.values())), "data")
    assert results.command == shlex.join(["vns-sam", *words[1:]])
    assert results.title == asked.title
    assert {row.set for row in results.rows} - {"all sets"} == {*asked.sets, *asked.groups}


def test_sets_called_unseen_are_in_no_recipe_and_sets_called_learnt_in_one() -> None:
    learnt = {name: trained_on(name) for name in ("sam-tiny", "vns-sam-tiny", "dis-sam-tiny", "ws-sam-tiny")}
    assert not BUNDLED.UNSEEN.keys() & set().union(*learnt.values())
    assert BUNDLED.LEARNT.keys() | BUNDLED.OWN.keys() <= learnt["vns-sam-tiny"]
    assert not set(BUNDLED.NOT_REFINED.split()) & learnt["dis-sam-tiny"]
    assert set(BUNDLED.UNPROMPTED) <= learnt["ws-sam-tiny"]
    assert not set(BUNDLED.UNPROMPTED_UNSEEN) & learnt["ws-sam-tiny"]


def trained_on(model: str) -> set[str]:
    """The sets that the recipe of a bundled model trains on."""
    steps = yaml.safe_load((REPOSITORY / "recipes" / "bundled" / f"{model}.yaml").read_text(encoding="utf-8"))["steps"]
    (step,) = (step for step in steps if step["do"] == "train")
    return set(step["change"]["data.sets"] if "change" in step else step["recipe"]["data"]["sets"])


def test_links_between_documents_exist() -> None:
    for path in (REPOSITORY / "docs").rglob("*.md"):
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_figures_say_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = TABLES.figure
    assert figure.refresh(check=True) == [], "make docs"
    shown = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md"))
    assert all(f"](images/{path.name})" in shown for path in figure.FIGURES)
    read, half = figure.read_results, TABLES.Score(0.5)

    def other(path: Path) -> object:
        results = read(path)
        return replace(
            results, rows=tuple(replace(row, scores=dict.fromkeys(row.scores, half)) for row in results.rows)
        )

    monkeypatch.setattr(figure, "read_results", other)
    assert figure.refresh(check=True) == [*figure.FIGURES]


def test_a_line_says_how_it_is_measured_again() -> None:
    whole = "vns-sam evaluate a b+c --prompt box --out report --data data/x thin data/y --seed 3"
    assert TABLES.command_of(whole, {"set": "x"}) == "vns-sam evaluate a b+c --prompt box --data data/x --seed 3"
    one = TABLES.command_of(whole, {"set": "thin structures", "model": "b+c"})
    assert one == "vns-sam evaluate b+c --prompt box --data thin --seed 3"
    assert shlex.split(TABLES.command_of(whole, {"set": "mean", "model": "z"}))[2:4] == ["a", "b+c"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_of_a_block_would_replace_what_one_above_it_wrote(page: Path) -> None:
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        places = [place for line in block.splitlines() if (place := _written(line))]
        assert len(set(places)) == len(places), block


def _written(line: str) -> str:
    """Where a line of segment, evaluate or serve writes to; "" for any other."""
    words = line.partition(" #")[0].split()
    if words[:1] != ["vns-sam"] or words[1] not in ("segment", "evaluate", "serve"):
        return ""
    if "--out" in words:
        return words[words.index("--out") + 1].rstrip("/")
    return words[2] if words[1] == "segment" else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_has_options_that_its_command_knows(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in main.VERBS:
        monkeypatch.setattr(main._module(verb), "run", lambda args: 0)
    for line in re.findall(r"^ *(vns-sam .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line.rstrip("\\"), comments=True)[1:]
        if not {"...", "|", ">"} & set(words) and not line.endswith("\\"):  # whole lines of one command
            main.dispatch(words, quiet=True)


def test_the_page_on_graphs_names_files_and_weights_as_they_are() -> None:
    page = (REPOSITORY / "docs" / "onnx.md").read_text(encoding="utf-8")
    ((least, most),) = re.findall(r"graphs have (\d+) to (\d+) KB each", page)
    assert all(int(least) <= path.stat().st_size / 1000 <= int(most) for path in WEIGHTS.glob("*/*.onnx"))
    folder = json.loads((WEIGHTS / "vns-sam-tiny" / "onnx.json").read_text(encoding="utf-8"))
    ((name, stored),) = re.findall(r"`(model\.[\w.]+)` of `vns-sam-tiny` is `([\w.]+)`", page)
    assert folder["weights"]["decoder"][name] == [folder["sources"].index("sam-tiny"), stored]


def test_the_page_on_ws_sam_tells_its_configuration() -> None:
    page = (REPOSITORY / "docs" / "ws-sam.md").read_text(encoding="utf-8")
    config = WsSamConfig()
    for name in ("channels", "image_size", "reconstruct", "grouping_levels", "head"):
        value = getattr(config, name)
        assert f"| `{name}` | {list(value) if isinstance(value, tuple) else value} |" in page
