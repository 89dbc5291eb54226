"""Predictions as 8-bit maps on disk: ``MODEL/PROMPT/SET/STEM.png``. What CODToolbox and PySODMetrics take as a method's
folder is that of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.evaluation.rows import Key, other_entry
from vns_sam.images.write import encode_image, write_json
from vns_sam.metrics.maps import saliency_map
from vns_sam.runs.lines import read_lines

ASKED = "asked.json"
"""In a model's folder: what its maps depend on."""
SCORED = ("metrics", "precision")
"""Entries of an evaluation's identity that maps do not depend on."""


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

    def check(self, identity: Mapping[str, Any]) -> None:
        """Checks that the maps that are there are of the same question; those without a mark are taken for it.

        Args:
            identity: Of the evaluation, see :meth:`vns_sam.evaluation.measure.Measure.identity`.

        Raises:
            UsageError: They are of another one.
            DataError: The mark cannot be read.
        """
        found = next(read_lines(self.own / ASKED), {})
        if name := other_entry(found, _asked(identity)):
            raise UsageError(
                f"{self.own} holds maps with {name} {found[name]}, expected {identity[name]}",
                hint="give another --save-maps, or remove the folder",
            )

    def mark(self, identity: Mapping[str, Any]) -> None:
        """Notes what the maps are of.

        Raises:
            OutputError: The folder cannot be written.
        """
        write_json(self.own / ASKED, _asked(identity))

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


def _asked(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name not in SCORED}


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
