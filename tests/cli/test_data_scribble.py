import argparse
from pathlib import Path

import numpy as np
import pytest
from jobs import do
from PIL import Image

from vns_sam.cli import data_scribble
from vns_sam.cli.main import main
from vns_sam.data.scribble_set import ScribbleJob, plan_run
from vns_sam.data.sparse import SparseLabels
from vns_sam.errors import DataError, UsageError
from vns_sam.runs.job import MANIFEST


@pytest.fixture
def pond(tmp_path: Path) -> Path:
    root = tmp_path / "pond"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for k, stem in enumerate(("eel", "frog", "newt")):
        mask = np.zeros((60, 80), np.uint8)
        mask[10 : 30 + k, 20 : 50 + k] = 255
        Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
        Image.fromarray(mask).convert("RGB").save(root / "images" / f"{stem}.jpg")
    return root


def scribble(source: Path, out: Path, *more: str) -> int:
    parser = argparse.ArgumentParser()
    data_scribble.add_arguments(parser)
    args = parser.parse_args([str(source), "--out", str(out), *more])
    args.quiet, args.json = True, False
    return data_scribble.run(args)


def test_strokes_may_run_over_the_border(pond: Path, tmp_path: Path) -> None:
    assert scribble(pond, tmp_path / "exact") == 0
    assert scribble(pond, tmp_path / "human", "--overshoot", "1") == 0
    over = []
    for stem in ("eel", "frog", "newt"):
        mask, exact, human = (
            np.asarray(Image.open(path / f"{stem}.png"))
            for path in (pond / "masks", tmp_path / "exact", tmp_path / "human")
        )
        assert not (exact[mask == 0] == 1).any()
        assert (human[(exact == 1)] == 1).all()
        over.append(int((human[mask == 0] == 1).sum()))
        assert (human[mask > 0] != 2).all()
    assert min(over) > 0
    assert max(over) < 60  # a few widths at one end of each stroke, no more
    with pytest.raises(UsageError, match=r"--force|human|done otherwise|other"):
        scribble(pond, tmp_path / "human", "--overshoot", "0.5")
    with pytest.raises(UsageError, match=r"a share from 0 to 1 that overshoots, found box and 0\.5"):
        scribble(pond, tmp_path / "boxes", "--kind", "box", "--overshoot", "0.5")


def test_its_boxes_are_prompts(pond: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scribble(pond, tmp_path / "boxes", "--kind", "box") == 0
    capsys.readouterr()
    table = str(tmp_path / "boxes" / "boxes.csv")
    line = [
        "segment",
        str(pond / "images"),
        "--prompts",
        table,
        "--model",
        "sam-tiny",
        "--out",
        str(tmp_path / "masks"),
    ]
    assert main(["--quiet", *line]) == 0
    assert sorted(path.name for path in (tmp_path / "masks").glob("*_mask.png")) == [
        f"{stem}_mask.png" for stem in ("eel", "frog", "newt")
    ]


@pytest.mark.parametrize("kind", ["scribble", "point", "box"])
def test_labels_can_be_read_again(pond: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert scribble(pond, tmp_path / "out", "--kind", kind) == 0
    assert "3 done, 0 done before, 0 failed" in capsys.readouterr().out
    label = SparseLabels(tmp_path / "out").read("frog.jpg", (60, 80))
    assert label.kind == kind
    scribble(pond, tmp_path / "out", "--kind", kind)
    assert "0 done, 3 done before, 0 failed" in capsys.readouterr().out


def test_bad_masks_are_told_and_the_rest_is_done(
    pond: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pond / "masks" / "eel.png").write_text("no picture")
    (pond / "masks" / "frog.png").unlink()
    assert scribble(pond, tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert "1 done, 0 done before, 2 failed" in out
    assert "eel.png" in err
    assert "'frog'" in err
    (pond / "masks" / "newt.png").write_bytes((pond / "masks" / "eel.png").read_bytes())
    with pytest.raises(DataError, match="none of 3"):
        scribble(pond, tmp_path / "other")


@pytest.mark.parametrize("kind", ["scribble", "point"])
def test_a_stopped_run_goes_on(pond: Path, tmp_path: Path, kind: str) -> None:
    plan = plan_run(pond, tmp_path / "out", kind)
    steps = do(ScribbleJob(plan))
    next(steps), next(steps)
    steps.close()
    with (tmp_path / "out" / MANIFEST).open("a") as lines:
        lines.write('{"stem": "ne')
    assert [o.skipped for o in do(ScribbleJob(plan))] == [True, True, False]
    list(do(ScribbleJob(plan_run(pond, tmp_path / "whole", kind))))
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_changed_mask_is_annotated_again(pond: Path, tmp_path: Path) -> None:
    list(do(ScribbleJob(plan_run(pond, tmp_path / "out"))))
    Image.fromarray(np.eye(60, 80, dtype=np.uint8) * 255).save(pond / "masks" / "newt.png")
    with pytest.raises(UsageError, match="made from another input or question: newt"):
        list(do(ScribbleJob(plan_run(pond, tmp_path / "out"))))
    outcomes = list(do(ScribbleJob(plan_run(pond, tmp_path / "out")), force=True))
    assert [(o.skipped, o.replaced) for o in outcomes] == [(True, False), (True, False), (False, True)]


def test_a_split_is_followed(pond: Path, tmp_path: Path) -> None:
    (pond / "train.txt").write_text("newt\n")
    scribble(pond, tmp_path / "out", "--split", "train")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"newt.png", MANIFEST}


@pytest.mark.parametrize("kind", ["point", "box"])
def test_a_second_split_joins_the_table_of_the_first(pond: Path, tmp_path: Path, kind: str) -> None:
    for split, stems in {"train": "newt\neel\n", "val": "frog\n"}.items():
        (pond / f"{split}.txt").write_text(stems)
        scribble(pond, tmp_path / "out", "--kind", kind, "--split", split)
    scribble(pond, tmp_path / "whole", "--kind", kind)
    table = {"point": "points.csv", "box": "boxes.csv"}[kind]
    parts, whole = ((tmp_path / out / table).read_text().splitlines() for out in ("out", "whole"))
    assert sorted(parts) == sorted(whole)
    assert list(dict.fromkeys(line.split(",")[0] for line in parts[1:])) == ["newt", "eel", "frog"]


def test_wrong_places(pond: Path, tmp_path: Path) -> None:
    for place in (pond, pond / "masks"):
        with pytest.raises(UsageError, match="beside"):
            plan_run(pond, place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(DataError, match="other files"):
        list(do(ScribbleJob(plan_run(pond, tmp_path / "full"))))
    scribble(pond, tmp_path / "out")
    with pytest.raises(DataError, match="of the kind 'box'"):
        plan_run(pond, tmp_path / "out", "box")
