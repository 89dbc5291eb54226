"""EdgeTAM, which is known but cannot be run here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch

from vns_sam.errors import CheckpointError
from vns_sam.sam.registry import Layout


def load_folder(folder: str | Path, origin: str = "") -> NoReturn:
    """Refuses a folder of transformers' ``EdgeTamModel``.

    Raises:
        CheckpointError: Always: its image encoder is a part of timm's.
    """
    raise CheckpointError(
        f"{origin or folder} is an EdgeTAM: its image encoder comes from timm, which this package does without",
        hint="for a CPU take sam2.1-t or mobile-sam",
    )


def holds_edgetam(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether a file's tensors are those of EdgeTAM's authors or of transformers."""
    return any(key.startswith(("image_encoder.trunk.body.", "vision_encoder.backbone.timm_model.")) for key in state)


LAYOUT = Layout("EdgeTAM", holds_edgetam, lambda _, path: load_folder(path), lambda _: "an EdgeTAM")
