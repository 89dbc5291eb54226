from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vns_sam.cli import main as module
from vns_sam.cli.main import VERBS, main
from vns_sam.cli.overrides import apply_overrides
from vns_sam.errors import MissingExtraError, UsageError

SOURCE = str(Path(module.__file__).parents[2])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "vns_sam.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)


def test_help_names_every_verb_and_loads_no_torch() -> None:
    answer = run("--help")
    assert answer.returncode == 0
    assert all(verb in answer.stdout for verb in VERBS)
    code = "import sys; from vns_sam.cli.main import main; main(['segment', '--help'])"
    program = f"try:\n    {code.replace('; ', chr(10) + '    ')}\nfinally:\n    assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": SOURCE}).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["segmnt"], 2, "try: vns-sam segment"),
        (["--hepl"], 2, "unknown option '--hepl'"),
        (["segment"], 2, "required: IMAGE|DIR"),
        (["segment", "a.jpg"], 2, "--box 12 30 210 180"),
        (["segment", "a.jpg", "--box", "1", "2", "3"], 2, "--box: expected 4 arguments"),
        (["segment", "a.jpg", "--box", "1", "2", "3", "four"], 2, "'four'"),
        (["segment", "a.jpg", "--label", "1"], 2, "--label must follow"),
        (["segment", "a.jpg", "--box", "1", "2", "3", "4", "--format", "gif"], 2, "gif"),
        (["segment", "a.jpg", "--box", "1", "2", "3", "4"], 3, "no image at a.jpg"),
        (["models", "convert", "absent.pth", "--out", "x"], 4, "no file absent.pth"),
        (["train", "absent.yaml"], 2, "no recipe at absent.yaml"),
    ],
)
def test_errors_are_two_lines_and_a_code(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    assert all(line.startswith("try: ") for line in lines[1:])
    assert says in shown.err
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "a.jpg", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "says"), [(KeyboardInterrupt(), 130, ""), (TypeError("oh"), 1, "fault of vns-sam")]
)
def test_interrupts_and_faults(
    raised: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise raised

    monkeypatch.setattr(module, "dispatch", fail)
    assert main([]) == code
    shown = capsys.readouterr().err
    assert says in shown
    assert bool(says) == bool(shown)


@pytest.mark.parametrize(
    ("verb", "lacking", "extra"),
    [
        ("train", ModuleNotFoundError("", name="torch"), "train,eval"),
        ("evaluate", MissingExtraError("torch", extra="torch", purpose="measuring"), "eval"),
        ("evaluate", MissingExtraError("faster-coco-eval", extra="eval", purpose="measuring"), "eval"),
        ("segment", MissingExtraError("torch", extra="torch", purpose="this model"), "torch"),
    ],
)
def test_one_installation_brings_all_that_a_verb_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, lacking: Exception, extra: str
) -> None:
    def run(args: object) -> int:
        raise lacking

    monkeypatch.setattr(f"vns_sam.cli.{verb}.run", run)
    assert main([verb, "x", "--data", "y"] if verb == "evaluate" else [verb, "x"]) == 5
    assert f"pip install 'vns-sam[{extra}]'" in capsys.readouterr().err


def test_a_lacking_extra_reaches_the_caller_of_a_process_whole() -> None:
    error = pickle.loads(pickle.dumps(MissingExtraError("torch", extra="torch", purpose="this")))
    assert (error.package, error.extra, error.hint) == ("torch", "torch", "pip install 'vns-sam[torch]'")


def test_a_process_ends_with_the_code() -> None:
    answer = run("segment", "absent.jpg", "--point", "1", "2")
    assert answer.returncode == 3
    assert answer.stderr.startswith("error: no image at absent.jpg\ntry: ")


def test_version_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert "vit_l" in capsys.readouterr().out


def test_overrides_of_a_recipe() -> None:
    values = {"optim": {"lr": 1.0}, "steps": 5}
    changed = apply_overrides(values, ["--optim.lr", "-0.5", "--data.sets=[a, b]", "--init", "null"])
    assert changed == {"optim": {"lr": -0.5}, "steps": 5, "data": {"sets": ["a", "b"]}, "init": None}
    for wrong in (["--steps"], ["steps", "3"], ["--steps.more", "3"], ["--ws.pseudo", "[a/{set}, b]"]):
        with pytest.raises(UsageError):
            apply_overrides({"steps": 5}, wrong)


def test_hq_sam_needs_no_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"mask_decoder.compress_vit_feat.0.weight": torch.zeros(1)}, tmp_path / "sam_hq_vit_b.pth")
    assert main(["models", "convert", str(tmp_path / "sam_hq_vit_b.pth"), "--out", str(tmp_path / "out")]) == 2
    assert "is an HQ-SAM file, which is used as it is" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
