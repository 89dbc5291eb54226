"""Predictions as 8-bit maps on disk: ``MODEL/PROMPT/SET/STEM.png``. What CODToolbox and PySODMetrics take as a method's
folder is that of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.evaluation.rows import Key
from vns_sam.images.write import encode_image
from vns_sam.metrics.maps import saliency_map


@dataclass(frozen=True)
class SavedMaps:
    """The maps of one model.

    Attributes:
        folder: Of all models.
        label: The model.
    """

    folder: Path
    label: str

    @property
    def own(self) -> Path:
        """The model's folder."""
        return self.folder / (re.sub(r"[^A-Za-z0-9._+-]+", "_", self.label).strip("_.") or "model")

    def path(self, key: Key) -> Path:
        """Where one object's map lies; maps of single objects are called ``STEM_1.png``, ``STEM_2.png``.

        Every prompt has a folder of its own, one alone too: a map must not pass for the answer to another prompt.
        """
        name = f"{key.stem}_{key.target}.png" if key.target else f"{key.stem}.png"
        return self.own.joinpath(key.prompt.replace(":", "_"), key.dataset, name)

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those without a map."""
        return [key for key in keys if not self.path(key).is_file()]

    def file(self, logits: np.ndarray, counted: np.ndarray | None = None) -> bytes:
        """The file of a map as it is scored, see :func:`vns_sam.metrics.maps.saliency_map`.

        Args:
            logits: (H, W) at the picture's size.
            counted: Pixels (H, W) bool that count; the others are black. None counts all.
        """
        return encode_image(saliency_map(logits, counted))


def check_folders(folder: Path, labels: Iterable[str]) -> None:
    """Checks that each model of a run has a folder of its own, also where case is not told apart.

    Args:
        folder: Of all models.
        labels: The models, each once.

    Raises:
        UsageError: Two share one; the second would take the maps of the first for its own.
    """
    owners: dict[str, str] = {}
    for label in labels:
        own = SavedMaps(folder, label).own
        first = owners.setdefault(own.name.casefold(), label)
        if first != label:
            raise UsageError(
                f"expected a folder of maps for each model, found {own} for both '{first}' and '{label}'",
                hint="measure one after the other, each with its own --save-maps",
            )
