"""Recipes: read, checked field by field, written back."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from vns_sam.errors import UsageError
from vns_sam.labelling.fusion import Selection
from vns_sam.training.fields import read_values
from vns_sam.training.recipe import Dis, Optim, Recipe, Validation, Ws, dump_recipe, load_recipe, parse_recipe
from vns_sam.training.samples.prompted import SceneMix, TrainingData

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
RECIPES = [path for path in SHIPPED if read_values(path)["task"] != "cyclegan"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_parse_and_round_trip(path: Path) -> None:
    recipe = load_recipe(path)
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe)), "dump") == recipe


@pytest.mark.parametrize("scale", ["tiny", "vit_l"])
def test_recipes_that_are_compared_train_on_the_same_samples(scale: str) -> None:
    shared = ("data", "bce", "steps", "batch_size", "accumulate", "precision", "seed", "validation")
    compared = [load_recipe(path) for path in RECIPES if re.fullmatch(rf"(vns_sam|hq_sam|ft_\w+)_{scale}", path.stem)]
    assert len(compared) == {"tiny": 5, "vit_l": 3}[scale]
    for name in shared:
        assert all(getattr(recipe, name) == getattr(compared[0], name) for recipe in compared), name
    for recipe in compared:
        assert replace(recipe.optim, lr=0, backbone_lr=0) == replace(compared[0].optim, lr=0, backbone_lr=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "stepz: no such field, did you mean 'steps'"),
        ({"optim": {"lr": "fast"}}, "optim.lr"),
        ({"optim": {"warmpu": 3}}, "optim.warmpu: no such field, did you mean 'warmup'"),
        ({"steps": 0}, "steps"),
        ({"ema": 1}, "ema"),
        ({"tune": "neck"}, "tune"),
        ({"task": "dis"}, "task"),
        ({"dis": {"encodr": "x"}}, "dis.encodr: no such field, did you mean 'encoder'"),
        ({"ws": {"selection": {"absolut": 0.2}}}, "ws.selection.absolut: no such field, did you mean 'absolute'"),
        ({"ws": {"supervision": "none"}}, "ws.supervision"),
        ({"data": None}, "data"),
        ({"data": {"root": ".", "sets": {"a": 1}, "sizes": [100]}}, "data: .*multiples of 32"),
        ({"data": {"root": ".", "sets": {"a": 0}}}, "data: .*above 0"),
    ],
)
def test_wrong_fields_are_named(recipe_file: Path, change: dict[str, object], message: str) -> None:
    values = {**yaml.safe_load(recipe_file.read_text()), **change}
    with pytest.raises(UsageError, match=message):
        parse_recipe(values, "r.yaml")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_files_that_hold_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"r\.yaml"):
        load_recipe(tmp_path / "r.yaml")


def test_a_recipe_has_the_fields_of_its_base_less_its_own(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "middle.yaml").write_text(f"base: {recipe_file}\nsteps: 7\nseed: 3\n")
    (tmp_path / "deep" / "own.yaml").write_text("base: ../middle.yaml\nseed: 5\nout: elsewhere\n")
    own, base = load_recipe(tmp_path / "deep" / "own.yaml"), load_recipe(recipe_file)
    assert own == replace(base, steps=7, seed=5, out=Path("elsewhere"))
    (tmp_path / "middle.yaml").write_text("base: deep/own.yaml\n")
    with pytest.raises(UsageError, match="is its own base"):
        load_recipe(tmp_path / "middle.yaml")


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe at"):
        load_recipe(tmp_path / "none.yaml")


def test_documented_recipe_parses() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert parse_recipe(yaml.safe_load(example), "example").data.sets == {"leaves": 1}


def test_every_field_is_documented() -> None:
    parts = {"": Recipe, "data.": TrainingData, "data.mix.": SceneMix, "dis.": Dis, "ws.": Ws}
    parts |= {"ws.selection.": Selection, "optim.": Optim, "validation.": Validation}
    names = {prefix + field.name for prefix, kind in parts.items() for field in fields(kind)}
    documented = set(re.findall(r"`([\w.]+)`", "\n".join(re.findall(r"^\| `.*?\|", DOCS.read_text(), re.MULTILINE))))
    assert documented == names - {"data", "data.mix", "dis", "ws", "ws.selection", "optim", "validation"}
