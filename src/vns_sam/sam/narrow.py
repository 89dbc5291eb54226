"""Modules in half precision on a CPU that has no instructions for it: computed in float32, which is several times as
fast as taking such numbers one by one.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import nn

from vns_sam.sam.recording import being_recorded


def call(module: nn.Module, x: torch.Tensor, *helpers: nn.Module) -> tuple[Any, ...]:
    """Calls a module with a tensor and with modules that help it.

    Args:
        module: Gives tensors and tuples of tensors. Its weights and the helpers' have the dtype of ``x``.
        x: Any shape. Where its device would only emulate its dtype and no gradients are wanted, the work is done in
            float32 by copies of the modules, which live as long as the call.
        helpers: What ``module`` takes after ``x``.

    Returns:
        What the module gives, in the dtype of ``x``.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu" or has_instructions(x.dtype) or being_recorded():
        return module(x, *helpers)
    wide, *others = (copy.deepcopy(part).float() for part in (module, *helpers))
    return _cast(wide(x.float(), *others), x.dtype)


@cache
def has_instructions(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies numbers of a dtype itself. AVX-512 alone does not: oneDNN takes bfloat16 there, and
    widens it at every product.
    """
    if dtype not in {torch.bfloat16, torch.float16}:
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    emulated = torch.cpu._is_avx512_supported() and not torch.cpu._is_avx512_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not emulated


def _cast(given: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return tuple(x.to(dtype) if isinstance(x, torch.Tensor) else _cast(x, dtype) for x in given)
