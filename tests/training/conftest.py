"""A data set of drawn disks and a narrow tiny SAM: a training run within seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from workshop import narrow_sam, write_disks


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the set ``data/disks`` and the untrained model ``init``."""
    root = tmp_path_factory.mktemp("workshop")
    write_disks(root / "data" / "disks", 60)
    narrow_sam().save_pretrained(root / "init")
    return root


@pytest.fixture
def recipe_file(workshop: Path, tmp_path: Path) -> Path:
    """A recipe of six steps whose run goes to ``tmp_path / "run"``."""
    recipe = {
        "task": "sam",
        "out": str(tmp_path / "run"),
        "init": str(workshop / "init"),
        "data": {"root": str(workshop / "data"), "sets": {"disks": 1}, "sizes": [64]},
        "steps": 6,
        "batch_size": 2,
        "accumulate": 2,
        "workers": 0,
        "checkpoint_every": 1,
        "log_every": 2,
        "validation": {"every": 3, "limit": 2},
        "optim": {"lr": 3e-3, "clip": 1.0},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
