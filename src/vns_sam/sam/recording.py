"""Whether a network runs, or the graph of its work is being recorded."""

from __future__ import annotations

import torch


def being_recorded() -> bool:
    """Whether the work is traced, exported or compiled. A graph wants few large operators and no choice by size."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
