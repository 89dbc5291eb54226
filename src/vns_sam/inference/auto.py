"""transformers' ``AutoConfig`` and ``AutoModel`` for the models of this package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vns_sam.errors import UsageError
from vns_sam.inference.load import load_network
from vns_sam.sam.folder import read_config
from vns_sam.sam.hub import local_folder
from vns_sam.sam.registry import MODELS

if TYPE_CHECKING:
    import torch

    from vns_sam.sam.promptable import PromptableNetwork

KINDS = tuple(kind for kind in MODELS if "-" in kind)
"""Every ``model_type`` that is ours alone: those without a hyphen are transformers' own."""

_IDLE = frozenset({"_from_auto", "trust_remote_code", "adapter_kwargs", "low_cpu_mem_usage", "use_safetensors"})
"""Options that change nothing of a model of ours, such as those that ``AutoModel`` adds itself."""
_OF_HUB = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "token"})
"""Options of a download, which change nothing of a folder."""
_INSTEAD = {
    "cache_dir": "HF_HUB_CACHE in the environment",
    "device_map": 'move it afterwards: model.to("cuda")',
    "local_files_only": "HF_HUB_OFFLINE=1 in the environment",
    "token": "hf auth login, or HF_TOKEN in the environment",
}
"""What does the same."""


def register_auto_classes() -> None:
    """Makes ``AutoModel.from_pretrained(folder or hub id)`` give a model of this package, where it holds one.

    The model is what :func:`vns_sam.load_model` loads: it takes pictures and :class:`vns_sam.types.Prompts`, and is no
    ``PreTrainedModel``. Of the options of ``AutoModel.from_pretrained`` it takes ``revision`` and ``dtype``, and
    refuses others that would change what is loaded. ``AutoConfig.from_pretrained`` gives its ``config.json``. Calling
    it again changes nothing.

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
    """What ``AutoModel`` asks for a model."""

    config_class: type

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        config: Any = None,
        revision: str | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        **options: Any,
    ) -> PromptableNetwork:
        """The model of a folder or hub id, all its files of one revision.

        Raises:
            UsageError: An option or a changed configuration asks for something that this way of loading cannot give.
            CheckpointError: As :func:`vns_sam.load_model`.
        """
        known = _IDLE | (_OF_HUB if Path(name).expanduser().exists() else frozenset())
        for option, value in options.items():
            if option not in known and not (value is None or value is False or value == ""):
                hint = _INSTEAD.get(option, "leave it out")
                raise UsageError(f"AutoModel's option '{option}' does not apply to models of vns-sam", hint=hint)
        wanted = _dtype(torch_dtype if dtype is None else dtype)
        folder = local_folder(name, revision).resolve()
        stored = read_config(folder)
        changed = [key for key, value in stored.items() if getattr(config, key, value) != value]
        if changed:
            raise UsageError(
                f"expected the configuration of {folder}, found another '{changed[0]}'", hint="leave it as it is"
            )
        network = load_network(folder)
        return network if wanted is None else network.to(wanted)


def _dtype(value: Any) -> torch.dtype | None:
    """A dtype as transformers takes it; None, and "auto" too, is the one that models are loaded in."""
    import torch

    if value is None or value == "auto":
        return None
    found = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if found not in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        raise UsageError(f"expected dtype float32, float16, bfloat16 or float64, found {value!r}", hint="leave it out")
    return found
