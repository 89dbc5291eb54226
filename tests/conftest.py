"""Settings for every test: one thread, no network; where the parity fixtures are; a browser."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

torch.set_num_threads(1)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Folder with the outputs of the authors' code; the test is skipped where it is absent."""
    folder = Path(os.environ.get("VNS_SAM_FIXTURES", REPOSITORY.parent / "shared" / "fixtures"))
    if not folder.is_dir():
        pytest.skip(f"no parity fixtures at {folder}; name their folder in VNS_SAM_FIXTURES")
    return folder


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Undoes what the command line does to the package's logger, so that a later test can listen to it."""
    ours = logging.getLogger("vns_sam")
    before = list(ours.handlers), ours.propagate, ours.level
    yield
    ours.handlers, ours.propagate = before[0], before[1]
    ours.setLevel(before[2])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from serving_page import BINARY

    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY, args=["--no-sandbox"])
        yield browser
        browser.close()
