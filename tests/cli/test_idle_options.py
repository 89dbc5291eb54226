"""Options that would do nothing are refused in one line, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from workshop import narrow_sam, write_disks

from vns_sam.cli.main import main
from vns_sam.inference import load


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--beside", "--precision", "fp16"], "--precision fp16 would do nothing"),
        (["--beside", "--precision", "int8"], "--precision int8 would do nothing"),
        (["--beside", "--opset", "18"], "--opset would do nothing"),
        (["--page", "site", "--opset", "19"], "--opset would do nothing"),
        (["--out", "graphs", "--runtime", "ort"], "--runtime would do nothing"),
        (["--out", "graphs", "--canvas", "64", "64"], "--canvas would do nothing"),
        (["--anylabeling", "pair", "--pictures", "."], "--pictures would do nothing"),
        (["--out", "graphs", "--limit", "3"], "--limit would do nothing"),
    ],
)
def test_of_export(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "load_network", lambda *_: pytest.fail("a model was loaded"))
    assert main(["export", "vns-sam-tiny", *options]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [([], "--base is of a VNS-SAM's file, not of a SAM's own file"), (["--to", "transformers"], "a folder of trans")],
)
def test_of_models_convert(options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    file, out = str(tmp_path / "narrow" / "model.safetensors"), tmp_path / "out"
    assert main(["models", "convert", file, "--base", "vit_l", "--out", str(out), *options]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("frog.png", ["--dry-run"], "--dry-run tells of files on the disk"),
        ("frog.png", ["--overlay"], "--overlay tells of files on the disk"),
        (".", [], "--out - takes the result of one picture"),
    ],
)
def test_of_segment_into_a_pipe(
    source: str,
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    Image.new("RGB", (64, 48)).save("frog.png")
    assert main(["segment", source, "--box", "1", "1", "9", "9", "--out", "-", *options]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["frog.png"]


def test_a_misspelt_part_is_found_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("one", "two")):
        narrow_sam(seed).save_pretrained(tmp_path / name)
    data, out = write_disks(tmp_path / "disks", 2), tmp_path / "report"
    line = ["evaluate", str(tmp_path / "one"), str(tmp_path / "two"), "--data", str(data), "--workers", "0"]
    assert main([*line, "--out", str(out), "--ablate", "mask_decoder", "mask_decodr", "--ablate-by", "zero"]) == 2
    printed = capsys.readouterr()
    assert "the model has no part 'mask_decodr'" in printed.err
    assert printed.out == ""
    assert not out.exists()
