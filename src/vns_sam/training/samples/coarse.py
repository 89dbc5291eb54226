"""Coarse masks of a training set, made once by the first stages and kept by the content of what they were made from.

A file's name is a digest of picture, masks, model and settings. When one of them changes, the name changes, so that a
stale mask is never read; files that no picture asks for any more are counted in the log.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vns_sam.data.pairs import Pair, pair_digest
from vns_sam.data.synthesis.scenes import Scene
from vns_sam.dis.coarse import coarse_answers
from vns_sam.dis.config import Choice
from vns_sam.errors import DataError
from vns_sam.images.write import atomic_path
from vns_sam.prompts.slots import tight_box
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import Prompts

logger = logging.getLogger(__name__)


class CoarseCache:
    """A folder of coarse masks.

    Args:
        folder: Where they are kept.
        side: Pictures are prompted with their longer side reduced to this; None leaves them as they are.
        prints: A fingerprint of each first stage, see :func:`fingerprint`.
    """

    def __init__(self, folder: Path, side: int | None, prints: Sequence[str]) -> None:
        self.folder, self.side, self.prints = folder, side, tuple(prints)

    def path(self, pair: Pair, number: int) -> Path:
        """The file with the masks of one pair by first stage ``number``."""
        digest = hashlib.sha256(f"{self.prints[number]} {self.side} {pair_digest(pair)}".encode())
        return self.folder / f"{digest.hexdigest()[:32]}.npz"

    def read(self, pair: Pair, number: int) -> np.ndarray:
        """Masks (K, H, W) bool, one for each object of the pair's scene.

        Raises:
            DataError: They have not been made, or the file is damaged.
        """
        path = self.path(pair, number)
        try:
            with np.load(path) as stored:
                shape = tuple(int(n) for n in stored["shape"])
                bits = np.unpackbits(stored["bits"], count=int(np.prod(shape)))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"no usable coarse mask of {pair.image} at {path} ({type(error).__name__})",
                hint="remove the file and start the run again; it makes what is missing",
            ) from None
        return bits.reshape(shape).astype(bool)

    def fill(
        self,
        models: Sequence[PromptableNetwork],
        pairs: Sequence[Pair],
        read: Callable[[Pair], Scene],
        choice: Choice,
        share: tuple[int, int] = (0, 1),
    ) -> int:
        """Makes what is missing, each mask from the box of its object.

        Of several processes each begins elsewhere and goes once around, past what another has made meanwhile: when one
        is through, everything is there.

        Args:
            models: The first stages, in the order of the fingerprints.
            pairs: The pictures.
            read: Reads a pair at that size.
            choice: Which of a SAM's masks is taken.
            share: Number of this process, and how many there are.

        Returns:
            How many files this process made.
        """
        wanted = {self.path(pair, number): (pair, number) for pair in pairs for number in range(len(models))}
        found = set(self.folder.glob("*.npz"))
        missing = {path: entry for path, entry in wanted.items() if path not in found}
        stale = len(found - set(wanted))
        logger.info("%d coarse masks at hand, %d to make, %d stale", len(wanted) - len(missing), len(missing), stale)
        scenes: dict[Pair, Scene] = {}
        entries, made = [*missing.items()], 0
        first = len(entries) * share[0] // share[1]
        for path, (pair, number) in entries[first:] + entries[:first]:
            if path.is_file():
                continue
            if pair not in scenes:
                scenes = {pair: read(pair)}
            masks = prompt_boxes(models[number], scenes[pair], choice)
            with atomic_path(path) as part, part.open("wb") as file:
                np.savez_compressed(file, bits=np.packbits(masks), shape=np.array(masks.shape))
            made += 1
        return made


def prompt_boxes(model: PromptableNetwork, scene: Scene, choice: Choice) -> np.ndarray:
    """The masks (K, H, W) bool that a model finds for the boxes of a scene's objects; an empty object gets none."""
    masks = np.zeros_like(scene.masks)
    rows = np.flatnonzero(scene.masks.any((1, 2)))
    if len(rows):
        boxes = np.stack([tight_box(scene.masks[row]) for row in rows])
        answers = coarse_answers(model, model.encode([scene.image]), [Prompts(boxes=boxes)], [0], choice)
        for row, place in enumerate(rows):
            masks[place] = answers.logits(row) > 0
    return masks


def fingerprint(model: PromptableNetwork, choice: Choice) -> str:
    """A digest of a model and of which of its masks is taken."""
    return f"{model.info.digest} {model.preprocessing} {choice}"
