"""transformers' ``AutoConfig`` and ``AutoModel`` for the models of this package."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vns_sam.inference.load import load_network
from vns_sam.sam.registry import MODELS

if TYPE_CHECKING:
    from vns_sam.sam.promptable import PromptableNetwork

KINDS = tuple(kind for kind in MODELS if "-" in kind)
"""Every ``model_type`` that is ours alone: those without a hyphen are transformers' own."""


def register_auto_classes() -> None:
    """Makes ``AutoModel.from_pretrained(folder or hub id)`` give a model of this package, where it holds one.

    The model is what :func:`vns_sam.load_model` loads: it takes pictures and :class:`vns_sam.types.Prompts`, and is no
    ``PreTrainedModel``. ``AutoConfig.from_pretrained`` gives its ``config.json``. Calling it again changes nothing.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers import AutoConfig, AutoModel, PretrainedConfig

    for kind in KINDS:
        name = "".join(part.capitalize() for part in kind.split("-"))
        config: Any = type(f"{name}AutoConfig", (PretrainedConfig,), {"model_type": kind})
        loader = type(f"{name}Loader", (_Loader,), {"config_class": config})
        AutoConfig.register(kind, config, exist_ok=True)
        AutoModel.register(config, loader, exist_ok=True)


class _Loader:
    """What ``AutoModel`` asks for a model; the options of its own way of loading do not apply."""

    config_class: type

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *_: Any, **__: Any) -> PromptableNetwork:
        return load_network(name)
