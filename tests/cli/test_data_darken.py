"""``vns-sam data darken`` and ``vns-sam data realism``: what they write, print and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from workshop import narrow_sam, write_disks

from vns_sam.cli import data_darken, data_realism
from vns_sam.cli.main import Parser
from vns_sam.errors import CheckpointError, DataError, UsageError
from vns_sam.images.read import read_image
from vns_sam.lowlight.generator import GeneratorConfig, ResnetGenerator


def call(module: object, *arguments: str | Path) -> int:
    parser = Parser(allow_abbrev=False)
    module.add_arguments(parser)  # type: ignore[attr-defined]
    args = parser.parse_args([str(argument) for argument in arguments])
    args.quiet, args.json = True, False
    return module.run(args)  # type: ignore[attr-defined]


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks", 5)


def test_camera(disks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (disks / "images" / "003.png").write_bytes(b"")
    out = tmp_path / "dark"
    assert call(data_darken, disks, "--out", out, "--workers", "0") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"{out}: 4 done, 0 done before, 1 failed"
    assert "luminance before: " in printed.out
    assert "failed: " in printed.err
    assert "003.png" in printed.err
    assert sorted(path.name for path in out.iterdir()) == ["contact_sheet.jpg", "images", "manifest.jsonl", "masks"]
    assert read_image(out / "contact_sheet.jpg").shape[1] > 4 * 224
    assert call(data_darken, disks, "--out", out, "--workers", "0") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 0 done, 4 done before, 1 failed"


def test_cyclegan(disks: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(ResnetGenerator(GeneratorConfig(4, 1)).state_dict(), tmp_path / "latest_net_G_A.pth")
    for strength in ("1", "0.5"):
        out = tmp_path / strength
        options = ("--method", "cyclegan", "--weights", tmp_path / "latest_net_G_A.pth", "--strength", strength)
        assert call(data_darken, disks, "--out", out, *options) == 0
        assert read_image(out / "images" / "000.png").shape == (48, 64, 3)
    assert (read_image(tmp_path / "1/images/000.png") != read_image(tmp_path / "0.5/images/000.png")).any()


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (["--method", "cyclegan"], UsageError, "needs a generator"),
        (["--weights", "g.pth"], UsageError, "goes with --method cyclegan"),
        (["--method", "cyclegan", "--weights", "nothing.pth"], CheckpointError, "no file"),
        (["--strength", "3"], UsageError, "from 0 to 2 with --method camera"),
        (["--strength", "nan"], UsageError, "from 0 to 2"),
        (["--workers=-1"], UsageError, "--workers"),
        (["--method", "gan"], UsageError, "invalid choice"),
    ],
)
def test_mistakes(disks: Path, tmp_path: Path, options: list[str], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        call(data_darken, disks, "--out", tmp_path / "dark", *options)


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="none of 1 could be done"):
        call(data_darken, tmp_path / "photos", "--out", tmp_path / "dark", "--workers", "0")


def test_realism(
    disks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vns_sam.inference.load.load_network", lambda *_: narrow_sam())
    call(data_darken, disks, "--out", tmp_path / "dark", "--workers", "0")
    call(data_darken, disks, "--out", tmp_path / "real", "--workers", "0", "--seed", "1")
    capsys.readouterr()
    report = tmp_path / "report.json"
    options = ("--synthetic", tmp_path / "dark", "--source", disks, "--out", report)
    assert call(data_realism, tmp_path / "real", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        f"| {f}" for f in (disks, tmp_path / "dark", tmp_path / "real")
    ]
    assert report.is_file()
    with pytest.raises(DataError, match="below a luminance of 1 "):
        call(data_realism, tmp_path / "real", "--synthetic", tmp_path / "dark", "--real-below", "1")
