"""SAM's two-way mask decoder, prompt-major. Module names are those of transformers' ``SamMaskDecoder``, so its
weights load as they are; this one imports in no time, decodes any grid and leaves its parts open to VNS-SAM.

Shapes: P prompts, T tokens, C channels, L = g * g image positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.sam.config import MaskDecoderConfig


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises each position on its own."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head attention whose inner width is ``hidden_size / downsample_rate``."""

    def __init__(self, config: MaskDecoderConfig, downsample_rate: int) -> None:
        super().__init__()
        inner = config.hidden_size // downsample_rate
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, inner)
        self.k_proj = nn.Linear(config.hidden_size, inner)
        self.v_proj = nn.Linear(config.hidden_size, inner)
        self.out_proj = nn.Linear(inner, config.hidden_size)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attends from (P, T, C) to (P, S, C)."""
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        split = [x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v)]
        return self.out_proj(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, config: MaskDecoderConfig, *, first: bool) -> None:
        super().__init__()
        size, eps, rate = config.hidden_size, config.layer_norm_eps, config.attention_downsample_rate
        self.first = first
        self.self_attn = Attention(config, 1)
        self.layer_norm1 = nn.LayerNorm(size, eps)
        self.cross_attn_token_to_image = Attention(config, rate)
        self.layer_norm2 = nn.LayerNorm(size, eps)
        self.mlp = _TwoLinear(size, config.mlp_dim)
        self.layer_norm3 = nn.LayerNorm(size, eps)
        self.layer_norm4 = nn.LayerNorm(size, eps)
        self.cross_attn_image_to_token = Attention(config, rate)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, query_pe: torch.Tensor, key_pe: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Updates tokens (P, T, C) and image (P, L, C)."""
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        queries = self.layer_norm1(queries)
        attended = self.cross_attn_token_to_image(queries + query_pe, keys + key_pe, keys)
        queries = self.layer_norm2(queries + attended)
        queries = self.layer_norm3(queries + self.mlp(queries))
        keys = keys + self.cross_attn_image_to_token(keys + key_pe, queries + query_pe, queries)
        return queries, self.layer_norm4(keys)


class TwoWayTransformer(nn.Module):
    """The blocks and a last attention from tokens to image."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.num_hidden_layers))
        self.final_attn_token_to_image = Attention(config, config.attention_downsample_rate)
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
    """From an image embedding and embedded prompts to four masks and their predicted IoU."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        size, masks = config.hidden_size, config.num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, size)
        self.mask_tokens = nn.Embedding(masks, size)
        self.transformer = TwoWayTransformer(config)
        self.upscale_conv1 = nn.ConvTranspose2d(size, size // 4, 2, 2)
        self.upscale_layer_norm = LayerNorm2d(size // 4)
        self.upscale_conv2 = nn.ConvTranspose2d(size // 4, size // 8, 2, 2)
        self.output_hypernetworks_mlps = nn.ModuleList(FeedForward(size, size, size // 8) for _ in range(masks))
        self.iou_prediction_head = FeedForward(size, config.iou_head_hidden_dim, masks)

    def forward(
        self, embeddings: torch.Tensor, image_pe: torch.Tensor, sparse: torch.Tensor, dense: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decodes P prompts.

        Args:
            embeddings: (P, C, g, g') image embedding, one row for each prompt.
            image_pe: (1, C, g, g') positional encoding of the grid.
            sparse: (P, N, C) embedded points and boxes.
            dense: (P, C, g, g') embedded mask prompt.

        Returns:
            Mask logits (P, 4, 4g, 4g') - the first is SAM's single-mask output - and predicted IoU (P, 4).
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        keys = (embeddings + dense).flatten(2).transpose(1, 2)
        tokens, keys = self.transformer(tokens, keys, image_pe.flatten(2).transpose(1, 2))
        upscaled = self.upscale(keys.transpose(1, 2).unflatten(2, embeddings.shape[-2:]))
        return self.read_masks(tokens, upscaled), self.iou_prediction_head(tokens[:, 0])

    def upscale(self, image: torch.Tensor) -> torch.Tensor:
        """Upscales the attended image (P, C, g, g') to (P, C / 8, 4g, 4g')."""
        hidden = F.gelu(self.upscale_layer_norm(self.upscale_conv1(image)))
        return F.gelu(self.upscale_conv2(hidden))

    def read_masks(self, tokens: torch.Tensor, upscaled: torch.Tensor) -> torch.Tensor:
        """Dot products of the mask tokens' hyper-MLPs with the upscaled image: (P, 4, 4g, 4g')."""
        hyper = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return torch.einsum("pmc,pchw->pmhw", hyper, upscaled)


class _TwoLinear(nn.Module):
    def __init__(self, size: int, hidden_size: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(size, hidden_size)
        self.lin2 = nn.Linear(hidden_size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin2(F.relu(self.lin1(x)))
