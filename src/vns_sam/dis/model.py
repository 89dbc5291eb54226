"""DIS-SAM: a promptable model finds the object, IS-Net draws it to the pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from vns_sam.dis.channels import LARGEST_SIDE, box_channel, colour_channels, mask_channel, reduced
from vns_sam.dis.coarse import coarse_answers
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.isnet import IsNet
from vns_sam.dis.mattes import Matte, MatteAnswers, stretch, threshold, to_picture
from vns_sam.dis.windows import Fusion, boundary_windows, surroundings, uncertainty
from vns_sam.errors import CheckpointError, PromptError, UsageError
from vns_sam.images.windows import Window, extent, whole
from vns_sam.sam import registry
from vns_sam.sam.checkpoints import load_weights, read_checkpoint, write_checkpoint
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.sam.registry import portable
from vns_sam.types import DecoderOutput, Geometry, ImageFeatures, ModelInfo, PromptableModel, PromptBatch, Prompts, Size

MOST_WINDOWS = 16
"""Of a second look at one object."""
LEAST_GAIN = 1.25
"""A second look must enlarge the picture by this factor against the first, else it shows nothing new."""


class DisSamModel(PromptableNetwork):
    """Any promptable model, and an IS-Net that refines its masks; itself a promptable model.

    The first stage encodes a picture once. For each prompt its mask and its box join the picture as channels four and
    five, and IS-Net answers with an alpha map at the picture's size.

    Args:
        config: What defines the second stage.
        first: The first stage.
        network: IS-Net; a fresh one by default.

    Attributes:
        name: What users call the model.
    """

    def __init__(self, config: DisSamConfig, first: PromptableModel, network: IsNet | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = config.name
        self.first = first
        if isinstance(first, PromptableNetwork):
            self.preprocessing = first.preprocessing
        self.network = network or IsNet(5, config.width, residual=config.residual)

    def with_first(self, first: PromptableModel) -> DisSamModel:
        """The same refinement, weights shared, after another first stage."""
        model = DisSamModel(replace(self.config, base=first.info.name), first, self.network)
        model.name = f"{first.info.name}+{self.name}"
        return model.train(self.training)

    @property
    def device(self) -> torch.device:
        """Where IS-Net's weights are."""
        return next(self.network.parameters()).device

    def train(self, mode: bool = True) -> Self:
        """Switches the mode of IS-Net; the first stage stays in eval mode."""
        super().train(mode)
        if isinstance(self.first, nn.Module):
            self.first.eval()
        return self

    def encode_pixels(self, pixels: torch.Tensor) -> ImageFeatures:
        """The first stage's; the second needs the pictures, see :meth:`encode`."""
        return self._first_network().encode_pixels(pixels)

    def decode_batch(self, features: ImageFeatures, batch: PromptBatch, *, candidates: bool = False) -> DecoderOutput:
        """The first stage's; the second needs the pictures, see :meth:`decode`."""
        return self._first_network().decode_batch(features, batch, candidates=candidates)

    def _first_network(self) -> PromptableNetwork:
        if not isinstance(self.first, PromptableNetwork):
            raise UsageError(f"the first stage '{self.first.info.name}' is no network that takes tensors")
        return self.first

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes I pictures, each (H, W, 3) uint8 RGB, with the first stage, and keeps them for the second."""
        return replace(self.first.encode(images), pictures=tuple(images), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MatteAnswers:
        """Decodes ``prompts[k]`` on image ``image_index[k]``, then refines each mask.

        With ``look_again`` IS-Net looks again, at windows of a finer scale along uncertain boundaries.

        Returns:
            The refined answers, with the first stage's scores; candidates are refined when they are asked for.

        Raises:
            UsageError: Another model made the features.
            PromptError: As the first stage.
        """
        self.check_owner(features)
        if not features.pictures:
            raise PromptError("features without pictures cannot be refined", hint="use this model's own encode")
        features = replace(features, owner=self.first.info)
        coarse = coarse_answers(self.first, features, prompts, image_index, self.config.choice)
        rows = [
            (features.pictures[image], _working_size(features.geometry[image]), _box_of(given, row))
            for given, image in zip(prompts, image_index, strict=True)
            for row in range(len(given))
        ]

        def refine(row: int, logits: np.ndarray) -> Matte:
            return self.refine(rows[row][0], logits > 0, rows[row][2], look_again=look_again)

        mattes = tuple(refine(row, coarse.logits(row, size)) for row, (_, size, _) in enumerate(rows))
        if not candidates:
            return MatteAnswers(mattes, coarse.scores)
        offered = self.first.decode(features, prompts, image_index, candidates=True)

        def refine_candidate(row: int, number: int) -> Matte:
            return refine(row, offered.candidate(row, number, rows[row][1]))

        return MatteAnswers(mattes, coarse.scores, offered, refine_candidate)

    def describe(self, digest: Callable[[], str], **more: Any) -> ModelInfo:
        """As its first stage, but with alpha and without edges; it looks again itself."""
        first = self.first.info

        def both() -> str:
            """IS-Net's digest has the first stage's weights only where that is a network."""
            own = digest()
            if isinstance(self.first, nn.Module):
                return own
            return hashlib.sha256(f"{first.digest} {own}".encode()).hexdigest()[:16]

        return ModelInfo(
            self.name,
            both,
            first.prompts,
            first.input_side,
            first.candidates,
            alpha=True,
            look_again="itself",
            least_score=first.least_score,
            least_stability=first.least_stability,
        )

    @torch.inference_mode()
    def refine(
        self, image: np.ndarray, mask: np.ndarray, box: np.ndarray | None = None, *, look_again: bool = False
    ) -> Matte:
        """Refines one coarse mask.

        Args:
            image: (H, W, 3) uint8 RGB; above 4096 pixels a side it is worked on reduced, so that memory stays bounded.
            mask: (h, w) bool, at the picture's size or at that of its reduced form.
            box: X0 Y0 X1 Y1 in pixels of the picture; the mask's own when omitted.
            look_again: Whether IS-Net looks again, closer, along uncertain boundaries.

        Returns:
            Alpha at the picture's size; all 0 where there is neither mask nor box. With a box and an empty mask,
            IS-Net has the box alone to go by.

        Raises:
            PromptError: The mask has another size.
        """
        height, width = image.shape[:2]
        small = reduced(image)
        if mask.shape == (height, width):
            mask = reduced(mask.astype(np.uint8) * 255) > 127
        if mask.shape != small.shape[:2]:
            raise PromptError(
                f"expected a coarse mask of {width} x {height} pixels as its picture, found {mask.shape[::-1]}",
                hint="resize the mask to the picture",
            )
        scale = np.array([small.shape[1] / width, small.shape[0] / height] * 2, np.float32)
        place = extent(mask) if box is None else np.asarray(box, np.float32) * scale
        if place is None:
            return Matte(np.zeros((height, width), np.float32))
        alpha = self._refine_reduced(small, mask, place, look_again)
        denied = self._is_denied(mask, alpha)
        if denied:
            alpha = mask.astype(np.float32)
        elif self.config.stretch:
            alpha = stretch(alpha)
        if alpha.shape != (height, width):
            alpha = to_picture(torch.from_numpy(alpha)[None, None], height, width)
        return Matte(alpha, 0.5 if denied else threshold(alpha, self.config.cut))

    def _is_denied(self, mask: np.ndarray, alpha: np.ndarray) -> bool:
        """Whether IS-Net leaves so little of a coarse mask (H, W) bool that the mask is rather believed."""
        guard = self.config.guard
        return guard is not None and bool(mask.any()) and float(np.percentile(alpha[mask], 90)) < guard

    def _refine_reduced(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, look_again: bool) -> np.ndarray:
        """Alpha (H, W) of a picture of bounded size."""
        height, width = mask.shape
        alpha = np.zeros((height, width), np.float32)
        window = whole(height, width)
        if self.config.margin is not None:
            window = surroundings(_hull(box, extent(mask)), self.config.margin, height, width)
        alpha[window.index] = self._look(image, mask, box, window)
        side = int(self.config.image_size / LEAST_GAIN)
        if not look_again or max(window.shape) <= side:
            return alpha
        found = alpha > threshold(alpha, self.config.cut)
        doubt = uncertainty(alpha, found, mask, max(8, round(0.03 * max(window.shape))))
        side = max(side, max(window.shape) // 4)
        fusion = Fusion(alpha, doubt)
        for part in boundary_windows(doubt, side, MOST_WINDOWS):
            fusion.add(part, self._look(image, found, box, part))
        return fusion.finish()

    def _look(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray, window: Window) -> np.ndarray:
        """IS-Net's answer (h, w) for one window."""
        size, smooth = self.config.image_size, self.config.antialias
        height, width = window.shape
        colours = colour_channels(image[window.index], size, antialias=smooth)
        empty = torch.zeros(1, size, size)
        coarse = mask_channel(mask[window.index], size, antialias=smooth) if self.config.mask_channel else empty
        drawn = box_channel(window.move(box), height, width, size) if self.config.box_channel else empty
        channels = torch.cat([colours, coarse, drawn])[None].to(self.device)
        return to_picture(self.network.mask_logits(channels).sigmoid(), height, width)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes ``config.json`` and ``model.safetensors`` with IS-Net; the first stage is named, not copied."""
        config = {**self.config.to_dict(), "base": portable(self.config.base)}
        write_checkpoint(folder, config, self.network.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path, first: PromptableModel | None = None) -> Self:
        """Reads a folder of :meth:`save_pretrained`; weights become float32.

        Args:
            folder: The folder.
            first: The first stage; found by the name in the config when omitted.

        Raises:
            CheckpointError: The folder is missing or damaged, or its first stage is not at hand, takes no prompt or
                is refined itself.
        """
        config, state = read_checkpoint(folder, DisSamConfig)
        if first is None:
            first = _first_stage(config.base, folder)
        network = IsNet(5, config.width, residual=config.residual)
        load_weights(network, state, folder)
        return cls(config, first, network).eval()


def _first_stage(name: str, folder: str | Path) -> PromptableNetwork:
    """The model that a DIS-SAM's folder names as its first stage."""
    first = registry.load(name, beside=folder)
    if first.info.alpha:
        raise CheckpointError(f"the first stage of {folder}, '{name}', is a DIS-SAM itself", hint="name what is below")
    if not first.info.prompts:
        raise CheckpointError(f"the first stage of {folder}, '{name}', takes no prompt", hint="name a model that does")
    return first


def _hull(box: np.ndarray, other: np.ndarray | None) -> np.ndarray:
    if other is None:
        return box
    return np.concatenate([np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])])


def _box_of(given: Prompts, row: int) -> np.ndarray | None:
    return None if given.boxes is None else given.boxes[row]


def _working_size(geometry: Geometry) -> Size:
    """The size that a picture is worked on."""
    scale = min(1.0, LARGEST_SIDE / max(geometry.height, geometry.width))
    return max(1, round(geometry.height * scale)), max(1, round(geometry.width * scale))
