"""What every promptable network shares: fitting pictures, and decoding prompts of all kinds prompt-major.

Prompts of one kind (same number of points, with or without box and mask) form one batch, whichever picture
they belong to, and batches are decoded in chunks, so memory does not grow with the number of prompts and the
result does not depend on what else is in the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from vns_sam.images.geometry import masks_to_model
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.checkpoints import model_digest
from vns_sam.sam.hub import upload
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.prompt_rows import CELLS_AT_ONCE, PromptRow, prompt_rows, row_geometry
from vns_sam.types import (
    Answers,
    DecoderOutput,
    Geometry,
    ImageFeatures,
    ModelInfo,
    PromptBatch,
    Prompts,
    Size,
)
from vns_sam.types.features import join_maps

CELLS_AT_ONCE_ELSEWHERE = 2**17
"""The same for other devices, which want larger products."""


class PromptableNetwork(nn.Module, ABC):
    """Base of SAM, VNS-SAM and the tiny models: implements the promptable protocol over two tensor methods.

    Attributes:
        name: What a user calls the model.
        config: What defines it.
        preprocessing: How pictures enter.
        chunk: Prompts decoded at once, None for as many as suit the device.
    """

    name: str
    config: Any
    preprocessing: Preprocessing
    chunk: int | None = None

    @abstractmethod
    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """Encodes normalised pixels (I, 3, S, S); differentiable. The geometry is left empty."""

    @abstractmethod
    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """Decodes one batch of prompts of one kind, with all masks to choose from if asked; differentiable."""

    @abstractmethod
    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors``."""

    def saved_config(self) -> dict[str, Any]:
        """What ``config.json`` says of the model; what it stands on by a name that holds everywhere."""
        values: dict[str, Any] = self.config.to_dict()
        return values

    def push_to_hub(self, repo: str, *, private: bool = False) -> str:
        """Uploads what :meth:`save_pretrained` writes, with a card, to the Hugging Face hub.

        A folder with a measured card and with graphs is uploaded whole by :func:`vns_sam.sam.hub.upload`.

        Args:
            repo: Its hub id, ``owner/model``, which is made if it is not there.
            private: Whether a new one is seen by its owner alone.

        Returns:
            The address of the commit.

        Raises:
            UsageError: ``repo`` has not the form of a hub id.
            CheckpointError: The hub does not take it or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(Path(folder), repo, private=private)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are in, and what pixels enter as."""
        return next(self.parameters()).dtype

    @property
    def grid(self) -> int:
        """Side g of the embedding grid."""
        return self.preprocessing.grid

    @property
    def info(self) -> ModelInfo:
        """What the model is; a new one whenever its name, a configuration or a weight has changed."""
        state = _State(self)
        known: tuple[_State, ModelInfo] | None = vars(self).get("_known")
        if known is None or known[0] != state:
            self._known = known = (state, self.describe(partial(model_digest, self)))
        return known[1]

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """What the model is; ``more`` are the fields that a method adds."""
        return ModelInfo(self.name, digest, input_side=self.preprocessing.image_size, **more)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but what is known of the weights."""
        return {name: value for name, value in vars(self).items() if name != "_known"}

    @torch.inference_mode()
    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes I pictures, each (H, W, 3) uint8 RGB of any size."""
        pixels, geometry = zip(*(self.preprocessing(image, self.device) for image in images), strict=True)
        alike: dict[Size, list[int]] = defaultdict(list)
        for number, place in enumerate(geometry):
            alike[place.input].append(number)
        parts = [
            self.encode_pixels(torch.stack([pixels[number] for number in some]).to(self.dtype))
            for some in alike.values()
        ]
        back = np.argsort([number for some in alike.values() for number in some])

        def joined(*maps: torch.Tensor) -> torch.Tensor:
            return maps[0] if len(maps) == 1 else join_maps(maps)[back]

        return ImageFeatures(
            joined(*(part.embedding for part in parts)),
            (),
            geometry,
            tuple(joined(*maps) for maps in zip(*(part.mined for part in parts), strict=True)),
            owner=self.info,
            finer=tuple(joined(*maps) for maps in zip(*(part.finer for part in parts), strict=True)),
        )

    @torch.inference_mode()
    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> Answers:
        """Decodes ``prompts[k]`` on image ``image_index[k]``, see :meth:`vns_sam.types.PromptableModel.decode`.

        Returns:
            One answer for each prompt, in the order given, whatever the kinds and counts.

        Raises:
            UsageError: Another model made the features.
            PromptError: A row holds no point, box or mask, or an index names no image.
        """
        self.check_owner(features)
        features = features.to(self.device, self.dtype)
        parts: list[DecoderOutput] = []
        order: list[int] = []
        for rows, asked, batch in self._chunks(features, prompts, image_index):
            parts.append(self.decode_batch(asked, batch, candidates=candidates))
            order.extend(rows)
        back = torch.from_numpy(np.argsort(order)).to(self.device)

        def joined(name: str, join: Callable[[list[torch.Tensor]], torch.Tensor]) -> torch.Tensor | None:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else join(values)[back]

        scores, iou = joined("scores", torch.cat), joined("candidate_scores", torch.cat)
        assert scores is not None
        return MapAnswers(
            joined("mask_logits", join_maps),
            scores.float().cpu().numpy(),
            row_geometry(features, prompts, image_index),
            joined("edge_logits", join_maps),
            joined("candidate_logits", join_maps),
            None if iou is None else iou.float().cpu().numpy(),
        )

    def check_owner(self, features: ImageFeatures) -> None:
        """Judges whether this model may decode features.

        Raises:
            UsageError: Another model made them.
        """
        known: tuple[_State, ModelInfo] | None = vars(self).get("_known")
        if known is None or features.owner is not known[1]:  # else it has just made them
            features.check_owner(self.info)

    @property
    def at_once(self) -> int:
        """Prompts decoded at once."""
        cells = CELLS_AT_ONCE if self.device.type == "cpu" else CELLS_AT_ONCE_ELSEWHERE
        return self.chunk or max(1, cells // self.grid**2)

    def _chunks(
        self, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]
    ) -> Iterator[tuple[list[int], ImageFeatures, PromptBatch]]:
        """Row numbers, features, and prompts of one kind about them: at most :attr:`at_once`, on the model's device. On
        a CPU they are about one picture and share what is its alone.
        """
        for rows, batch in batch_prompts(prompts, image_index, features.geometry, self.preprocessing):
            if self.device.type == "cpu":
                parts = [*_by_image(rows, features, batch)]
            else:
                parts = [(rows, features.over(features.geometry[int(batch.image_index[0])].input), batch)]
            for members, asked, part in parts:
                for start in range(0, len(members), self.at_once):
                    at = slice(start, start + self.at_once)
                    yield members[at], asked, _take(part, at).to(self.device)


