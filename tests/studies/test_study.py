"""A study: rows trained with their changes, equal runs shared, a stopped one goes on, seeds become a spread."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from workshop import narrow_sam, write_disks

from vns_sam.data.pairs import pair_digest
from vns_sam.data.splits import training_pairs
from vns_sam.errors import DataError, UsageError
from vns_sam.studies import study as module
from vns_sam.studies.digests import training_digest
from vns_sam.studies.study import load_study, parse_study, run_study, trials
from vns_sam.training.fields import shipped
from vns_sam.training.recipe import dump_recipe
from vns_sam.training.tasks.dis import DisRecipe, goes_by_mask, make_config


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A study of two trained rows and the SAM below them, on six pictures."""
    narrow_sam().save_pretrained(tmp_path / "narrow")
    write_disks(tmp_path / "disks", 6)
    recipe = {
        "task": "vns-sam",
        "out": "unused",
        "init": str(tmp_path / "narrow"),
        "vns": {"inner_channels": 32, "head_channels": 8},
        "data": {"root": "elsewhere", "sets": {"disks": 1}, "sizes": [64], "prompts": 1},
        "steps": 9,
        "batch_size": 2,
        "workers": 0,
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(recipe))
    return {
        "out": str(tmp_path / "out"),
        "runs": str(tmp_path / "runs"),
        "root": str(tmp_path),
        "train": str(tmp_path / "base.yaml"),
        "change": {"steps": 2},
        "rows": [
            {"name": "SAM", "model": str(tmp_path / "narrow")},
            {"name": "full"},
            {"name": "w/o wavelets", "change": {"vns.ablation": "no-wavelets"}},
        ],
        "measure": {"data": ["disks"], "prompts": ["box", "points:1"]},
    }


