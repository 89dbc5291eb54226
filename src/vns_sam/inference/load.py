"""From a name to a model: bundled, a folder, a file of Meta's, SAM's own sizes, or the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam import zoo
from vns_sam.sam.checkpoints import CONFIG, WEIGHTS, read_config
from vns_sam.sam.promptable import PromptableNetwork

BUNDLED = ("vns-sam-tiny", "sam-tiny")
"""Models inside the package, the default first; they need no network."""


def load_model(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> PromptableNetwork:
    """Loads a promptable model, ready to predict.

    Args:
        name: "vns-sam-tiny" or "sam-tiny" (bundled), "vit_b", "vit_l" or "vit_h" (SAM), a folder written by
            ``save_pretrained``, a ``.pth`` file of Meta's, or a hub id such as "facebook/sam-vit-base".
        device: Where to put it: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UsageError: The name is none of these, or the device is not there.
        CheckpointError: The weights are missing, damaged or of another architecture, or cannot be downloaded.
    """
    place = check_device(device)
    check_model_name(name)
    return _load(os.fspath(name)).to(place).eval()


def check_model_name(name: str | os.PathLike[str]) -> None:
    """Judges a name without loading anything.

    Raises:
        UsageError: It names no model; the nearest names are given.
    """
    text = os.fspath(name)
    is_path = Path(text).exists()
    is_hub_id = text.count("/") == 1 and not text.startswith((".", "/", "~")) and all(text.split("/"))
    if text in (*BUNDLED, *zoo.HUB) or is_path or is_hub_id:
        return
    if "/" in text or text.endswith((".pth", ".safetensors")):
        raise CheckpointError(f"no model at {text}", hint="give an existing folder or file")
    near = get_close_matches(text, (*BUNDLED, *zoo.HUB), 2, 0.4)
    known = ", ".join(near or (*BUNDLED, *zoo.HUB))
    raise UsageError(f"unknown model '{text}'", hint=f"{known}, a folder or a hub id; see: vns-sam models list")


def check_device(device: str | torch.device) -> torch.device:
    """Turns a name into a device that is there.

    Raises:
        UsageError: It is no device, or this machine has none of its kind.
    """
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError):
        hint = "cpu" if not torch.cuda.is_available() else "cpu or cuda"
        raise UsageError(f"device '{device}' is not available on this machine", hint=hint) from None
    return place


def _load(name: str) -> PromptableNetwork:
    bundled = zoo.BUNDLED / name
    if name in BUNDLED:
        if not (bundled / CONFIG).is_file():
            raise CheckpointError(f"the bundled model '{name}' is missing", hint="reinstall vns-sam")
        return _from_folder(bundled)
    if Path(name).is_dir():
        return _from_folder(Path(name))
    if name in zoo.HUB or Path(name).is_file():
        return zoo.load_sam(name)
    return _from_folder(zoo.download(name, name))


def _from_folder(folder: Path) -> PromptableNetwork:
    kind = read_config(folder)["model_type"]
    if kind == "vns-sam":
        from vns_sam.vns.model import VnsSamModel

        return VnsSamModel.from_pretrained(folder)
    if kind == "sam":
        return zoo.load_sam(folder)
    raise CheckpointError(f"{folder} holds a '{kind}' model, expected 'sam' or 'vns-sam'")


def catalog() -> Iterator[zoo.CatalogRow]:
    """All models that have a name, the bundled ones first."""
    default = BUNDLED[0]
    path = zoo.BUNDLED / default / WEIGHTS
    if path.is_file():
        size = path.stat().st_size / 2**20
        yield zoo.CatalogRow(default, zoo.count_parameters(path), size, "bundled", True)
    yield from zoo.catalog()
