"""A set made dark keeps its masks and lists, goes on after a kill, and loses nothing to a bad picture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from jobs import do
from workshop import write_disks

from vns_sam.data.pairs import find_pairs, read_mask
from vns_sam.errors import DataError, UsageError
from vns_sam.images.read import read_image
from vns_sam.lowlight.camera import CameraDarkener
from vns_sam.lowlight.darkener import Darkened
from vns_sam.lowlight.folder import DarkenJob, plan_run
from vns_sam.runs.engine import Outcome
from vns_sam.runs.job import MANIFEST
from vns_sam.runs.processes import Processes
from vns_sam.runs.threads import overlapped


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    folder = write_disks(tmp_path / "disks", 6)
    (folder / "train.txt").write_text("003\n001.png\n002\n000\n")
    (folder / "masks_instance").mkdir()
    (folder / "masks_instance" / "004.png").write_bytes((folder / "masks" / "004.png").read_bytes())
    return folder


def darken(source: Path, out: Path, darkener: object = None, workers: int = 0, *, force: bool = False) -> list[Outcome]:
    mapper = Processes(workers) if workers else overlapped
    run = plan_run(source, out)
    return list(do(DarkenJob(run, darkener or CameraDarkener()), mapper, force=force))  # type: ignore[arg-type]


def lines(out: Path) -> list[dict[str, object]]:
    return [line for text in (out / MANIFEST).read_text().splitlines() if "source" in (line := json.loads(text))]


def test_a_mask_that_has_another_name_now_takes_the_place_of_the_one_before(disks: Path, tmp_path: Path) -> None:
    for path in (disks / "masks").iterdir():
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.rename(tmp_path / path.name)
    darken(disks, tmp_path / "dark")
    for path in (disks / "masks").iterdir():
        path.unlink()
        (tmp_path / path.with_suffix(".png").name).rename(path.with_suffix(".png"))
    darken(disks, tmp_path / "dark")
    assert len(find_pairs(tmp_path / "dark")) == 6


def test_the_set_stays_a_set(disks: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    darken(disks, out)
    before, after = find_pairs(disks, "train"), find_pairs(out, "train")
    assert [pair.stem for pair in before] == [pair.stem for pair in after]
    for bright, dark in zip(before, after, strict=True):
        assert np.array_equal(read_mask(bright.mask), read_mask(dark.mask))
        assert read_image(dark.image).shape == read_image(bright.image).shape
        assert read_image(dark.image).mean() < 0.4 * read_image(bright.image).mean()
    assert find_pairs(out)[4].instances is not None


def test_each_picture_has_a_line_that_tells_how_it_was_made(disks: Path, tmp_path: Path) -> None:
    darken(disks, tmp_path / "dark", CameraDarkener(seed=5))
    told = lines(tmp_path / "dark")
    assert [line["source"] for line in told] == [f"images/00{i}.png" for i in range(6)]
    assert told[0]["image"] == "images/000.jpg"
    assert told[0]["identity"] == {"method": "camera", "seed": 5, "strength": 1.0}
    assert told[0]["parameters"].keys() >= {"stops", "shot_noise", "read_noise", "quality"}  # type: ignore[attr-defined]
    assert told[0]["before"]["mean"] > told[0]["after"]["mean"] > 0  # type: ignore[index]


def test_workers_make_the_same(disks: Path, tmp_path: Path) -> None:
    darken(disks, tmp_path / "one")
    darken(disks, tmp_path / "two", workers=1)
    for path in (tmp_path / "one" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "images" / path.name).read_bytes()


def test_only_what_is_missing_or_was_asked_otherwise_is_done_again(disks: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    darken(disks, out)
    (out / "images" / "002.jpg").unlink()
    assert [o.name for o in darken(disks, out) if not o.skipped] == ["images/002.png"]
    assert all(outcome.skipped for outcome in darken(disks, out))
    with pytest.raises(UsageError, match=r"6 made with strength 1\.0 instead of 0\.5"):
        darken(disks, out, CameraDarkener(strength=0.5))
    assert all(outcome.replaced for outcome in darken(disks, out, CameraDarkener(strength=0.5), force=True))
    assert len(lines(out)) == 6


class Half:
    """Halves all values."""

    suffix = ".png"
    identity = {"method": "half"}  # noqa: RUF012

    def __call__(self, image: np.ndarray, name: str) -> Darkened:
        return Darkened(image // 2)


def test_another_method_replaces_files_of_another_ending(disks: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    darken(disks, out)
    darken(disks, out, Half(), force=True)
    assert {path.suffix for path in (out / "images").iterdir()} == {".png"}
    assert np.array_equal(read_image(out / "images" / "001.png"), read_image(disks / "images" / "001.png") // 2)


def test_bad_pictures_are_told_and_leave_the_lists(disks: Path, tmp_path: Path) -> None:
    (disks / "images" / "001.png").write_bytes(b"no picture")
    outcomes = darken(disks, tmp_path / "dark")
    assert [outcome.name for outcome in outcomes if "not a picture" in outcome.error] == ["images/001.png"]
    assert [pair.stem for pair in find_pairs(tmp_path / "dark", "train")] == ["003", "002", "000"]
    assert not (tmp_path / "dark" / "masks" / "001.png").exists()
    assert [line["source"] for line in lines(tmp_path / "dark") if "error" in line] == ["images/001.png"]


def test_a_dangling_link_is_a_bad_picture(disks: Path, tmp_path: Path) -> None:
    (disks / "images" / "001.png").unlink()
    (disks / "images" / "001.png").symlink_to("nothing.png")
    assert ["no image at" in outcome.error for outcome in darken(disks, tmp_path / "dark")] == [False, True] + 4 * [
        False
    ]


def test_a_place_that_cannot_be_written_ends_the_run(disks: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    out.mkdir()
    (out / MANIFEST).touch()
    (out / "images").touch()
    with pytest.raises(DataError, match="cannot write"):
        darken(disks, out)


class TooLarge(Half):
    """Makes pictures that no JPEG holds."""

    def __call__(self, image: np.ndarray, name: str) -> Darkened:
        return Darkened(np.zeros((1, 70_000, 3), np.uint8), jpeg_quality=90)


def test_a_picture_that_cannot_be_encoded_is_a_bad_one(disks: Path, tmp_path: Path) -> None:
    outcomes = darken(disks, tmp_path / "dark", TooLarge())
    assert all(outcome.error.startswith(str(disks / outcome.name)) for outcome in outcomes)


def test_a_plain_folder_keeps_its_order(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name in ("a.png", "trip/b.jpg", "trip/b.png"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(source / name), np.full((20, 30, 3), 150, np.uint8))
    refused, *outcomes = darken(source, tmp_path / "dark")
    assert [outcome.files for outcome in outcomes] == [("a.jpg",), ("trip/b.jpg",)]
    assert "was there before, trip/b.jpg" in refused.error


def test_masks_beside_the_pictures_of_classes(tmp_path: Path) -> None:
    source, out = tmp_path / "fewshot_data", tmp_path / "FSS-Dark"
    masks = {}
    for k, kind in enumerate(("ab_wheel", "accordion")):
        (source / kind).mkdir(parents=True)
        disks = write_disks(tmp_path / kind, 2, seed=k)
        for i in range(2):
            cv2.imwrite(str(source / kind / f"{i}.jpg"), cv2.imread(str(disks / "images" / f"00{i}.png")))
            masks[kind, i] = (disks / "masks" / f"00{i}.png").read_bytes()
            (source / kind / f"{i}.png").write_bytes(masks[kind, i])
    (source / "accordion" / "7.png").write_bytes(masks["accordion", 0])
    (source / "accordion" / "1.jpg").write_bytes(b"no picture")
    assert plan_run(source, out).left_out == "1 mask(s) without a picture"
    for again in (False, True):
        outcomes = darken(source, out)
        assert [o.name for o in outcomes if o.error] == ["accordion/1.jpg"]
        assert [o.skipped for o in outcomes if not o.error] == [again] * 3
        pictures = {path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.name != MANIFEST}
        assert pictures == {
            f"{name}{ending}" for name in ("ab_wheel/0", "ab_wheel/1", "accordion/0") for ending in (".jpg", ".png")
        }
        assert read_image(out / "ab_wheel" / "1.jpg").mean() < 0.4 * read_image(source / "ab_wheel" / "1.jpg").mean()
        assert (out / "ab_wheel" / "1.png").read_bytes() == masks["ab_wheel", 1]
    with pytest.raises(UsageError, match=r"a file of its own for each, found ab_wheel/0\.png"):
        darken(source, tmp_path / "other", Half())


def test_masks_in_folders_of_their_splits(disks: Path, tmp_path: Path) -> None:
    (disks / "masks").rename(disks / "masks_train")
    (disks / "images").rename(disks / "images_train")
    (disks / "masks_instance" / "004.png").unlink()
    (disks / "masks_instance").rmdir()
    assert len(darken(disks, tmp_path / "dark")) == 6
    before, after = find_pairs(disks, "train"), find_pairs(tmp_path / "dark", "train")
    assert [pair.stem for pair in before] == [pair.stem for pair in after]
    assert before[1].mask.read_bytes() == after[1].mask.read_bytes()
    assert read_image(after[1].image).mean() < 0.4 * read_image(before[1].image).mean()


def test_a_set_with_the_folders_of_dis5k(disks: Path, tmp_path: Path) -> None:
    (disks / "images").rename(disks / "im")
    (disks / "masks").rename(disks / "gt")
    (disks / "list").mkdir()
    (disks / "train.txt").rename(disks / "list" / "train.txt")
    outcomes = darken(disks, tmp_path / "dark")
    assert [outcome.name for outcome in outcomes] == [f"im/00{i}.png" for i in range(6)]
    assert read_mask(find_pairs(tmp_path / "dark", "train")[2].mask).any()


def test_wrong_places_are_refused(disks: Path, tmp_path: Path) -> None:
    for out in (disks, disks / "dark"):
        with pytest.raises(UsageError, match="outside of"):
            plan_run(disks, out)
    with pytest.raises(DataError, match="expected a new folder"):
        darken(disks, write_disks(tmp_path / "other", 1))
    (disks / "masks").rename(disks / "masks_train")
    (disks / "images").rename(disks / "pictures")
    with pytest.raises(DataError, match="expected pictures only"):
        plan_run(disks, tmp_path / "dark")
    with pytest.raises(DataError, match="found no folder there"):
        plan_run(tmp_path / "nothing", tmp_path / "dark")


RUN = """
import sys, time
from pathlib import Path
from vns_sam.lowlight.camera import CameraDarkener
from vns_sam.lowlight.folder import DarkenJob, plan_run
from vns_sam.runs.engine import run
from vns_sam.runs.plan import prepare
for outcome in run(prepare(DarkenJob(plan_run(Path(sys.argv[1]), Path(sys.argv[2])), CameraDarkener()))):
    time.sleep(0.05)
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    source, out = write_disks(tmp_path / "disks", 30), tmp_path / "dark"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(source), str(out)], env={**os.environ})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and sum(1 for _ in written(out)) < 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (out / MANIFEST).open("a") as file:
        file.write('{"source": "images/')  # as if it was killed while it wrote
    outcomes = darken(source, out)
    assert 4 <= sum(outcome.skipped for outcome in outcomes) < 30
    darken(source, tmp_path / "straight")
    for path in (tmp_path / "straight" / "images").iterdir():
        assert path.read_bytes() == (out / "images" / path.name).read_bytes()
    assert [line["source"] for line in lines(out)] == [f"images/{i:03d}.png" for i in range(30)]
    assert not list(out.rglob("*.part"))


def written(out: Path) -> Iterator[str]:
    text = (out / MANIFEST).read_text() if (out / MANIFEST).is_file() else ""
    return (line for line in text.splitlines() if "source" in line)


def test_a_mask_that_somebody_drew_for_a_dark_picture_stays(tmp_path: Path) -> None:
    source, out = write_disks(tmp_path / "disks", 1) / "images", tmp_path / "dark"
    darken(source, out)
    drawn = out / "masks" / "000.png"
    drawn.parent.mkdir(exist_ok=True)
    drawn.write_bytes((tmp_path / "disks" / "masks" / "000.png").read_bytes())
    darken(source, out)
    assert drawn.is_file()
