"""Recipes: read, checked field by field, written back."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from vns_sam.cli.main import main
from vns_sam.cli.overrides import apply_overrides
from vns_sam.errors import UsageError
from vns_sam.sam.model_config import hints_of
from vns_sam.training.describe import BEGIN, END, describe, table
from vns_sam.training.fields import find_recipe, merge, parts_of, read_values
from vns_sam.training.recipe import Validation, continues, dump_recipe, load_recipe, parse_recipe, recipe_fields
from vns_sam.training.settings import ModelFields
from vns_sam.training.tasks import RECIPES as RECIPES_OF

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_parse_and_round_trip(path: Path) -> None:
    recipe = load_recipe(path)
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe)), "dump") == recipe


@pytest.mark.parametrize("scale", ["tiny", "vit_l"])
def test_recipes_that_are_compared_train_on_the_same_samples(scale: str) -> None:
    shared = ("data", "bce", "steps", "batch_size", "accumulate", "precision", "seed", "validation")
    compared = [load_recipe(path) for path in SHIPPED if re.fullmatch(rf"(vns_sam|hq_sam|ft_\w+)_{scale}", path.stem)]
    assert len(compared) == {"tiny": 5, "vit_l": 3}[scale]
    for name in shared:
        assert all(getattr(recipe, name) == getattr(compared[0], name) for recipe in compared), name
    for recipe in compared:
        assert replace(recipe.optim, lr=1, backbone_lr=1) == replace(compared[0].optim, lr=1, backbone_lr=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "stepz: no such field of the task 'sam', did you mean 'steps'"),
        ({"composite": 1}, "composite: no such field of the task 'sam'(?!, did you mean 'composite')"),
        ({"optim": {"lr": "fast"}}, r"optim\.lr: .*found 'fast'"),
        ({"optim": {"lr": -1}}, r"optim\.lr: should be greater than 0, found -1"),
        ({"optim": {"lr": float("nan")}}, r"optim\.lr"),
        ({"optim": {"gamma": 2}}, r"optim\.gamma"),
        ({"optim": {"warmup": -1}}, r"optim\.warmup"),
        ({"optim": {"warmpu": 3}}, r"optim\.warmpu: no such field.*, did you mean 'warmup'"),
        ({"steps": 0}, "steps"),
        ({"steps": 10**400}, "steps: "),
        ({"ema": 1}, "ema"),
        ({"workers": -3}, "workers: should be greater than or equal to 0, found -3"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"task": "dis"}, "expected a 'task', found 'dis'"),
        ({"task": None}, "expected a 'task', found none"),
        ({"task": ["sam"]}, "expected a 'task'"),
        ({"data": None}, "data"),
        ({"data": {"root": ".", "sets": {"a": 1}, "sizes": [100]}}, "data: .*multiples of 32"),
        ({"data": {"root": ".", "sets": {"a": 0}}}, r"data\.sets\.a: should be greater than 0"),
        ({"data": {"root": ".", "sets": {"a": 1}, "mix": {"composite": 7}}}, r"data\.mix\.composite"),
        ({"data": {"root": ".", "sets": {"a": 1}, "mixx": {}}}, r"data\.mixx: no such field.*'mix'"),
        ({"tune": "token"}, "tune: no such field of the task 'sam'"),
        ({"vns": {}}, "vns: no such field of the task 'sam'"),
        ({"bce": "mean"}, "bce: no such field"),
        ({"task": "sam-tune", "tune": "neck"}, "tune"),
        (
            {"task": "vns-sam", "vns": {"head_chanels": 3}},
            "vns: .*no field 'head_chanels'",
        ),
        ({"task": "vns-sam", "vns": {"head_channels": "many"}}, "vns: head_channels must be a whole number"),
        ({"task": "vns-sam", "vns": {"ablation": "no-nfsm"}}, "vns: there is no ablation 'no-nfsm'"),
        ({"task": "vns-sam", "vns": {"switches": {"wavelets": "hihg"}}}, "vns: switch 'wavelets' cannot be 'hihg'"),
        ({"task": "hq-sam", "hq": {"early_channels": 0}}, "hq: early_channels must be"),
        ({"task": "dis-sam", "dis": {"encodr": "x"}}, "dis.encodr: no such field.*, did you mean 'encoder'"),
        ({"task": "dis-sam", "dis": {"model": {"width": "x"}}}, r"dis\.model: width must be a number"),
        (
            {"task": "dis-sam", "dis": {"model": {"residual": True, "mask_channel": False}}},
            "expected a mask channel for residual true, found mask_channel false",
        ),
        ({"task": "ws-sam", "ws": {"model": {"grouping_levels": [4, 4]}}}, "must be different levels"),
        ({"task": "dis-sam", "data": {"root": ".", "sets": {"a": 1}, "prompts": 1}}, r"data\.prompts: no such field"),
        ({"task": "ws-sam", "batch_size": 1}, "batch_size: should be greater than or equal to 2"),
        (
            {"task": "ws-sam", "ws": {"selection": {"absolut": 0.2}}},
            "absolut: no such field.* 'absolute'",
        ),
        ({"task": "ws-sam", "ws": {"selection": {"absolute": 2}}}, "limit 'absolute' from 0 to 1"),
        ({"task": "ws-sam", "ws": {"supervision": "none"}}, r"ws\.supervision"),
        ({"task": "ws-sam", "ws": {"model": {"channels": 24}}}, r"ws\.model: channels must be .*multiple of 16"),
        ({"task": "ws-sam", "data": {"root": ".", "sets": {"a": 1}, "mix": {"dark": 1}}}, r"data\.mix: no such field"),
        ({"task": "cyclegan", "data": {"bright": ["a"], "dark": ["b"], "crop": 30}}, r"data\.crop"),
        ({"task": "cyclegan", "data": {"bright": ["a"], "dark": ["b"]}, "lr": 0}, "lr: should be greater than 0"),
    ],
)
def test_wrong_fields_are_named(recipe_file: Path, change: dict[str, object], message: str) -> None:
    values = {**yaml.safe_load(recipe_file.read_text()), **change}
    with pytest.raises(UsageError, match=message) as caught:
        parse_recipe(values, "r.yaml")
    assert caught.value.message.startswith("r.yaml")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("task", ["cyclegan", "vns-sam"])
def test_no_is_a_word_in_a_recipe(recipe_file: Path, task: str) -> None:
    given = yaml.safe_load(recipe_file.read_text())
    if task == "cyclegan":
        given = {"task": task, "out": "o", "data": {"bright": ["a"], "dark": ["b"]}}
    assert parse_recipe({**given, **yaml.safe_load("precision: no")}, "r").precision == "no"
    with pytest.raises(UsageError, match="precision: should be"):
        parse_recipe({**given, "precision": True}, "r")


def test_what_a_run_of_an_earlier_version_wrote_is_the_same_recipe(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    before = {
        **recipe_fields(recipe),
        "vns": None,
        "dis": None,
        "tune": "decoder",
        "bce": "weighted",
        "ws": {"pool": 3},
    }
    assert parse_recipe(before, "r", resolved=True) == recipe
    assert continues(yaml.safe_dump({k: v for k, v in before.items() if k != "out"}), recipe)
    assert not continues(yaml.safe_dump({**before, "seed": 3}), recipe)
    assert not continues(yaml.safe_dump({**before, "gone": 3}), recipe)
    assert not continues("[", recipe)
    assert not continues(None, recipe)
    with pytest.raises(UsageError, match="tune: no such field"):
        parse_recipe(before, "r")


@pytest.mark.parametrize(
    ("given", "side"),
    [
        ({}, 512),
        ({"sizes": [320, 448]}, 512),
        ({"sizes": [320, 1024]}, 1024),
        ({"sizes": [1024], "cache_side": None}, 1024),
        ({"sizes": [1024], "cache_side": 640}, 640),
        ({"sizes": [1024], "samples": "released"}, 512),
    ],
)
def test_pictures_have_the_pixels_of_their_views(recipe_file: Path, given: dict[str, Any], side: int) -> None:
    values = yaml.safe_load(recipe_file.read_text())
    values["data"] = {"root": ".", "sets": {"a": 1}, **given}
    values["task"] = "vns-sam"
    recipe = parse_recipe(values, "r")
    assert recipe_fields(recipe)["data"]["cache_side"] == side
    before = {**recipe_fields(recipe), "data": {**recipe_fields(recipe)["data"], "cache_side": 512}}
    assert continues(yaml.safe_dump(before), recipe) == (side == 512)


ODD = {
    "list": "[1, 2]",
    "cut": "a: [",
    "empty": "",
    "deep": "[" * 100_000,
    "deep mapping": "a: " * 1 + "{a: " * 3000,
    "large": "a: " + "x" * 2**21,
    "number": "1: 2",
    "tag": "a: !!python/object/apply:os.system [id]",
    "digits": "steps: " + "9" * 5000,
    "base": "base: 5",
    "self": "base: r.yaml",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_files_that_hold_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"r\.yaml") as caught:
        load_recipe(tmp_path / "r.yaml")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("kind", ["latin", "device", "pipe", "folder"])
def test_files_that_are_no_text_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    if kind == "latin":
        path.write_bytes(b"task: \xff\xfe")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UsageError, match=r"r\.yaml is not readable YAML"):
        load_recipe(path)


def test_a_recipe_has_the_fields_of_its_base_less_its_own(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "middle.yaml").write_text(f"base: {recipe_file}\nsteps: 7\nseed: 3\n")
    (tmp_path / "deep" / "own.yaml").write_text("base: ../middle.yaml\nseed: 5\nout: elsewhere\n")
    own, base = load_recipe(tmp_path / "deep" / "own.yaml"), load_recipe(recipe_file)
    assert own == replace(base, steps=7, seed=5, out=Path("elsewhere"))
    (tmp_path / "middle.yaml").write_text("base: deep/own.yaml\n")
    with pytest.raises(UsageError, match="is its own base"):
        load_recipe(tmp_path / "middle.yaml")


def test_a_null_takes_a_field_of_the_base_away_at_every_depth(recipe_file: Path, tmp_path: Path) -> None:
    base = load_recipe(recipe_file)
    assert (base.optim.clip, base.validation) != (0, Validation())
    (tmp_path / "fuller.yaml").write_text(
        f"{{base: {recipe_file}, ema: 0.5, data: {{mix: {{camouflage: 0.5}}, sets: {{more: 1}}}}}}"
    )
    (tmp_path / "own.yaml").write_text(
        "{base: fuller.yaml, optim: {clip: null}, ema: null, validation: null,"
        " data: {mix: {camouflage: null}, sets: {more: null}}}"
    )
    plain = replace(base, optim=replace(base.optim, clip=0), validation=Validation())
    assert load_recipe(tmp_path / "own.yaml") == plain
    (tmp_path / "bare.yaml").write_text("{base: fuller.yaml, data: {root: null}}")
    with pytest.raises(UsageError, match=r"data\.root: "):  # one without a default stays wanted
        load_recipe(tmp_path / "bare.yaml")


@pytest.mark.parametrize("base", [True, False])
def test_a_null_is_refused_where_there_is_nothing_to_take_away(recipe_file: Path, tmp_path: Path, base: bool) -> None:
    values = yaml.safe_load(recipe_file.read_text())
    own = {"base": str(recipe_file)} if base else values
    blank = {"data": {**own.get("data", {}), "sets": {"leaves": 1, "kvasir": None}}, "optim": {"gamma": None}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**own, **blank}))
    with pytest.raises(UsageError, match=r"2 wrong fields: .*sets\.kvasir: .*found None; optim\.gamma: .*found None"):
        load_recipe(tmp_path / "own.yaml")


def test_a_null_on_the_command_line_takes_a_field_of_the_recipe_away(recipe_file: Path) -> None:
    values = apply_overrides(read_values(recipe_file), ["--optim.clip", "null", "--data.sets", "{a: 1}"])
    apply_overrides(values, ["--data.sets.b", "2", "--data.sets.a", "null", "--init", "null"])
    recipe = parse_recipe(values, "own")
    assert (recipe.optim.clip, recipe.data.sets, recipe.init) == (0, {"b": 2}, None)
    with pytest.raises(UsageError, match=r"optim\.clip: .*found None"):
        parse_recipe(apply_overrides(values, ["--optim.clip=null"]), "own")


def test_null_is_the_default_of_every_field_that_takes_it() -> None:
    for recipe in RECIPES_OF.values():
        assert all(told.default == "none" for told in describe(recipe) if "null" in told.kind)
        hints = [hint for part in parts_of(recipe) for hint in get_type_hints(part, include_extras=True).values()]
        for config in (mark.config for hint in hints for mark in get_args(hint) if isinstance(mark, ModelFields)):
            nullable = {name for name, hint in hints_of(config).items() if type(None) in get_args(hint)}
            assert all(entry.default is None for entry in fields(config) if entry.name in nullable)


def test_an_explicit_null_of_a_model_is_its_default() -> None:
    values = {"task": "vns-sam", "out": "run", "data": {"root": ".", "sets": {"a": 1}}, "vns": {"name": "mine"}}
    plain = parse_recipe(values, "plain")
    assert parse_recipe({**values, "vns": {"name": "mine", "mask_prompt": None}}, "own") == plain


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe at"):
        load_recipe(tmp_path / "none.yaml")


def test_documented_recipe_parses() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert parse_recipe(yaml.safe_load(example), "example").data.sets == {"leaves": 1}


def test_the_page_tells_the_fields_as_they_are() -> None:
    text = DOCS.read_text()
    found = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert found == table(), "run vns_sam.training.describe.update on the page"
    own = found[found.index("### `ws-sam`") :]
    assert "| `batch_size` | whole number ≥ 2, ≤ 65536 | 4 |" in own[: own.index("### `cyclegan`")]


@pytest.mark.parametrize("task", RECIPES_OF)
def test_every_field_has_a_meaning(task: str) -> None:
    told = [*describe(RECIPES_OF[task])]
    plain = {"optim.name", "optim.weight_decay", "batch_size", "lr"}  # the words themselves
    assert {field.name for field in told if not field.meaning} <= plain
    assert len({field.name for field in told}) == len(told)


def test_help_of_a_recipe_and_the_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert main(["train", "vns_sam_vit_l", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--optim.lr  number > 0, <= 10, default 0.001" in text
    assert "--ws.pool" not in text
    assert main(["train", "--list"]) == 0
    assert re.search(r"^vns_sam_vit_l +VNS-SAM on SAM's ViT-L", capsys.readouterr().out, re.MULTILINE)
    assert main(["train"]) == main(["train", "vns_sam_vit_x"]) == 2


@pytest.mark.parametrize(
    ("command", "found", "verb"),
    [
        ("train bundled/ws-sam-tiny", "a recipe at bundled/ws-sam-tiny, found a pipeline", "make bundled/ws-sam-tiny"),
        ("train vns-sam-tiny --help", "a recipe at vns-sam-tiny, found a pipeline", "make vns-sam-tiny"),
        ("train studies/wavelets", "a recipe at studies/wavelets, found a study", "study studies/wavelets"),
        ("study vns_sam_tiny", "a study at vns_sam_tiny, found a recipe", "train vns_sam_tiny"),
        ("study vns-sam-tiny", "a study at vns-sam-tiny, found a pipeline", "make vns-sam-tiny"),
        ("make wavelets --dry-run", "a pipeline at .*wavelets.yaml, found a study", "study .*wavelets.yaml"),
        ("make vns_sam_tiny --dry-run", "a pipeline at .*vns_sam_tiny.yaml, found a recipe", "train .*tiny.yaml"),
    ],
)
def test_a_file_of_another_kind_names_its_command(
    capsys: pytest.CaptureFixture[str], command: str, found: str, verb: str
) -> None:
    assert main(command.split()) == 2
    assert re.fullmatch(f"error: expected {found}\ntry: vns-sam {verb}\n", capsys.readouterr().err)


def test_recipes_are_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("vns_sam_vit_l", "vns_sam_vit_l.yaml", "recipes/vns_sam_vit_l.yaml")
    assert len({find_recipe(name) for name in names}) == 1
    assert load_recipe("hq_sam_vit_l").task == "hq-sam"  # its base lies beside it
    assert find_recipe("studies/wavelets").is_file()
    assert find_recipe("wavelets") == find_recipe("studies/wavelets")
    assert find_recipe("../recipes/vns_sam_vit_l") == Path("../recipes/vns_sam_vit_l")
    (tmp_path / "mine.yaml").write_text("base: vns_sam_vit_l\nout: here\ndata: {sets: {camo: null}}\n")
    values = read_values("mine.yaml")
    assert values["out"] == "here"
    assert values["data"]["root"] == "data/vns-seg"


def test_mappings_are_merged_field_by_field() -> None:
    base = {"a": {"b": 1, "c": {"d": 2}}, "list": [1, 2], "gone": {"x": 1}}
    own = {"a": {"c": {"e": 3}}, "list": [3], "gone": None}
    assert merge(base, own) == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "list": [3]}
    assert merge({"a": {}}, {"a": {"b": None}, "c": None}) == {"a": {"b": None}, "c": None}
    assert base["a"] == {"b": 1, "c": {"d": 2}}


def test_recipes_are_inside_the_wheel() -> None:
    project = tomllib.loads((DOCS.parents[1] / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {"recipes": "vns_sam/recipes"}
