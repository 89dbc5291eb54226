"""What holds for the package as a whole: light to import, complete, and its examples run."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest
from grimp import build_graph

import vns_sam
from vns_sam import errors

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(m.name for m in pkgutil.walk_packages(vns_sam.__path__, "vns_sam."))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
HEAVY = ("torch", "transformers", "numpy", "PIL", "cv2", "scipy", "pydantic")
REFUSED = ("torchvision", "timm")
LONGEST_FILE, LONGEST_FUNCTION = 350, 60


def python(*arguments: str, cwd: Path | None = None) -> str:
    """Standard output of a fresh interpreter that finds this package."""
    source = str(Path(vns_sam.__path__[0]).parent)
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light() -> None:
    loaded = set(python("-c", "import sys, vns_sam; print(*sys.modules)").split())
    assert not loaded & set(HEAVY)


def test_public_names_resolve_to_what_their_module_defines() -> None:
    names = set(vns_sam.__all__) - {"__version__"}
    assert all(getattr(vns_sam, name).__name__ == name for name in names)
    assert set(vns_sam.__all__) <= set(dir(vns_sam))


def test_unknown_public_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'load_modle'"):
        _ = vns_sam.load_modle  # type: ignore[attr-defined]


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert vns_sam.__version__ == version("vns-sam") == project["version"]


def test_every_module_imports_and_none_pulls_in_what_is_refused() -> None:
    code = f"import sys, importlib\nfor m in {MODULES}: importlib.import_module(m)\nprint(*sys.modules)"
    loaded = set(python("-c", code).split())
    assert set(MODULES) <= loaded
    assert not loaded & set(REFUSED)


@pytest.mark.parametrize("room", ["src", "benchmarks"])
def test_files_and_functions_are_short(room: str) -> None:
    long = []
    for path in sorted((REPOSITORY / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        functions = (
            node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        spans = [(str(path), len(text.splitlines()), LONGEST_FILE)]
        spans += [
            (f"{path}: {one.name}", (one.end_lineno or 0) - one.lineno + 1, LONGEST_FUNCTION) for one in functions
        ]
        long += [f"{where} has {lines} lines" for where, lines, most in spans if lines > most]
    assert long == []


def test_no_file_needs_itself() -> None:
    graph = build_graph("vns_sam")
    TopologicalSorter({file: graph.find_modules_directly_imported_by(file) for file in graph.modules}).prepare()


def test_nothing_in_the_repository_imports_what_is_refused() -> None:
    pattern = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(REFUSED)})\b", re.MULTILINE)
    files = [f for room in ("src", "tests", "benchmarks", "examples") for f in (REPOSITORY / room).rglob("*.py")]
    assert files
    assert [str(f) for f in files if pattern.search(f.read_text())] == []


def test_exit_codes() -> None:
    kinds = (errors.UsageError, errors.DataError, errors.CheckpointError, errors.MissingExtraError)
    assert [kind.exit_code for kind in kinds] == [2, 3, 4, 5]
    assert errors.PromptError.exit_code == errors.DataError.exit_code
    assert errors.VnsSamError.exit_code not in (0, 2, 3, 4, 5)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_parses(path: Path) -> None:
    from vns_sam.training.recipe import load_recipe

    assert load_recipe(path).task


def test_readme_python_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    assert blocks, "the README shows no Python"
    for folder in ("docs", "examples"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    python("-c", "\n".join(blocks), cwd=tmp_path)


def test_readme_links_exist() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", readme())
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
    python(str(path), cwd=tmp_path)


def readme() -> str:
    """Text of the README."""
    path = REPOSITORY / "README.md"
    if not path.is_file():
        pytest.skip("the README is not in this copy")
    return path.read_text(encoding="utf-8")
