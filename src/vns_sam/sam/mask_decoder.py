"""SAM's two-way mask decoder, prompt-major. Module names are those of transformers' ``SamMaskDecoder``, so its
weights load as they are; this one imports in no time, decodes any grid and leaves its parts open to VNS-SAM.

Shapes: P prompts, T tokens, C channels, L = g * g image positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import DataError
from vns_sam.sam.attention import Attention
from vns_sam.sam.config import MaskDecoderConfig


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises each position on its own."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, config: MaskDecoderConfig, *, first: bool) -> None:
        super().__init__()
        size, eps, rate = config.hidden_size, config.layer_norm_eps, config.attention_downsample_rate
        self.first = first
        self.self_attn = Attention(config, 1)
        self.layer_norm1 = nn.LayerNorm(size, eps)
        self.cross_attn_token_to_image = Attention(config, rate, "key")
        self.layer_norm2 = nn.LayerNorm(size, eps)
        self.mlp = _TwoLinear(size, config.mlp_dim)
        self.layer_norm3 = nn.LayerNorm(size, eps)
        self.layer_norm4 = nn.LayerNorm(size, eps)
        self.cross_attn_image_to_token = Attention(config, rate, "query")

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, query_pe: torch.Tensor, key_pe: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Updates tokens (P, T, C) and image (P, L, C), or (1, L, C) where it is still the same for all prompts."""
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        queries = self.layer_norm1(queries)
        located = keys + key_pe
        attended = self.cross_attn_token_to_image(queries + query_pe, located, keys)
        queries = self.layer_norm2(queries + attended)
        queries = self.layer_norm3(queries + self.mlp(queries))
        keys = keys + self.cross_attn_image_to_token(located, queries + query_pe, queries)
        return queries, self.layer_norm4(keys)


class TwoWayTransformer(nn.Module):
    """The blocks and a last attention from tokens to image."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.num_hidden_layers))
        self.final_attn_token_to_image = Attention(config, config.attention_downsample_rate, "key")
        self.layer_norm_final_attn = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(
        self, tokens: torch.Tensor, keys: torch.Tensor, key_pe: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs tokens (P, T, C) against the image (P, L, C)."""
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_pe)
        attended = self.final_attn_token_to_image(queries + tokens, keys + key_pe, keys)
        return self.layer_norm_final_attn(queries + attended), keys


class CellUpscale(nn.ConvTranspose2d):
    """A transposed convolution of 2 x 2 and stride 2 on rows of cells, where it is one product of matrices."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, 2)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Maps (..., n, in) to (..., n * 4, out): each cell to its four pixels, row by row."""
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        bias = None if self.bias is None else self.bias.repeat(4)
        return F.linear(cells, weight, bias).unflatten(-1, (4, -1)).flatten(-3, -2)


@dataclass(frozen=True)
class Upscaled:
    """The image of P prompts, four times as large as the grid g x g', in m channels.

    Attributes:
        cells: (P, g * g' * 16, m): of each cell four pixels, row by row, and of each of these four again.
        grid: g and g'.
    """

    cells: torch.Tensor
    grid: tuple[int, int]

    def as_maps(self) -> torch.Tensor:
        """(P, m, 4g, 4g')."""
        return self._arranged(self.cells).permute(0, 3, 1, 2)

    def read(self, vectors: torch.Tensor) -> torch.Tensor:
        """Dot products of each pixel with vectors (P, M, m): (P, M, 4g, 4g')."""
        return self._arranged(self.cells @ vectors.mT).permute(0, 3, 1, 2)

    def _arranged(self, cells: torch.Tensor) -> torch.Tensor:
        height, width = self.grid
        parts = cells.unflatten(1, (height, width, 2, 2, 2, 2)).permute(0, 1, 3, 5, 2, 4, 6, 7)
        return parts.reshape(cells.shape[0], 4 * height, 4 * width, -1)


def rows_of(images: torch.Tensor, image_index: torch.Tensor) -> torch.Tensor:
    """The rows (P, ...) of tensors (I, ...) by image; a single one stays (1, ...), which all prompts share."""
    return images if images.shape[0] == 1 else images[image_index]


