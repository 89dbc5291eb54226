"""Settings for every test: one thread, no network; and where the parity fixtures are."""

from __future__ import annotations

import os
from pathlib import Path

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
