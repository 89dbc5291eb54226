"""Samples of WS-SAM's training: pictures with sparse labels, pseudo-labels or true masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path

import numpy as np

from vns_sam.data.pairs import Pair, Picture, check_same_size, own_folders, read_mask
from vns_sam.data.sparse import SparseLabels
from vns_sam.data.synthesis.scenes import recolour
from vns_sam.errors import DataError, UsageError
from vns_sam.images.find import EXTENSIONS, walk_files
from vns_sam.images.read import read_image
from vns_sam.labelling.store import LabelStore
from vns_sam.metrics.iou import iou
from vns_sam.training.samples.memory import Memory
from vns_sam.training.samples.sampler import ATTEMPTS, SetSampler, split_pairs, split_without_masks, weighted
from vns_sam.training.samples.settings import SetData
from vns_sam.training.samples.views import WeakPicture, draw_view
from vns_sam.training.validation import counted_mask
from vns_sam.training.ws_settings import Ws
from vns_sam.types import PromptableModel

logger = logging.getLogger(__name__)

SHOWN = 3
"""Problems and stems that one line names."""
UNLABELLED = "--ws.labels null learns from pseudo-labels alone"
"""What to do where there are none of the labels that a recipe names."""
_Place = tuple[str, Picture, int]
"""Name of a set, picture, and which of its pseudo-labels."""


class SetLabels:
    """What is known of the pictures of one set.

    Args:
        ws: What to learn from.
        name: Of the set.
        pairs: Its pictures, in one folder. What cannot be used of their sparse labels is told.

    Raises:
        UsageError: The recipe does not say where to find it.
        DataError: There is nothing.
    """

    def __init__(self, ws: Ws, name: str, pairs: Sequence[Picture]) -> None:
        self.ws, self.name = ws, name
        self.sparse, self._told = None, 0
        if ws.supervision == "sparse" or (ws.supervision == "pseudo" and ws.labels is not None):
            place = _path_of("labels", ws.labels, name)
            if ws.supervision == "pseudo" and not place.exists():
                raise DataError(f"expected sparse labels at {place}, found none", hint=UNLABELLED)
            self.sparse = SparseLabels(place)
            if pairs:
                self.sparse.follow(pairs[0].image.parent, [pair.image.name for pair in pairs])
            self._tell(self.sparse)
        given = ws.pseudo if isinstance(ws.pseudo, tuple) else (ws.pseudo,)
        places = [_path_of("pseudo", one, name) for one in given or (None,)] if ws.supervision == "pseudo" else []
        self.stores = [LabelStore(place) for place in places]

    def tells_of(self, pair: Picture) -> bool:
        """Whether something is known of a picture."""
        if self.ws.supervision == "full" or (self.sparse is not None and pair.image.name in self.sparse):
            return True
        return bool(self.pool(pair))

    def pool(self, pair: Picture) -> list[LabelStore]:
        """The stores whose pseudo-label of a picture is kept, at most ``ws.pool`` of them.

        The least uncertain comes first, of two that are as sure the later round's.
        Learning from them in turn is the average of the losses over a pool of best labels (SEE, TPAMI 2025).
        """
        records = [(store.find(pair.image.name), store) for store in reversed(self.stores)]
        kept = [(one.uncertainty.relative, store) for one, store in records if one and one.is_kept(self.ws.selection)]
        return [store for _, store in sorted(kept, key=itemgetter(0))][: self.ws.pool]

    def read(self, pair: Picture, place: int = 0) -> WeakPicture:
        """A picture and what is known of it.

        Args:
            pair: The picture.
            place: Which pseudo-label of its :meth:`pool`.

        Raises:
            DataError: A file is damaged or of another size, or the label contradicts itself.
        """
        image = read_image(pair.image)
        shape = (image.shape[0], image.shape[1])
        codes, target, weight = np.zeros((3, *shape), np.uint8)
        if self.sparse is not None and pair.image.name in self.sparse:
            codes = self.sparse.read(pair.image.name, shape, picture=pair.image).codes
            self._tell(self.sparse)
        if self.ws.supervision == "full":
            assert isinstance(pair, Pair)
            mask = read_mask(pair.mask)
            check_same_size(pair, image, mask)
            return WeakPicture(image, codes, mask * np.uint8(255), np.full_like(weight, 255), keep=True)
        pool = self.pool(pair)
        if not pool:
            return WeakPicture(image, codes, target, weight, keep=False)
        record = pool[place].find(pair.image.name)
        assert record is not None
        fused, sure = pool[place].training_target(record)
        if fused.shape != shape:
            raise DataError(f"expected a pseudo-label of the size of {pair.image}, found another", hint="make it again")
        weights = _bytes(sure) if self.ws.entropy else np.full_like(weight, 255)
        return WeakPicture(image, codes, _bytes(fused), weights, keep=True)

    def _tell(self, sparse: SparseLabels) -> None:
        """Tells what has turned out to be of no use since the last time."""
        new, self._told = sparse.problems[self._told :], len(sparse.problems)
        if new:
            more = f", and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
            logger.warning("%s: of the labels not used: %s%s", self.name, "; ".join(new[:SHOWN]), more)


class WeakSet(SetSampler[SetData, Picture]):
    """Samples by position. Pictures of which nothing is known are told and left out, damaged ones are passed over. They
    need masks only where these are learnt from.

    Args:
        data: What to train on.
        ws: What to learn from.
        length: Number of samples of the whole run.
        step_size: Samples of one optimiser step over all processes.
        seed: Of the run.
        by_epoch: Whether ``progress`` is that of the epoch, else of the run.

    Raises:
        UsageError: The recipe does not say where labels are.
        DataError: A set is missing, or nothing is known of any of its pictures.
    """

    def __init__(
        self, data: SetData, ws: Ws, *, length: int, step_size: int, seed: int, by_epoch: bool = False
    ) -> None:
        find: Callable[[Path, str], tuple[Sequence[Picture], list[Pair]]] = (
            split_pairs if ws.supervision == "full" else split_without_masks
        )
        super().__init__(data, weighted(data, find), length=length, step_size=step_size, seed=seed)
        self.labels = {name: SetLabels(ws, name, self.pairs[name]) for name in self.names}
        for name, pairs in self.pairs.items():
            self.pairs[name] = _known(name, pairs, self.labels[name])
        self.epoch = sum(map(len, self.pairs.values())) if by_epoch else length
        self.broken: dict[_Place, str] = {}
        self._pictures: Memory[_Place, WeakPicture] = Memory(self._read, attrgetter("nbytes"), data.cache_mib * 2**20)

    def __getitem__(self, position: int) -> dict[str, np.ndarray]:
        """One sample: ``image`` (3, S, S); ``codes``, ``target`` and ``weight`` (1, S, S), all uint8; ``keep`` bool;
        ``progress``, the share of the run or epoch that is done; ``seed`` of what the network draws.
        """
        step, step_rng = self.step_of(position)
        side, rng = self.side_of(step_rng), self.generator(step, position)
        picture = self._draw_picture(rng)
        height, width = picture.codes.shape
        seen = picture.view(draw_view(height, width, side, rng), side)
        return {
            "image": np.ascontiguousarray(recolour(seen.image, rng).transpose(2, 0, 1)),
            "codes": seen.codes[None],
            "target": seen.target[None],
            "weight": seen.weight[None],
            "keep": np.array(seen.keep),
            "progress": np.array(step * self.step_size % self.epoch / self.epoch),
            "seed": rng.integers(2**62, size=()),
        }

    def _draw_picture(self, rng: np.random.Generator) -> WeakPicture:
        """A random picture; one that is damaged is drawn past in every run alike."""
        for _ in range(ATTEMPTS):
            name, pair = self.draw_pair(rng)
            choices = len(self.labels[name].pool(pair))
            place = int(rng.integers(choices)) if choices > 1 else 0
            if (name, pair, place) in self.broken:
                continue
            try:
                return self._pictures[name, pair, place]
            except DataError as error:
                self.broken[name, pair, place] = error.message
                logger.warning("%s/%s is left out: %s", name, pair.stem, error.message)
        raise DataError(f"found no usable picture in {ATTEMPTS} of {', '.join(self.names)}, see the lines above")

    def _read(self, key: _Place) -> WeakPicture:
        name, pair, place = key
        return self.labels[name].read(pair, place).reduced(self.data.kept_side)


def segment_iou(model: PromptableModel, pair: Pair) -> float:
    """IoU with the true mask of what a model finds without a prompt, where pixels count."""
    answers = model.decode(model.encode([read_image(pair.image)]))
    truth, counted = counted_mask(pair)
    return iou((answers.logits(0) > 0) & counted, truth)


def _path_of(field: str, given: str | None, name: str) -> Path:
    if given is None:
        raise UsageError(f"expected 'ws.{field}' in the recipe, found none", hint=f"ws.{field}: {field}/{{set}}")
    return Path(given.replace("{set}", name))


def _known(name: str, pairs: Sequence[Picture], labels: SetLabels) -> list[Picture]:
    """The pictures of a set that something is known of. Those that lie too deep are told with the ones left out."""
    for folder in sorted({pair.image.parent for pair in pairs}):
        if nested := _nested(folder):
            logger.warning("%s: pictures in sub-folders of %s are not read: %s", name, folder, ", ".join(nested))
    known = [pair for pair in pairs if labels.tells_of(pair)]
    if not known:
        raise DataError(f"{name}: nothing is known of any of {len(pairs)} pictures", hint="check 'ws' in the recipe")
    if len(known) < len(pairs):
        stems = {pair.stem for pair in known}
        missing = [pair.stem for pair in pairs if pair.stem not in stems]
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        logger.warning("%s: %d of %d pictures left out, no label: %s", name, len(missing), len(pairs), shown)
    return known


def _nested(folder: Path) -> list[str]:
    """Sub-folders with pictures, but for those of splits."""
    places = (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(own_folders("")))
    return [path.name for path in places if any(file.suffix.lower() in EXTENSIONS for file in walk_files(path))]


def _bytes(share: np.ndarray) -> np.ndarray:
    return np.rint(share * 255).astype(np.uint8)
