"""Attention whose scores know how far apart two cells of a grid are: a learned vector for each distance along a side
joins the dot product (Li et al. 2022, MViTv2, equation 4).

Shapes: M maps (an image's or a window's head), h x w cells that ask, H x W cells that answer, d channels of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vns_sam.sam.recording import being_recorded

SCORES_AT_ONCE = 2**19
"""Scores that a CPU has in hand at once: 2 MiB in float32, near the size of its second cache."""


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, down: torch.Tensor, across: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attends from cells to the cells of the same grid.

    Args:
        q: (M, h, w, d).
        k: (M, H * W, d) in the order of the grid.
        v: (M, H * W, d).
        down: (h, H, d), what a query is multiplied with for a key so many rows away.
        across: (w, W, d), the same for columns.
        scale: Factor of the dot product of query and key; the positions' is 1.

    Returns:
        (M, h, w, d).
    """
    height, width = q.shape[1:3]
    rows = torch.einsum("mhwd,hkd->mhwk", q, down).flatten(1, 2)
    columns = torch.einsum("mhwd,wkd->mhwk", q, across).flatten(1, 2)
    core = _attend_in_blocks if piecewise(q) else _attend_at_once
    return core(q.flatten(1, 2), k, v, rows, columns, scale).unflatten(1, (height, width))


def piecewise(x: torch.Tensor) -> bool:
    """Whether work on a tensor is done in pieces that stay in caches: on a CPU, unless the graph of the work is being
    recorded, which wants few large operators.
    """
    return x.device.type == "cpu" and not being_recorded()


def distances(table: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """Rows of a table of distances (2 * side - 1, d), for ``count`` cells from ``first`` on to each cell of a side:
    (count, side, d).
    """
    side = (table.shape[0] + 1) // 2
    asking = torch.arange(first, first + count, device=table.device)
    answering = torch.arange(side, device=table.device)
    return table[asking[:, None] - answering + side - 1]


def _attend_in_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, scale: float
) -> torch.Tensor:
    """Writes the positions' part (M, h * w, H) + (M, h * w, W) block by block and adds the dot products to it. Half
    precision is widened: there is little to gain in it on a CPU and much to lose in a sum of 4096 weights.
    """
    wide, dtype = torch.promote_types(q.dtype, torch.float32), q.dtype
    q, k, v, rows, columns = (x.to(wide) for x in (q, k.mT, v, rows, columns))
    maps = max(1, SCORES_AT_ONCE // (q.shape[1] * v.shape[1]))
    queries = max(1, SCORES_AT_ONCE // (maps * v.shape[1]))
    attended = []
    for some in zip(*(x.split(maps) for x in (q, k, v, rows, columns)), strict=True):
        q_, k_, v_, rows_, columns_ = some
        blocks = zip(*(x.split(queries, dim=1) for x in (q_, rows_, columns_)), strict=True)
        attended.append(torch.cat([_block(a, k_, v_, b, c, scale) for a, b, c in blocks], dim=1))
    return torch.cat(attended).to(dtype)


def _block(
    q: torch.Tensor, keys: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, scale: float
) -> torch.Tensor:
    scores = (rows[..., None] + columns[..., None, :]).flatten(2)
    return scores.baddbmm_(q, keys, alpha=scale).softmax(-1) @ v


def _attend_at_once(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, scale: float
) -> torch.Tensor:
    """By the device's own kernel, which takes the positions' part as a mask."""
    mask = (rows[..., None] + columns[..., None, :]).flatten(2)
    attended = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask[None], scale=scale)
    return attended[0]