class FeedForward(nn.Module):
    """SAM's MLP head: linear layers with ReLU between, three of them unless told otherwise."""

    def __init__(self, in_size: int, hidden_size: int, out_size: int, *, layers: int = 3) -> None:
        super().__init__()
        self.proj_in = nn.Linear(in_size, hidden_size)
        self.layers = nn.ModuleList(nn.Linear(hidden_size, hidden_size) for _ in range(layers - 2))
        self.proj_out = nn.Linear(hidden_size, out_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (..., in_size) to (..., out_size)."""
        x = F.relu(self.proj_in(x))
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.proj_out(x)


class SamMaskDecoder(nn.Module):
    """From an image embedding and embedded prompts to four masks and their predicted IoU.

    SAM 2's decoder is this one with a token more before the others, two finer maps of the encoder that are added to
    the upscaled image, and scores that are squeezed into 0 .. 1.

    Attributes:
        iou_index: Place of the IoU token; the mask tokens follow it.
        obj_score_token, pred_obj_score_head: SAM 2's, None in a SAM.
    """

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        size, masks = config.hidden_size, config.num_multimask_outputs + 1
        self.iou_index = int(config.object_token)
        self.iou_token = nn.Embedding(1, size)
        self.mask_tokens = nn.Embedding(masks, size)
        self.transformer = TwoWayTransformer(config)
        self.upscale_conv1 = CellUpscale(size, size // 4)
        self.upscale_layer_norm = nn.LayerNorm(size // 4, eps=1e-6)
        self.upscale_conv2 = CellUpscale(size // 4, size // 8)
        self.output_hypernetworks_mlps = nn.ModuleList(FeedForward(size, size, size // 8) for _ in range(masks))
        self.iou_prediction_head = FeedForward(size, config.iou_head_hidden_dim, masks)
        self.obj_score_token = nn.Embedding(1, size) if config.object_token else None
        self.pred_obj_score_head = FeedForward(size, size, 1) if config.object_token else None

    def forward(
        self,
        embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        finer: Sequence[torch.Tensor] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decodes P prompts.

        Args:
            embeddings: (P, C, g, g') image embedding, one row for each prompt, or (1, C, g, g') for all.
            image_pe: (1, C, g, g') positional encoding of the grid.
            sparse: (P, N, C) embedded points and boxes.
            dense: (P, C, g, g') embedded mask prompt, or (1, C, g, g') for all.
            finer: What the encoder of a SAM 2 gives beside the embedding, with as many rows, see :meth:`upscale`.

        Returns:
            Mask logits (P, 4, 4g, 4g') - the first is SAM's single-mask output - and predicted IoU (P, 4).
        """
        tokens = torch.cat([self.own_tokens().expand(sparse.shape[0], -1, -1), sparse], dim=1)
        keys = as_rows(embeddings + dense)
        tokens, keys = self.transformer(tokens, keys, as_rows(image_pe))
        upscaled = self.upscale(keys, (embeddings.shape[2], embeddings.shape[3]), finer)
        return self.read_masks(tokens, upscaled), self.read_scores(tokens)

    def own_tokens(self) -> torch.Tensor:
        """The tokens before the prompt's, (1 or 2 + 4, C): SAM 2's of the object, the IoU's, the masks'."""
        first = [] if self.obj_score_token is None else [self.obj_score_token.weight]
        return torch.cat([*first, self.iou_token.weight, self.mask_tokens.weight])

    def upscale(self, keys: torch.Tensor, grid: tuple[int, int], finer: Sequence[torch.Tensor] = ()) -> Upscaled:
        """Upscales the attended image (P, g * g', C) to four times its size in C / 8 channels.

        Finer maps of a SAM 2, (P, C / 8, 4g, 4g') and (P, C / 4, 2g, 2g'), or (1, ...) for all, are added on the way.

        Raises:
            DataError: A SAM 2 is given none, or a SAM some.
        """
        if self.config.finer_maps != bool(finer):
            wanted, found = ("two", "none") if self.config.finer_maps else ("none", str(len(finer)))
            raise DataError(f"expected {wanted} of the encoder's finer maps, got {found}", hint="pass features.finer")
        middle = self.upscale_conv1(keys)
        if finer:
            middle = middle + as_cells(finer[1], grid)
        fine = self.upscale_conv2(F.gelu(self.upscale_layer_norm(middle)))
        if finer:
            fine = fine + as_cells(finer[0], grid)
        return Upscaled(F.gelu(fine), grid)

    def read_scores(self, tokens: torch.Tensor) -> torch.Tensor:
        """Predicted IoU (P, 4) from all tokens after the transformer."""
        scores: torch.Tensor = self.iou_prediction_head(tokens[:, self.iou_index])
        return scores.sigmoid() if self.config.sigmoid_scores else scores

    def choose(self, masks: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The single mask (P, 1, 4g, 4g') of four and its score (P,): the first, or where a SAM 2 finds that unstable
        the best of the others (Ravi et al. 2024, appendix D).
        """
        first, best = masks[:, :1], scores[:, 0]
        if not self.config.stability:
            return first, best
        delta = self.config.stability_delta
        surely, maybe = ((first > level).flatten(1).sum(1).float() for level in (delta, -delta))
        stable = torch.where(maybe > 0, surely / maybe, 1.0) >= self.config.stability
        rows, other = torch.arange(masks.shape[0], device=masks.device), 1 + scores[:, 1:].argmax(1)
        mask = torch.where(stable[:, None, None, None], first, masks[rows, other][:, None])
        return mask, torch.where(stable, best, scores[rows, other])

    def read_masks(self, tokens: torch.Tensor, upscaled: Upscaled) -> torch.Tensor:
        """Dot products of the mask tokens' hyper-MLPs with the upscaled image: (P, 4, 4g, 4g')."""
        start = self.iou_index + 1
        hyper = torch.stack([mlp(tokens[:, start + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return upscaled.read(hyper)


def as_rows(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, C, g, g') as rows of positions (B, g * g', C)."""
    return maps.flatten(2).transpose(1, 2)


def as_maps(rows: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Inverse of :func:`as_rows`."""
    return rows.transpose(1, 2).unflatten(2, grid)


def as_cells(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Maps (B, C, s * g, s * g'), s 2 or 4, in the order of :class:`Upscaled`: (B, g * g' * s * s, C)."""
    (height, width), halves = grid, (2,) if maps.shape[2] == 2 * grid[0] else (2, 2)
    steps = len(halves)
    parts = maps.unflatten(3, (width, *halves)).unflatten(2, (height, *halves))
    nested = [2 + side * (steps + 1) + step for step in range(steps + 1) for side in (0, 1)]
    return parts.permute(0, *nested, 1).flatten(1, -2)


class _TwoLinear(nn.Module):
    def __init__(self, size: int, hidden_size: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(size, hidden_size)
        self.lin2 = nn.Linear(hidden_size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin2(F.relu(self.lin1(x)))
