"""What is exported: functions of tensors alone, without branches on what a caller gave.

Shapes: I images, P prompts, N points of a prompt (corners of a box included), C channels, S x S' input, g x g' grid, M
candidates.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from vns_sam.dis.isnet import IsNet
from vns_sam.inference.onnx.promptable import LEFT_TOP, NOT_A_POINT, RIGHT_BOTTOM
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.encoders.lite import PromptMixer
from vns_sam.sam.prompt_encoder import MASK_LOGIT, SamPromptEncoder
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import ImageFeatures


class EncoderGraph(nn.Module):
    """Pixels (I, 3, S, S'), RGB 0..255 fitted into the input and padded with the mean, to what decoding needs."""

    def __init__(self, model: SamBasedNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The embedding (I, C, g, g'), then what a method mined, then a SAM 2's finer maps."""
        features = self.model.encode_pixels(self.model.preprocessing.normalise(pixels))
        return (features.embedding, *features.mined, *features.finer)


class DecoderGraph(nn.Module):
    """P prompts of any kind on one image, as a function of arrays that are always there.

    Args:
        model: Who decodes.
        mined: How many maps of the encoder are mined; the others are a SAM 2's finer ones.
    """

    def __init__(self, model: SamBasedNetwork, mined: int) -> None:
        super().__init__()
        self.model, self.mined = model, mined

    def forward(
        self,
        embedding: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        masks: torch.Tensor,
        has_mask: torch.Tensor,
        *maps: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Decodes.

        Args:
            embedding: (1, C, g, g').
            points: (P, N, 2) XY in input pixels: clicks, then a box's corners.
            labels: (P, N) long: 1 object, 0 background, 2 and 3 the corners, -1 not a point, which closes a row
                without a box.
            masks: (P, 1, 4g, 4g') in [0, 1], anything where there is none.
            has_mask: (P,) 1 where a coarse mask is given, else 0.
            maps: The encoder's other outputs.

        Returns:
            Logits of the mask (P, 1, 4g, 4g'), its predicted IoU (P,), logits of the candidates (P, M, 4g, 4g'), their
            predicted IoU (P, M), and the edge's logits (P, 1, 4g, 4g') of a model that has an edge head.
        """
        features = ImageFeatures(embedding, (), (), mined=maps[: self.mined], finer=maps[self.mined :])
        sam = self.model.foundation
        sparse, dense = embed(sam.prompt_encoder, points, labels, masks, has_mask)
        if sam.prompt_mixer is not None:
            dense = dense + mix(sam.prompt_mixer, embedding, points, labels, masks, has_mask)
        index = torch.zeros_like(labels.sum(1))
        found = self.model.decode_embedded(features, sparse, dense, index, candidates=True)
        given = (found.mask_logits, found.scores, found.candidate_logits, found.candidate_scores, found.edge_logits)
        return tuple(answer for answer in given if answer is not None)


def embed(
    encoder: SamPromptEncoder,
    points: torch.Tensor,
    labels: torch.Tensor,
    masks: torch.Tensor,
    has_mask: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """SAM's prompt encoder: sparse (P, N, C) and dense (P, C, g, g'); see :class:`DecoderGraph` for what is given."""
    sides = [masks.shape[at] // 4 * encoder.stride for at in (-1, -2)]
    kinds = torch.cat([*(part.get_parameter("weight") for part in [*encoder.point_embed, encoder.not_a_point_embed])])
    places = torch.stack([(points[..., at] + 0.5) / side for at, side in enumerate(sides)], dim=-1)
    placed = encoder.shared_embedding(places) * (labels >= 0)[..., None]
    values = 255.0 * masks if encoder.mask_prompt == "grey" else MASK_LOGIT * (2 * masks - 1)
    given = has_mask[:, None, None, None]
    dense = encoder.mask_embed(values) * given + encoder.no_mask_embed.weight[:, :, None, None] * (1 - given)
    return placed + kinds[torch.where(labels < 0, 4, labels)], dense


def mix(
    mixer: PromptMixer,
    embedding: torch.Tensor,
    points: torch.Tensor,
    labels: torch.Tensor,
    masks: torch.Tensor,
    has_mask: torch.Tensor,
) -> torch.Tensor:
    """The tiny model's drawn prompts as a dense prompt (P, C, g, g'), see :class:`PromptMixer`."""
    x, y = (torch.arange(masks.shape[at]) * 4.0 + 1.5 for at in (-1, -2))
    coarse = (2 * masks - 1) * has_mask[:, None, None, None]
    canvas = torch.cat([_draw_box(points, labels, x, y), _draw_clicks(points, labels, x, y), coarse], dim=1)
    return mixer.blocks(embedding + mixer.embed(canvas)) - embedding


def _draw_box(points: torch.Tensor, labels: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A filled box and a bump at its centre, (P, 2, 4g, 4g'), zeros where there is none; x (4g',) and y (4g,) are the
    middles of the cells.
    """
    x, y = x[None, None, :], y[None, :, None]
    first, last = ((labels == kind).float() for kind in (LEFT_TOP, RIGHT_BOTTOM))
    x0, y0 = ((points[..., at] * first).sum(1)[:, None, None] for at in (0, 1))
    x1, y1 = ((points[..., at] * last).sum(1)[:, None, None] for at in (0, 1))
    inside = torch.minimum(torch.minimum(x - x0, x1 - x), torch.minimum(y - y0, y1 - y))
    across = (x - (x0 + x1) / 2) / (x1 - x0 + 1)
    down = (y - (y0 + y1) / 2) / (y1 - y0 + 1)
    drawn = torch.stack([(inside / 4 + 0.5).clamp(0, 1), torch.exp(-8 * (across**2 + down**2))], dim=1)
    return drawn * first.sum(1)[:, None, None, None]


def _draw_clicks(points: torch.Tensor, labels: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A spot and a halo at object clicks, then at those on the background: (P, 4, 4g, 4g')."""
    nobody = torch.zeros_like(points.sum(1, keepdim=True))
    points = torch.cat([points, nobody], dim=1)  # so that there is a nearest one also where nothing was clicked
    labels = torch.cat([labels, torch.full_like(nobody[..., 0], NOT_A_POINT).long()], dim=1)
    across, down = (x - points[..., :1]) ** 2, (y - points[..., 1:]) ** 2
    side = torch.maximum(x[-1], y[-1]) + 2.5
    squared = (down[..., :, None] + across[..., None, :]) / side**2
    drawn = []
    for label in (1, 0):  # object, background
        far = torch.where((labels == label)[..., None, None], squared, 1e6).amin(1)
        drawn += [torch.exp(-far / (2 * width**2)) for width in (PromptMixer.SPOT, PromptMixer.HALO)]
    return torch.stack(drawn, dim=1)


class RefinerGraph(nn.Module):
    """IS-Net: channels (B, 5, S, S), see :mod:`vns_sam.dis.channels`, to alpha (B, 1, S, S) in [0, 1]."""

    def __init__(self, network: IsNet) -> None:
        super().__init__()
        self.model = network

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """Alpha of the finest side output, (B, 1, S, S)."""
        return self.model.mask_logits(channels).sigmoid()


class SegmenterGraph(nn.Module):
    """WS-SAM's segmenter: pixels (I, 3, S, S), RGB 0..255 squashed to the square, to logits (I, 1, S, S)."""

    def __init__(self, model: PromptableNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The finest map's logits."""
        return cast(torch.Tensor, self.model.encode_pixels(self.model.preprocessing.normalise(pixels)).embedding)
