"""The run engine: what is done, kept, told and refused."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from letters import ALL, Capitals, capitals, content, write_letters

from vns_sam.errors import DataError, OutputError, UsageError
from vns_sam.images import write
from vns_sam.runs.engine import Outcome, run, stopped_at, try_all
from vns_sam.runs.job import MANIFEST, Attempt, Mapper, Result
from vns_sam.runs.manifest import digest
from vns_sam.runs.plan import Plan, distinct_stems, prepare
from vns_sam.runs.threads import in_line, overlapped


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    write_letters(tmp_path / "in", 5)
    return tmp_path / "in"


NAMES = ["000.txt", "001.txt", "sub/002.txt", "003.txt", "004.txt"]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (out / MANIFEST).read_text().splitlines()]


def states(outcomes: Any) -> dict[str, str]:
    return {
        o.name: "failed" if o.error else "kept" if o.skipped else "replaced" if o.replaced else "done" for o in outcomes
    }


def test_items_become_files_and_lines(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert set(states(capitals(letters, out, NAMES)).values()) == {"done"}
    assert (out / "sub" / "002.up").read_text() == "LETTERS 2 " * 3
    head, *rest = lines(out)
    assert (head["run"], head["version"], head["asked"]) == ("capitals", 2, {"mark": "", "weights": "w"})
    assert [line["text"] for line in rest] == NAMES
    assert rest[0]["files"] == {"000.up": 10, "000.len": 2}
    assert (out / ALL).read_text().splitlines()[1] == "001.txt 20"
    assert set(states(capitals(letters, out, NAMES)).values()) == {"kept"}


def test_threads_find_what_one_thread_finds(letters: Path, tmp_path: Path) -> None:
    list(capitals(letters, tmp_path / "one", NAMES, in_line))
    list(capitals(letters, tmp_path / "three", NAMES, overlapped))
    assert content(tmp_path / "one") == content(tmp_path / "three")


def test_while_one_item_is_worked_on_the_next_is_read_and_the_last_encoded(letters: Path, tmp_path: Path) -> None:
    class Slow(Capitals):
        def read(self, item: str) -> str:
            time.sleep(0.1)
            return super().read(item)

        def work(self, item: str, content: str) -> str:
            time.sleep(0.1)
            return super().work(item, content)

        def encode(self, item: str, answer: str) -> Result:
            time.sleep(0.1)
            return super().encode(item, answer)

    def seconds(mapper: Mapper) -> float:
        start = time.perf_counter()
        assert [done.name for done in mapper(Slow(letters, tmp_path, NAMES), NAMES)] == NAMES
        return time.perf_counter() - start

    assert seconds(overlapped) < 0.7 * seconds(in_line)  # 7 of 15 steps, one after the other


def test_what_fails_is_recorded_and_can_be_done_alone(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (letters / "001.txt").write_text("bad text")
    (letters / "003.txt").write_text("odd text")
    found = {o.name: o for o in capitals(letters, out, [*NAMES, "gone.txt"])}
    assert states(found.values()) == {
        **dict.fromkeys(NAMES, "done"), "001.txt": "failed", "003.txt": "failed", "gone.txt": "failed",
    }  # fmt: skip
    assert found["003.txt"].error.startswith("003.txt: ZeroDivisionError: odd (a fault of vns-sam")
    assert {line["text"]: line["error"] for line in lines(out) if "error" in line} == {
        name: found[name].error for name in ("001.txt", "003.txt", "gone.txt")
    }
    (letters / "001.txt").write_text("good text")
    (letters / "000.txt").write_text("changed text")
    (letters / "new.txt").write_text("never tried")
    retried = states(capitals(letters, out, [*NAMES, "gone.txt", "new.txt"], retry_failed=True))
    assert {name: state for name, state in retried.items() if state != "kept"} == {
        "001.txt": "done", "003.txt": "failed", "gone.txt": "failed",
    }  # fmt: skip


def test_strict_ends_at_the_first_failure(letters: Path, tmp_path: Path) -> None:
    (letters / "001.txt").write_text("bad text")
    with pytest.raises(DataError, match=r"expected letters in 001\.txt"):
        list(capitals(letters, tmp_path / "out", NAMES, strict=True))
    assert [line["text"] for line in lines(tmp_path / "out") if "text" in line] == NAMES[:2]


@pytest.mark.parametrize("change", ["text", "mark", "weights"])
def test_results_of_another_question_need_force(letters: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))
    before = content(out)
    more = {} if change == "text" else {change: "x"}
    if change == "text":
        (letters / "001.txt").write_text("other")
    says = {"text": r"one made from another input or question: 001\.txt", "mark": "5 made with mark '' instead of 'x'",
            "weights": "5 made with weights 'w' instead of 'x'"}  # fmt: skip
    with pytest.raises(UsageError, match=says[change]):
        list(capitals(letters, out, NAMES, **more))
    assert content(out) == before
    found = states(capitals(letters, out, NAMES, force=True, **more))
    assert [name for name, state in found.items() if state == "replaced"] == (
        ["001.txt"] if change == "text" else NAMES
    )
    assert set(states(capitals(letters, out, NAMES, **more)).values()) == {"kept"}


def test_a_run_goes_on_after_a_failure_and_replaces_nothing_unless_told() -> None:
    assert inspect.signature(run).parameters["strict"].default is False
    assert Outcome("a.txt").replaced is False


def test_a_plan_counts_all_its_items_and_replaces_nothing_unless_told(letters: Path, tmp_path: Path) -> None:
    list(capitals(letters, tmp_path / "out", NAMES[:2]))
    plan = prepare(Capitals(letters, tmp_path / "out", NAMES))
    assert (len(plan.kept), len(plan.todo)) == (2, 3)
    assert replace(plan, failed={"x": "why"}).total == 6
    bare = Plan(plan.job, plan.earlier)
    assert (bare.force, bare.retry_failed, bare.total) == (False, False, 0)


def test_with_force_what_another_model_made_is_done_again_and_the_rest_kept(letters: Path, tmp_path: Path) -> None:
    list(capitals(letters, tmp_path / "out", NAMES[:2]))
    plan = prepare(Capitals(letters, tmp_path / "out", NAMES[:3]), force=True)
    first, second = plan.kept
    asked = {"model": "another"}
    again = replace(plan, kept=(replace(first, asked=digest(asked)), second)).asking(asked)
    assert [entry.name for entry in again.kept] == [first.name]
    assert again.todo == (second.name, NAMES[2])
    assert again.replaced == {second.name}


@pytest.mark.parametrize("change", ["corrected", "half gone"])
def test_what_is_done_again_of_another_model_needs_force(letters: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES[:1]))
    (letters / "000.txt").write_text("corrected") if change == "corrected" else (out / "000.len").unlink()
    before = content(out)
    with pytest.raises(UsageError, match="1 made with weights 'w' instead of 'x'"):
        list(run(prepare(Corrected(letters, out, NAMES[:1], weights="x"))))
    assert content(out) == before
    assert states(run(prepare(Corrected(letters, out, NAMES[:1], weights="x"), force=True))) == {"000.txt": "replaced"}


class Corrected(Capitals):
    """Its items are corrected inputs."""

    def corrects(self, item: str, line: Mapping[str, Any]) -> bool:
        return True


def test_another_question_is_free_where_all_has_failed(letters: Path, tmp_path: Path) -> None:
    (letters / "001.txt").write_text("bad text")
    assert set(states(capitals(letters, tmp_path / "out", NAMES[1:2])).values()) == {"failed"}
    (letters / "001.txt").write_text("good")
    assert set(states(capitals(letters, tmp_path / "out", NAMES[1:2], mark="x")).values()) == {"done"}


def test_results_of_an_input_that_is_gone_are_not_replaced(letters: Path, tmp_path: Path) -> None:
    list(capitals(letters, tmp_path / "out", NAMES))
    before = content(tmp_path / "out")
    (letters / "001.txt").unlink()
    with pytest.raises(UsageError, match=r"question: 001\.txt \(no text at .*001\.txt\)"):
        list(capitals(letters, tmp_path / "out", NAMES))
    assert content(tmp_path / "out") == before


def test_how_many_results_would_be_replaced_is_told(letters: Path, tmp_path: Path) -> None:
    list(capitals(letters, tmp_path / "out", NAMES))
    (letters / "001.txt").write_text("other")
    (letters / "003.txt").write_text("other")
    with pytest.raises(UsageError, match=r"found 2 of 5 made from another input or question: 001\.txt$"):
        list(capitals(letters, tmp_path / "out", NAMES))


def test_results_of_another_input_that_were_emptied_are_in_nobodys_way(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))
    (letters / "001.txt").write_text("other")
    for name in ("001.up", "001.len"):
        (out / name).write_bytes(b"")
    assert states(capitals(letters, out, NAMES))["001.txt"] == "done"
    assert (out / "001.up").read_text() == "OTHER"


def test_trying_writes_nothing_and_goes_on_unless_told(letters: Path, tmp_path: Path) -> None:
    (letters / "001.txt").write_text("bad text")
    job = Capitals(letters, tmp_path / "out", NAMES)
    assert [bool(outcome.error) for outcome in try_all(job)] == [False, True, False, False, False]
    with pytest.raises(DataError, match=r"expected letters in 001\.txt"):
        list(try_all(job, strict=True))
    assert len(list(try_all(Capitals(letters, tmp_path / "out", NAMES[2:]), strict=True))) == 3
    assert not (tmp_path / "out").exists()


class Copies(Capitals):
    """Results are files that are there already."""

    def encode(self, item: str, answer: str) -> Result:
        (self.folder / "empty").touch()
        up, length = self.outputs(item)
        return Result({up: self.folder / item, length: self.folder / "empty"}, {"length": len(answer)})


def test_results_may_be_files_that_are_there(letters: Path, tmp_path: Path) -> None:
    list(run(prepare(Copies(letters, tmp_path / "out", NAMES[:2])), in_line))
    assert (tmp_path / "out" / "001.up").read_text() == "letters 1 letters 1 "
    assert [line["files"] for line in lines(tmp_path / "out")[1:]] == [
        {"000.up": 10, "000.len": 0},
        {"001.up": 20, "001.len": 0},
    ]
    assert (letters / "001.txt").read_text() == "letters 1 letters 1 "


def test_a_file_of_somebody_else_needs_force(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "003.up").write_text("by hand")
    (out / "notes").write_text("stay")
    with pytest.raises(UsageError, match=r"expected no file of others in the way, found .*003\.up"):
        list(capitals(letters, out, NAMES))
    assert sorted(content(out)) == ["003.up", "notes"]
    assert states(capitals(letters, out, NAMES, force=True))["003.txt"] == "replaced"
    assert (out / "notes").read_text() == "stay"


def test_what_a_hand_has_changed_is_kept_and_what_is_gone_or_empty_is_done(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))
    (out / "000.up").write_text("corrected by hand")
    (out / "001.up").write_text("")
    (out / "003.len").unlink()
    found = states(capitals(letters, out, NAMES))
    assert [name for name, state in found.items() if state != "kept"] == ["001.txt", "003.txt"]
    assert (out / "000.up").read_text() == "corrected by hand"
    assert (out / "001.up").read_text() == "LETTERS 1 " * 2


def test_two_names_that_would_share_a_file_keep_their_endings(tmp_path: Path) -> None:
    assert distinct_stems(("a.jpg", "b/a.jpg", "A.png", "c.d.png", "plain")) == {
        "a.jpg": "a_jpg", "b/a.jpg": "b/a", "A.png": "A_png", "c.d.png": "c.d", "plain": "plain",
    }  # fmt: skip
    assert set(distinct_stems(("e\u0301.png", "\xe9.jpg")).values()) == {"e\u0301_png", "\xe9_jpg"}


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (("a.jpg", "a.png", "a_jpg.tif"), ("a_jpg", "a_png", "a_jpg_tif")),
        (("a_jpg.tif", "a.jpg", "a.png", "A_JPG_TIF"), ("a_jpg_tif", "a_jpg", "a_png", "A_JPG_TIF_")),
        (("b.jpg", "B.jpg"), ("b_jpg", "B_jpg_2")),
        (("b.jpg", "B.jpg", "B_jpg_2.png"), ("b_jpg", "B_jpg_3", "B_jpg_2")),
        (("c", "C", "c."), ("c_", "C__2", "c__3")),
        (("d/e.png", "d/e.gif", "d/E.png", "d_e.png"), ("d/e_png", "d/e_gif", "d/E_png_2", "d_e")),
    ],
)
def test_no_stem_is_given_twice(names: tuple[str, ...], stems: tuple[str, ...]) -> None:
    found = distinct_stems(names)
    assert len({stem.casefold() for stem in found.values()}) == len(names)
    assert tuple(found[name] for name in names) == stems


def test_a_file_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Capitals, "outputs", lambda _, item: ["all.up" if item != "b.txt" else "ALL.up"])
    with pytest.raises(UsageError, match=r"found ALL\.up for both a\.txt and b\.txt"):
        prepare(Capitals(tmp_path, tmp_path / "out", ["a.txt", "b.txt"]))


def test_outputs_stay_inside_and_are_no_inputs(letters: Path) -> None:
    with pytest.raises(UsageError, match=r"expected all results inside of .*found \.\./up\.up"):
        prepare(Capitals(letters, letters / "out", ["../up.txt"]))
    (letters / "x.up").write_text("an input")
    with pytest.raises(UsageError, match=r"expected to replace no input, found .*x\.up for x\.up"):
        prepare(_Same(letters, letters, ["x.up"]), force=True)


class _Same(Capitals):
    """Writes where it reads."""

    def outputs(self, item: str) -> list[str]:
        return [item]


def test_folders_of_other_verbs_and_versions(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))

    class Other(Capitals):
        verb = "lower"

    for force in (False, True):
        with pytest.raises(UsageError, match=r"expected results of 'lower' in .*, found those of 'capitals'"):
            prepare(Other(letters, out, NAMES), force=force)
    head, *rest = (out / MANIFEST).read_text().splitlines(keepends=True)
    (out / MANIFEST).write_text("".join(rest))
    with pytest.raises(UsageError, match="found one of an earlier version"):
        prepare(Capitals(letters, out, NAMES))
    assert set(states(capitals(letters, out, NAMES, force=True)).values()) == {"replaced"}
    (out / MANIFEST).write_text(head.replace('"version": 2', '"version": 3'))
    with pytest.raises(UsageError, match="expected version 2"):
        prepare(Capitals(letters, out, NAMES), force=True)


def test_a_folder_of_its_own_holds_nothing_else(letters: Path, tmp_path: Path) -> None:
    class Alone(Capitals):
        shares_folder = False

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(DataError, match="found other files"):
        prepare(Alone(letters, tmp_path / "out", NAMES))


@pytest.mark.parametrize(
    "line",
    ["[1]", "5", '{"text": 5, "key": "k"}', '{"text": "000.txt", "key": "k", "asked": "a", "files": {"../../x": 1}}',
     '{"text": "000.txt", "files": [], "key": "", "asked": ""}', '{"claim": 7}', "\xff\xfe", "[" * 100_000,
     '{"a": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_a_stray_line_costs_nothing(letters: Path, tmp_path: Path, line: str) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))
    with (out / MANIFEST).open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    assert set(states(capitals(letters, out, NAMES)).values()) == {"kept"}


def test_no_line_of_a_manifest_makes_a_run_remove_a_file_elsewhere(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    list(capitals(letters, out, NAMES))
    (tmp_path / "precious").write_text("stay")
    text = (out / MANIFEST).read_text().replace('{"000.up": 10,', '{"../precious": 4, "000.up": 10,')
    (out / MANIFEST).write_text(text)
    list(capitals(letters, out, NAMES, force=True, mark="x"))
    assert (tmp_path / "precious").exists()


def test_output_removed_in_the_middle_is_told(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_letters(letters, 30)
    names = sorted(str(path.relative_to(letters)) for path in letters.rglob("*.txt"))
    steps = capitals(letters, out, names)
    for _ in range(5):
        next(steps)
    shutil.rmtree(out)
    with pytest.raises(OutputError, match=r"removed or replaced|gone"):
        list(steps)
    list(capitals(letters, out, names))
    list(capitals(letters, tmp_path / "whole", names))
    assert content(out) == content(tmp_path / "whole")


def test_results_that_are_gone_at_the_end_have_no_line(letters: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps = capitals(letters, out, NAMES)
    next(steps)
    (out / "000.up").unlink()
    with pytest.raises(OutputError, match=r"found 1 of 5 results gone, first that of 000.txt"):
        list(steps)
    assert [line["text"] for line in lines(out)[1:]] == NAMES[1:]
    assert stopped_at(Capitals(letters, out, NAMES)) == (
        f"stopped: 4 of 5 done are kept in {out}; the same command goes on"
    )


def test_a_result_of_one_byte_is_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    assert states(capitals(tmp_path / "in", tmp_path / "out", ["a.txt"])) == {"a.txt": "done"}
    assert states(capitals(tmp_path / "in", tmp_path / "out", ["a.txt"])) == {"a.txt": "kept"}
    (tmp_path / "in" / "a.txt").write_text("y")
    with pytest.raises(UsageError):  # replaced by nothing but --force
        list(capitals(tmp_path / "in", tmp_path / "out", ["a.txt"]))


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(
    letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [6]

    def sync(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_sync", sync)
    with pytest.raises(OutputError, match=r"cannot write .*no space left") as caught:
        list(capitals(letters, tmp_path / "out", NAMES))
    assert "make room" in caught.value.hint
    monkeypatch.undo()
    found = states(capitals(letters, tmp_path / "out", NAMES))
    assert list(found.values()).count("kept") == 2
    list(capitals(letters, tmp_path / "whole", NAMES))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_names_and_messages_stay_on_one_line(letters: Path, tmp_path: Path) -> None:
    (letters / "two\nlines\x1b.txt").write_text("bad text")
    (outcome,) = capitals(letters, tmp_path / "out", ["two\nlines\x1b.txt"])
    assert "\n" not in outcome.error
    assert "two\\nlines\\x1b.txt" in outcome.error


def test_a_plan_that_is_out_of_date_is_made_again(letters: Path, tmp_path: Path) -> None:
    plan = prepare(Capitals(letters, tmp_path / "out", NAMES))
    list(capitals(letters, tmp_path / "out", NAMES))
    assert set(states(run(plan)).values()) == {"kept"}


def test_a_step_that_has_failed_is_the_last(letters: Path, tmp_path: Path) -> None:
    done = Attempt(Capitals(letters, tmp_path, ["gone.txt"]), "gone.txt").read().work().encode()
    assert (done.result, done.key, done.error) == (None, "", f"no text at {letters / 'gone.txt'}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_told_before_the_work(letters: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        prepare(Capitals(letters, tmp_path / "out", NAMES))
