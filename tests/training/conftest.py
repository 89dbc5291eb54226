"""A data set of drawn disks and a narrow tiny SAM: a training run within seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from vns_sam.sam.config import MaskDecoderConfig, SamConfig
from vns_sam.sam.model import SamModel


def write_disks(folder: Path, count: int, seed: int = 0) -> Path:
    """Writes pictures (48 x 64) of one bright disk each, with masks."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        image = rng.integers(0, 90, (48, 64, 3), dtype=np.uint8)
        mask = np.zeros((48, 64), np.uint8)
        cv2.circle(mask, (int(rng.integers(16, 48)), int(rng.integers(14, 34))), int(rng.integers(7, 12)), 255, -1)
        image[mask > 0] += 120
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{i:03d}.png"), mask)
    return folder


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the set ``data/disks`` and the untrained model ``init``."""
    root = tmp_path_factory.mktemp("workshop")
    write_disks(root / "data" / "disks", 60)
    torch.manual_seed(0)
    decoder = MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32)
    config = SamConfig("narrow", "tiny", 64, (384, 160, 112, 320), mixer_blocks=1, mask_decoder=decoder)
    SamModel(config).save_pretrained(root / "init")
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
