"""One line to adapt: a folder goes in; a model, held-out numbers and a page come out; a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.data.doctor.check import check
from vns_sam.data.doctor.repair import repair
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.compare import Difference
from vns_sam.inference.load import load_model, load_network
from vns_sam.studies import adapt as module
from vns_sam.studies.adapt import Order, adapt, default_out, judge
from vns_sam.studies.adapt_report import put_model
from vns_sam.studies.adapt_set import own_set, set_name
from vns_sam.training import adapting
from vns_sam.training.adapting import Views, adapting_values, plan_steps, timed_recipe, views_for
from vns_sam.training.fields import set_field
from vns_sam.training.recipe import Recipe, load_recipe
from vns_sam.training.samples.prompted import TrainingSet
from vns_sam.training.samples.settings import SceneMix, TrainingData
from vns_sam.training.tasks.base import Task

SMALL = (("data.sizes", [64]), ("workers", 0), ("optim.lr", 1e-3), ("checkpoint_every", 4), ("validation.patience", 0))


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "my disks", 24)


@pytest.fixture
def start(tmp_path: Path) -> str:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    return str(tmp_path / "narrow")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """No timing: eight steps of half a second."""
    timed: list[Recipe] = []

    def half_a_second(recipe: Recipe) -> float:
        timed.append(recipe)
        return 0.5

    monkeypatch.setattr(adapting, "time_steps", half_a_second)
    monkeypatch.setattr(adapting, "FEWEST_STEPS", 8)
    monkeypatch.setattr(module, "LEAST_TRAINED", 0.0)
    return timed


def test_a_bundled_model_is_adapted_as_a_network_though_its_graphs_run_elsewhere(
    disks: Path, tmp_path: Path, fast: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Planned(Exception):
        pass

    def stop(recipe: Recipe, *_: object) -> None:
        raise Planned(recipe.task, recipe.init)

    monkeypatch.setattr(module, "train_all", stop)
    with pytest.raises(Planned) as planned:
        adapt(Order(disks, tmp_path / "out", "sam-tiny", minutes=0.01, changes=SMALL))
    assert planned.value.args == ("sam-tune", "sam-tiny")
    put_model(tmp_path / "kept", None, "sam-tiny")
    assert load_network(tmp_path / "kept").name == "sam-tiny"


def test_the_score_before_training_is_taken_on_the_asked_device(
    disks: Path, start: str, tmp_path: Path, fast: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Planned(Exception):
        pass

    def stop(*_: object) -> None:
        raise Planned

    moved: list[str] = []

    def to(task: Task, device: str) -> Task:
        moved.append(device)
        return task

    monkeypatch.setattr(Task, "to", to)
    monkeypatch.setattr(module, "train_all", stop)
    with pytest.raises(Planned):
        adapt(Order(disks, tmp_path / "out", start, minutes=0.01, changes=SMALL, device="cpu:0"))
    assert moved == ["cpu:0"]


def test_a_folder_becomes_a_model_and_a_report(
    disks: Path, start: str, tmp_path: Path, fast: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "judge", lambda *_: (True, "the trained model is taken"))
    said: list[str] = []
    out = tmp_path / "out"
    order = Order(disks, out, start, minutes=0.01, changes=SMALL)
    done = adapt(order, say=said.append)
    assert said[0] == "14 pictures to train on, 5 to choose by, 5 held out to report on"
    assert said[1].startswith("8 steps of 4 views, 0.50 s each")
    assert (done.model, done.report, done.taken) == (out / "model", out / "report.md", True)
    assert {(d.prompt, d.metric, d.count) for d in done.differences} == {
        (prompt, metric, 5) for prompt in ("box", "points:1") for metric in ("iou", "biou")
    }
    page = done.report.read_text()
    assert "| box | my-disks | 5 | iou |" in page
    assert said[0] in page
    trained, before = load_model(done.model).state_dict(), load_model(start).state_dict()
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], trained[key].float())}
    halved = {key for key in before if torch.equal(before[key].half(), trained[key].half())}
    assert "mask_decoder" in changed
    assert {key for key in before if key.startswith("image_encoder.")} <= halved  # frozen
    lists = {name: (out / "data" / "my-disks" / f"{name}.txt").read_text().split() for name in ("train", "val", "test")}
    assert [len(stems) for stems in lists.values()] == [14, 5, 5]
    assert not list(out.glob(".*"))


def test_a_stopped_run_goes_on_to_the_same_model(
    disks: Path, start: str, tmp_path: Path, fast: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Order(disks, tmp_path / "straight", start, minutes=0.01, changes=SMALL)
    adapt(straight)

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("training", 5):
            raise KeyboardInterrupt

    order = Order(disks, tmp_path / "stopped", start, minutes=0.01, changes=SMALL)
    with pytest.raises(KeyboardInterrupt):
        adapt(order, stop)
    assert not (order.out / "model").exists()
    timed, trained = len(fast), []
    adapt(order, lambda what, done, total: trained.append(done) if what == "training" else None)
    assert len(fast) == timed  # the pace is not measured again
    assert trained[0] == 5
    first, second = (load_model(place / "run" / "model").state_dict() for place in (straight.out, order.out))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_other_settings_or_other_files_are_another_run(
    disks: Path, start: str, tmp_path: Path, fast: list[Recipe]
) -> None:
    order = Order(disks, tmp_path / "out", start, minutes=0.01, changes=SMALL)
    adapt(order)
    with pytest.raises(UsageError, match=r"begun with minutes 0.01, expected 1"):
        adapt(Order(disks, order.out, start, minutes=1.0, changes=SMALL))
    cv2.imwrite(str(disks / "masks" / "000.png"), np.full((48, 64), 255, np.uint8))
    with pytest.raises(UsageError, match="before files of the folder changed"):
        adapt(order)


def test_a_model_that_gets_worse_is_not_taken(
    disks: Path, start: str, tmp_path: Path, fast: list[Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "judge", lambda *_: (False, "the model stays as it was"))
    done = adapt(Order(disks, tmp_path / "out", start, minutes=0.01, changes=SMALL))
    assert not done.taken
    kept, before = load_model(done.model).state_dict(), load_model(start).state_dict()
    assert all(torch.equal(kept[key], before[key]) for key in before)


def difference(low: float, high: float, count: int = 20) -> Difference:
    return Difference("box", "set", "iou", count, 0.5, 0.5 + (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("before", "after", "differences", "taken"),
    [
        (0.5, 0.6, [difference(0.01, 0.1)], True),
        (0.5, 0.6, [difference(-0.1, 0.2)], True),
        (0.5, 0.6, [difference(-0.2, 0.1)], False),
        (0.5, 0.6, [difference(-0.1, 0.1)], False),
        (0.5, 0.6, [difference(0.3, 0.4), difference(-0.2, -0.1)], False),
        (0.5, 0.6, [difference(0.3, 0.4), difference(-0.2, -0.1, count=5)], True),
        (0.5, 0.5, [difference(0.01, 0.1)], False),
        (None, None, [difference(0.01, 0.1)], True),
    ],
)
def test_the_judgement(before: float | None, after: float | None, differences: list[Difference], taken: bool) -> None:
    assert judge(before, after, differences)[0] is taken


def test_errors_of_the_doctor_stop_and_the_rest_is_told(disks: Path, tmp_path: Path) -> None:
    copy = (disks / "images" / "001.png").read_bytes(), (disks / "masks" / "001.png").read_bytes()
    for folder, content in zip(("images", "masks"), copy, strict=True):
        (disks / folder / "copy.png").write_bytes(content)
    cv2.imwrite(str(disks / "masks" / "002.png"), np.zeros((48, 64), np.uint8))
    (disks / "masks" / "003.png").unlink()
    own = own_set(disks, tmp_path / "out")
    told = "\n".join(own.told())
    assert "left out: expected a mask in" in told
    assert "warning: 1 x duplicate" in told
    assert "warning: 1 x empty" in told
    listed = {stem: name for name, stems in own.division.lists().items() for stem in stems}
    assert listed["001"] == listed["copy"]
    assert not {"002", "003"} & set(listed)
    cv2.imwrite(str(disks / "masks" / "004.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(DataError, match=r"masks/004.png: size") as caught:
        own_set(disks, tmp_path / "out")
    assert caught.value.hint == f"vns-sam data check {disks}"


def test_every_start_says_the_same(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 6)):
        write_disks(tmp_path / "raw" / split, count, count)
    own = own_set(tmp_path / "raw", tmp_path / "out")
    assert own_set(tmp_path / "raw", tmp_path / "out") == own
    for folder in ("images", "masks"):
        content = (tmp_path / "raw/train" / folder / "001.png").read_bytes()
        (tmp_path / "raw/test" / folder / "leak.png").write_bytes(content)
    said = []
    for _ in range(2):
        with pytest.raises(DataError, match="leak") as caught:
            own_set(tmp_path / "raw", tmp_path / "out")
        said.append(caught.value.message)
    assert said[0] == said[1]
    for folder in ("images", "masks"):
        (tmp_path / "raw/test" / folder / "leak.png").unlink()
    assert own_set(tmp_path / "raw", tmp_path / "out").division == own.division


def test_a_set_that_was_mended_is_taken(disks: Path, tmp_path: Path) -> None:
    masks = disks / "masks"
    for path in masks.iterdir():
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.unlink()
    (disks / "test.txt").write_text("000\nstale\n")
    with pytest.raises(DataError, match="list-missing") as caught:
        own_set(disks, tmp_path / "out")
    assert caught.value.hint == f"vns-sam data check {disks} --fix"
    repair(check([disks]).findings)
    assert len(own_set(disks, tmp_path / "out").division.test) == 1


def test_steps_fill_the_time_and_views_shrink_where_few_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paces = {(320, 384): 8.0, (256, 320): 4.0, (224, 256): 2.0}
    monkeypatch.setattr(adapting, "time_steps", lambda recipe: paces[recipe.data.sizes])
    values = adapting_values("vns-sam", start="m", name="n", root=tmp_path, dataset="d", out=tmp_path / "run")
    assert values["vns"] == {"name": "n"}
    recipe, pace = plan_steps(values, views_for(512), lambda: 2000.0, "here")
    assert (recipe.data.sizes, recipe.steps, pace) == ((320, 384), 250, 8.0)
    recipe, pace = plan_steps(values, views_for(512), lambda: 400.0, "here")
    assert (recipe.data.sizes, recipe.steps, pace) == ((224, 256), 200, 2.0)
    assert (recipe.validation.every, recipe.validation.patience, recipe.optim.warmup) == (20, 5, 20)
    given: dict[str, Any] = {**values, "data": {**values["data"], "sizes": [224]}, "steps": 7}
    assert timed_recipe(given, Views((320,), 4), 99, "here").data.sizes == (224,)
    assert timed_recipe(given, Views((320,), 4), 99, "here").steps == 7
    longer = timed_recipe({**values, "steps": 3000}, Views((320,), 4), 24, "here")
    assert (longer.steps, longer.validation.every, longer.optim.warmup) == (3000, 300, 20)
    with pytest.raises(UsageError, match=r"here has 1 wrong field: steps: .*found 'many'"):
        timed_recipe({**values, "steps": "many"}, Views((320,), 4), 24, "here")


@pytest.mark.parametrize(
    ("kind", "recipe"), [("vns-sam", "vns_sam_tiny"), ("hq-sam", "hq_sam_tiny"), ("sam", "ft_decoder_tiny")]
)
def test_a_wrong_field_names_a_recipe_whose_help_tells_all_fields(kind: str, recipe: str, tmp_path: Path) -> None:
    values = adapting_values(kind, start="m", name="n", root=tmp_path, dataset="d", out=tmp_path / "run")
    set_field(values, "optim.lrr", 1)
    with pytest.raises(UsageError, match=r"the recipe for d has 1 wrong field: optim\.lrr") as caught:
        timed_recipe(values, Views((64,), 1), 1, "the recipe for d")
    assert caught.value.hint == f"vns-sam train {recipe} --help tells all fields"
    assert load_recipe(recipe).task == values["task"]


def test_pictures_are_changed_as_a_user_asks_and_else_stay(disks: Path, tmp_path: Path) -> None:
    def brightness(**mix: float) -> float:
        values = adapting_values(
            "sam", start="m", name="n", root=disks.parent, dataset=disks.name, out=tmp_path / "run"
        )
        for name, value in mix.items():
            set_field(values, f"data.mix.{name}", value)
        data = timed_recipe(values, Views((64,), 1), 1, "here").data
        assert isinstance(data, TrainingData)
        assert data.mix == SceneMix(**{"composite": 0.1, **mix})
        samples = TrainingSet(data, length=8, step_size=1, seed=0)
        return float(np.mean([samples[position]["image"].mean() for position in range(8)]))

    assert brightness(dark=1) < 0.5 * brightness()


def test_a_run_of_one_step_is_timed_by_several(disks: Path, start: str, tmp_path: Path) -> None:
    values = adapting_values("sam", start=start, name="n", root=disks.parent, dataset=disks.name, out=tmp_path / "run")
    given = {**values, "data": {**values["data"], "sizes": [64]}, "steps": 1, "workers": 0}
    recipe, pace = plan_steps(given, views_for(512), lambda: 60.0, "here")
    assert recipe.steps == 1
    assert pace > 0
    assert not any(path.name.startswith(".run") for path in tmp_path.iterdir())


def test_only_models_with_something_to_train_are_adapted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a SAM, an HQ-SAM or a VNS-SAM"):
        adapting_values("ws-sam", start="m", name="n", root=tmp_path, dataset="d", out=tmp_path)


@pytest.mark.parametrize(("name", "called"), [("my leaves", "my-leaves"), ("..", None), ("blätter", "bl-tter")])
def test_names(name: str, called: str | None, tmp_path: Path) -> None:
    assert set_name(tmp_path / name) == (called or tmp_path.parent.name)
    assert default_out(tmp_path / "leaves") == Path("runs/leaves")


def test_the_command_prints_objects(
    disks: Path,
    start: str,
    tmp_path: Path,
    fast: list[Recipe],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[tuple[Path, object]] = []
    monkeypatch.setattr("vns_sam.export.onnx.write_named", lambda _, *given: written.append(given))
    changes = [word for name, value in SMALL for word in (f"--{name}", str(value))]
    words = [str(disks), "--from", start, "--minutes", "0.01", "--out", str(tmp_path / "out"), "--json", "--quiet"]
    assert main(["train", *words, *changes]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["metric"] for line in lines[:-1]] == ["iou", "biou"] * 2
    assert lines[-1]["model"] == str(tmp_path / "out" / "model")
    assert written == [(tmp_path / "out" / "model", ("",))]  # graphs beside the weights
    page = (tmp_path / "out" / "model" / "README.md").read_text()
    assert page == (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vns_sam_tiny", "--minutes", "3"], "--minutes belongs to a folder"),
        (["vns_sam_tiny", "--from", "sam-tiny"], "--from belongs to a folder"),
        (["FOLDER", "--minutes", "0"], "expected minutes above 0"),
        (["FOLDER", "--from", "sam-tinny"], "unknown model"),
        ([], "expected a folder or a recipe"),
    ],
)
def test_wrong_command_lines(words: list[str], says: str, disks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *(str(disks) if word == "FOLDER" else word for word in words)]) == 2
    assert says in capsys.readouterr().err