def test_rows_are_trained_and_measured(values: dict[str, Any], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = run_study(parse_study(values, "s"), progress=lambda *step: told.append(step))
    table = (tmp_path / "out" / "table.md").read_text()
    assert table == report.to_markdown()
    lines = table.splitlines()
    assert lines[2] == "| model | trained | disks (6) |"
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| SAM", "| full", "| w/o wavelets"]
    assert " | - | " in lines[4]
    assert " MiB) | " in lines[5]
    assert lines[5].split(" | ")[1] != lines[6].split(" | ")[1]
    assert ("2/3 full (seed 0): training", 2, 2) in told
    assert ("3/3 w/o wavelets (seed 0)", 6, 6) in told
    assert not list((tmp_path / "runs").glob("*/last.pt"))


def test_a_row_may_be_what_the_recipe_starts_from(values: dict[str, Any], tmp_path: Path) -> None:
    values["rows"][0] = {"name": "SAM", "model": "init"}
    assert next(trials(parse_study(values, "s"))).model == str(tmp_path / "narrow")
    values["change"]["init"] = "sam-tiny"
    assert next(trials(parse_study(values, "s"))).model == "sam-tiny"
    values["change"]["init"] = None
    with pytest.raises(UsageError, match=r"row 'SAM' is the 'init' of .*base.yaml, which names none"):
        next(trials(parse_study(values, "s")))


@pytest.mark.parametrize("name", ["components", "finetuning", "main_rows", "unified_data"])
def test_at_full_scale_sam_is_the_one_below_vns_sam(name: str) -> None:
    study = replace(load_study(f"studies/{name}"), train=Path("recipes/vns_sam_vit_l.yaml"), change={})
    assert (study.rows[0].name, next(trials(study)).model) == ("SAM", "vit_l")
    narrow = load_study(f"studies/{name}")
    assert next(trials(narrow)).model == "sam-tiny"


def test_a_row_may_stand_on_a_run_of_its_own(values: dict[str, Any], tmp_path: Path) -> None:
    model = {"base": str(tmp_path / "narrow"), "width": 0.1, "image_size": 64, "choice": "single"}
    values["change"] |= {"task": "dis-sam", "init": None, "vns": None, "dis": {"model": model, "encoder_steps": 1}}
    values["change"] |= {"data.prompts": None}
    values["rows"] = [{"name": "box and mask"}, {"name": "mask", "change": {"dis.model.box_channel": False}}]
    values["measure"] |= {"prompts": ["box"], "limit": 1}
    report = run_study(parse_study(values, "s"))
    assert [result.trained for result in report.models] == [report.models[0].trained] * 2
    assert len(list((tmp_path / "runs").glob("dis-sam-*/gt_encoder/model/model.safetensors"))) == 2


def test_a_stopped_study_goes_on(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_study(parse_study(values, "s")).to_markdown()
    (rows,) = (tmp_path / "out" / "rows").glob("full*")
    rows.write_text("\n".join(rows.read_text().splitlines()[:4]))
    monkeypatch.setattr(module, "train_all", lambda *_: pytest.fail("trained again"))
    assert run_study(parse_study(values, "s")).to_markdown() == whole


@pytest.mark.parametrize("what", ["picture", "list", "model", "nothing"])
def test_a_run_of_what_has_changed_since_is_not_taken(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    values["measure"]["limit"] = 1
    run_study(parse_study(values, "s"))
    monkeypatch.setattr(module, "train_all", lambda *_: pytest.fail("trained again"))
    says = "the set disks"
    if what == "picture":
        (tmp_path / "disks" / "masks" / "003.png").write_bytes((tmp_path / "disks" / "masks" / "004.png").read_bytes())
    elif what == "list":
        (tmp_path / "disks" / "train.txt").write_text("001\n002\n")
    elif what == "model":
        narrow_sam(1).save_pretrained(tmp_path / "narrow")
        says = str(tmp_path / "narrow")
    else:
        (tmp_path / "disks" / "ns.txt").write_text("001\n")
        run_study(parse_study(values, "s"))
        return
    with pytest.raises(UsageError, match=f"{says} as .*vns-sam-[0-9a-f]* and 1 more learnt from it, found it changed"):
        run_study(parse_study(values, "s"))


def test_the_digest_of_a_set_is_of_its_pairs_and_of_pictures_that_have_no_mask(tmp_path: Path) -> None:
    folder = write_disks(tmp_path / "disks", 4)
    (folder / "val.txt").write_text("001\n")
    entries = [[(pair.stem, pair_digest(pair)) for pair in part or ()] for part in training_pairs(folder)]
    assert training_digest(folder) == hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    for stem in ("000", "002", "003"):
        (folder / "masks" / f"{stem}.png").unlink()
    bare = training_digest(folder)
    (folder / "images" / "003.png").write_bytes((folder / "images" / "002.png").read_bytes())
    assert training_digest(folder) != bare


def test_a_set_that_was_mended_before_anything_learnt_from_it(values: dict[str, Any], tmp_path: Path) -> None:
    values["measure"]["limit"] = 1
    values["rows"] = values["rows"][:2]
    mask = tmp_path / "disks" / "masks" / "003.png"
    kept = mask.read_bytes()
    mask.unlink()
    with pytest.raises(DataError, match="003"):
        run_study(parse_study(values, "s"))
    mask.write_bytes(kept)
    run_study(parse_study(values, "s"))


def test_a_run_of_an_earlier_version_is_taken_as_it_is(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values["rows"] = values["rows"][:2]
    run_study(parse_study(values, "s"))
    (record,) = (tmp_path / "runs").glob("*/sources.json")
    record.unlink()
    (tmp_path / "disks" / "train.txt").write_text("001\n002\n")
    monkeypatch.setattr(module, "train_all", lambda *_: pytest.fail("trained again"))
    run_study(parse_study(values, "s"))
    assert not record.exists()


def test_other_fields_are_measured_beside_what_was(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow_sam(1).save_pretrained(tmp_path / "other")
    values["measure"]["limit"] = 1
    values["rows"] = values["rows"][:2]
    first = run_study(parse_study(values, "s")).to_markdown()
    changed = copy.deepcopy(values)
    changed["change"]["steps"], changed["rows"][0]["model"] = 1, str(tmp_path / "other")
    second = run_study(parse_study(changed, "s")).to_markdown()
    assert second != first
    monkeypatch.setattr(module, "train_all", lambda *_: pytest.fail("trained again"))
    assert run_study(parse_study(values, "s")).to_markdown() == first
    changed["measure"]["resize"] = "square"
    run_study(parse_study(changed, "s"))


def test_a_table_by_metric(values: dict[str, Any]) -> None:
    values["rows"] = values["rows"][:1]
    values["measure"] |= {"prompts": ["box"], "metrics": ["iou", "mae"], "by_metric": True, "limit": 1}
    lines = run_study(parse_study(values, "s")).to_markdown().splitlines()
    assert "| set | model | iou | mae |" in lines


def test_seeds_are_shown_as_a_spread(values: dict[str, Any], tmp_path: Path) -> None:
    values |= {"seeds": [0, 1], "rows": values["rows"][:2]}
    lines = run_study(parse_study(values, "s")).to_markdown().splitlines()
    assert "±" not in lines[4]
    assert lines[5].count("±") == 2
    models = json.loads((tmp_path / "out" / "report.json").read_text())["models"]
    assert list(models)[1:] == ["full (seed 0)", "full (seed 1)"]


def test_equal_rows_of_two_tables_share_a_run(values: dict[str, Any]) -> None:
    first = [trial.model for trial in trials(parse_study(values, "s"))]
    values |= {"out": "elsewhere", "rows": [{"name": "another name"}, {"name": "longer", "change": {"steps": 3}}]}
    second = [trial.model for trial in trials(parse_study(values, "s"))]
    assert second[0] == first[1]
    assert len({*first, *second}) == 4


def test_a_run_from_before_a_field_was_new_is_found_and_one_with_another_value_is_not(
    values: dict[str, Any], tmp_path: Path
) -> None:
    _, full, _ = trials(parse_study(values, "s"))
    assert full.recipe is not None
    fields = yaml.safe_load(dump_recipe(full.recipe))
    earlier = tmp_path / "runs" / "vns-sam-earlier"
    earlier.mkdir(parents=True)
    (earlier / "recipe.yaml").write_text(yaml.safe_dump({k: v for k, v in fields.items() if k != "ema"}))
    _, full, other = trials(parse_study(values, "s"))
    assert full.model == str(earlier / "model")
    assert other.model != full.model
    (earlier / "recipe.yaml").write_text(yaml.safe_dump({**fields, "ema": 0.5}))
    assert next(t for t in trials(parse_study(values, "s")) if t.row.name == "full").model != full.model
    (earlier / "recipe.yaml").write_text(yaml.safe_dump({**fields, "a_field_that_is_gone": 1}))
    assert next(t for t in trials(parse_study(values, "s")) if t.row.name == "full").model != full.model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mesure": {}}, "mesure: no such field, did you mean 'measure'"),
        ({"rows": []}, "there is no row"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "two rows are called 'a'"),
        ({"train": None}, "there is nothing to train it by"),
        (
            {"train": None, "rows": [{"name": "a", "model": "init"}]},
            "row 'a' is what the recipe starts from, and there is none",
        ),
        ({"rows": [{"name": "a", "model": "sam-tiny", "change": {"steps": 1}}]}, "names a model and changes"),
        (
            {"change": {"stps": 1}},
            "row 'full' has 1 wrong field: stps: no such field of the task 'vns-sam', did you mean 'steps'?",
        ),
        ({"rows": [{"name": "a", "model": "sam-tinny"}]}, "unknown model 'sam-tinny'"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    values: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        list(trials(parse_study(values | change, "s")))


def test_a_wrong_row_leads_to_the_fields_of_its_recipe(values: dict[str, Any], tmp_path: Path) -> None:
    values["change"]["stps"] = 1
    with pytest.raises(UsageError) as caught:
        list(trials(parse_study(values, "s")))
    assert caught.value.hint == f"vns-sam train {tmp_path / 'base.yaml'} --help tells all fields"


@pytest.mark.parametrize("name", shipped("studies"))
def test_every_row_of_a_shipped_study_can_be_trained(name: str) -> None:
    study = load_study(name)
    rows = tuple(row for row in study.rows if row.model is None)
    found = list(trials(replace(study, rows=rows)))
    assert [trial.row for trial in found] == [row for row in rows for _ in study.seeds]
    assert all(trial.recipe for trial in found)


def test_the_inputs_of_dis_sam_are_what_the_rows_say() -> None:
    recipes = {trial.row.name: trial.recipe for trial in trials(load_study("studies/dis_inputs"))}
    configs = {name: make_config(recipe.dis) for name, recipe in recipes.items() if isinstance(recipe, DisRecipe)}
    inputs = {name: (goes_by_mask(config), config.box_channel) for name, config in configs.items()}
    assert inputs == {
        "IS-Net": (False, False),
        "+ box": (False, True),
        "+ mask": (True, False),
        "+ box + mask": (True, True),
        "+ box + mask + enrichment": (True, True),
    }


def test_a_missing_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no study at"):
        load_study(tmp_path / "none.yaml")