def _by_image(
    rows: list[int], features: ImageFeatures, batch: PromptBatch
) -> Iterator[tuple[list[int], ImageFeatures, PromptBatch]]:
    """Each picture that prompts are about: their row numbers, its features as a batch of one, and the prompts."""
    for image in batch.image_index.unique().tolist():
        at = (batch.image_index == image).nonzero()[:, 0]
        yield (
            [rows[i] for i in at.tolist()],
            features.select(image),
            replace(_take(batch, at), image_index=torch.zeros_like(at)),
        )


class _State:
    """Name, configurations and weights of a network, compared in no time: tensors by their place and version."""

    def __init__(self, model: PromptableNetwork) -> None:
        self.name = model.name
        self.weights: list[tuple[int, int]] = []
        self.configs: list[Any] = []
        parts: list[nn.Module] = [model]
        while parts:  # as ``modules()``, which makes a name for each and takes three times as long
            part = parts.pop()
            parts.extend(below for below in part._modules.values() if below is not None)
            self.configs.append(vars(part).get("config"))
            for kind in (part._parameters, part._buffers):
                for t in kind.values():
                    if t is not None:
                        self.weights.append((t.data_ptr(), 0 if t.is_inference() else t._version))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _State) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def batch_prompts(
    prompts: Sequence[Prompts],
    image_index: Sequence[int],
    geometry: Sequence[Geometry],
    preprocessing: Preprocessing,
) -> Iterator[tuple[list[int], PromptBatch]]:
    """Sorts prompt rows by kind and by the size of the input, and maps them to model pixels.

    Args:
        prompts: One entry for each (image, kind); rows are numbered through in order.
        image_index: The image of each entry.
        geometry: One for each image.
        preprocessing: How the pictures entered.

    Yields:
        The row numbers and the batch of each kind.

    Raises:
        PromptError: A row holds nothing, an index names no image, or there is no row at all.
    """
    kinds: dict[tuple[Size, tuple[bool, int, bool]], list[PromptRow]] = defaultdict(list)
    for row in prompt_rows(prompts, image_index, geometry):
        kinds[geometry[row.image].input, row.kind].append(row)
    for members in kinds.values():
        yield [row.number for row in members], _stack(members, geometry, preprocessing)


def _stack(rows: Sequence[PromptRow], geometry: Sequence[Geometry], preprocessing: Preprocessing) -> PromptBatch:
    """Rows of one kind as a batch."""

    def stacked(name: str) -> torch.Tensor | None:
        values = [getattr(row, name) for row in rows]
        return None if values[0] is None else torch.from_numpy(np.stack(values))

    masks = None
    if rows[0].mask is not None:
        given = ((torch.from_numpy(row.mask)[None], geometry[row.image]) for row in rows if row.mask is not None)
        masks = torch.cat([masks_to_model(mask, place, preprocessing.cells(place, 4)) for mask, place in given])
    labels = stacked("labels")
    index = torch.tensor([row.image for row in rows])
    return PromptBatch(index, stacked("box"), stacked("points"), None if labels is None else labels.long(), masks)


def _take(batch: PromptBatch, part: slice | torch.Tensor) -> PromptBatch:
    return replace(batch, **{k: v[part] for k, v in vars(batch).items() if v is not None})
