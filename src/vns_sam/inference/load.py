"""From a name to a model: bundled, a folder, a file of Meta's, SAM's own sizes, or the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import torch

from vns_sam.dis import official
from vns_sam.dis.config import MODEL_TYPE as DIS_SAM
from vns_sam.dis.config import DisSamConfig
from vns_sam.dis.model import DisSamModel
from vns_sam.errors import CheckpointError, UsageError
from vns_sam.hq import published
from vns_sam.hq.model import HqSamModel
from vns_sam.sam import zoo
from vns_sam.sam.checkpoints import CONFIG, WEIGHTS, read_config
from vns_sam.sam.meta import build_meta, read_tensors
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import PromptableModel
from vns_sam.ws.config import MODEL_TYPE as WS_SAM
from vns_sam.ws.model import WsSamModel

HUB = {**zoo.HUB, **published.HUB}
"""Models on the Hugging Face hub that have a name of their own: SAM and HQ-SAM."""


def load_model(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> PromptableNetwork:
    """Loads a promptable model, ready to predict.

    Args:
        name: "vns-sam-tiny", "sam-tiny", "dis-sam-tiny" or "ws-sam-tiny" (bundled), "vit_b", "vit_l" or "vit_h"
            (SAM), "hq_vit_b", "hq_vit_l" or "hq_vit_h" (HQ-SAM), a folder written by ``save_pretrained`` or by
            transformers, a ``.pth`` file of SAM's, HQ-SAM's or DIS-SAM's authors, or a hub id such as
            "facebook/sam-vit-base". With a "+" between two names the second, a DIS-SAM, refines the masks of the
            first, see :func:`refine_with`.
        device: Where to put it: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        UsageError: The name is none of these, or the device is not there.
        CheckpointError: The weights are missing, damaged or of another architecture, or cannot be downloaded.
    """
    place = check_device(device)
    check_model_name(name)
    first, second = _stages(name)
    model = _load(first).to(place).eval()
    return refine_with(model, second) if second else model


def load_segmenter(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> PromptableNetwork:
    """Like :func:`load_model`, for a model that takes no prompt.

    Raises:
        UsageError: It does take prompts.
    """
    model = load_model(name, device)
    if model.info.prompts:
        raise UsageError(f"expected a WS-SAM, '{name}' takes prompts", hint="a folder of vns-sam train")
    return model


def check_model_name(name: str | os.PathLike[str]) -> None:
    """Judges a name without loading anything.

    Raises:
        UsageError: It names no model; the nearest names are given.
    """
    text, second = _stages(name)
    if second:
        check_model_name(second)
    is_path = Path(text).exists()
    is_hub_id = text.count("/") == 1 and not text.startswith((".", "/", "~")) and all(text.split("/"))
    named = (*zoo.BUNDLED_MODELS, *HUB)
    if text in named or is_path or is_hub_id:
        return
    if "/" in text or text.endswith((".pth", ".safetensors")):
        raise CheckpointError(f"no model at {text}", hint="give an existing folder or file")
    known = ", ".join(get_close_matches(text, named, 2, 0.4) or named)
    raise UsageError(f"unknown model '{text}'", hint=f"{known}, a folder or a hub id; see: vns-sam models list")


def _stages(name: str | os.PathLike[str]) -> tuple[str, str]:
    """A name as that of the first stage and of what refines its masks, which is empty for most."""
    text = os.fspath(name)
    first, plus, second = text.partition("+")
    return (first, second) if plus and first and second and not Path(text).exists() else (text, "")


def model_type(name: str | os.PathLike[str]) -> str | None:
    """The ``model_type`` of a bundled model or a folder; None for everything else, which is not opened.

    Raises:
        CheckpointError: The folder holds no readable ``config.json``.
    """
    folder = zoo.place(name)
    return str(read_config(folder)["model_type"]) if folder.is_dir() else None


def takes_prompts(name: str | os.PathLike[str]) -> bool:
    """Whether a model is asked about objects, as all are but WS-SAM's segmenter, which is known by its folder."""
    return model_type(name) != WS_SAM


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
    if name in zoo.BUNDLED_MODELS:
        if not (bundled / CONFIG).is_file():
            raise CheckpointError(f"the bundled model '{name}' is missing", hint="reinstall vns-sam")
        return _from_folder(bundled, name)
    path = Path(name)
    if path.is_dir():
        return _from_folder(path, name)
    if path.is_file():
        return _from_file(path)
    weights = HUB.get(name)
    return _from_folder(zoo.download(name, weights), weights.repo if weights else name)


def _from_folder(folder: Path, origin: str) -> PromptableNetwork:
    """The model of a folder, which came from ``origin``: a path or a hub id."""
    kind = read_config(folder)["model_type"]
    if kind == "vns-sam":
        from vns_sam.vns.model import VnsSamModel

        return VnsSamModel.from_pretrained(folder)
    if kind == "hq-sam":
        return HqSamModel.from_pretrained(folder)
    if kind == DIS_SAM:
        return DisSamModel.from_pretrained(folder, _first_stage(folder))
    if kind == WS_SAM:
        return WsSamModel.from_pretrained(folder)
    if kind == "sam_hq":
        return published.load_hf(folder, origin)
    if kind == "sam":
        return zoo.load_sam(folder)
    known = "'sam', 'vns-sam', 'hq-sam', 'dis-sam' or 'ws-sam'"
    raise CheckpointError(f"{folder} holds a '{kind}' model, expected {known}")


def _first_stage(folder: Path) -> PromptableNetwork:
    """The model that a DIS-SAM's folder names as its first stage."""
    base = DisSamConfig.from_dict(read_config(folder)).base
    check_model_name(base)
    first = _load(base)
    if first.info.alpha:
        raise CheckpointError(f"the first stage of {folder}, '{base}', is a DIS-SAM itself", hint="name what is below")
    if not first.info.prompts:
        raise CheckpointError(f"the first stage of {folder}, '{base}', takes no prompt", hint="name a model that does")
    return first


def refine_with(
    first: PromptableModel, name: str | os.PathLike[str], device: str | torch.device | None = None
) -> DisSamModel:
    """Puts a DIS-SAM's second stage after a model.

    Args:
        first: Any model that takes prompts and does not refine its masks itself.
        name: A DIS-SAM as :func:`load_model` takes it; its own first stage is not loaded. Or a file of IS-Net's
            authors, which knows no prompt.
        device: Where to put the second stage; beside the first by default, or on the CPU where that has no device.

    Raises:
        UsageError: The name is no model's, or ``first`` is refined already.
        CheckpointError: The weights are missing, damaged or no DIS-SAM's.
    """
    check_model_name(name)
    if first.info.alpha:
        raise UsageError(f"'{first.info.name}' refines its masks itself", hint="name a model that does not")
    if not first.info.prompts:
        raise UsageError(f"'{first.info.name}' takes no prompt, and refining needs one", hint="leave --refine out")
    if name in HUB:
        raise UsageError(f"expected a DIS-SAM to refine with, '{name}' is none", hint="a folder or file of one")
    path = zoo.place(name)
    if path.is_file():
        network = official.load_isnet(read_tensors(path), path, inflate=True)
        refiner = DisSamModel(DisSamConfig(first.info.name, path.stem), first, network)
    else:
        folder = path if path.is_dir() else zoo.download(os.fspath(name))
        refiner = DisSamModel.from_pretrained(folder, first)
    place = check_device(device) if device is not None else getattr(first, "device", "cpu")
    refined = refiner.with_first(first)
    refined.network.to(place)
    return refined.eval()


def _from_file(path: Path) -> PromptableNetwork:
    tensors = read_tensors(path)
    if official.holds_isnet(tensors):
        network = official.load_isnet(tensors, path, inflate=True)
        return DisSamModel(DisSamConfig(official.FIRST_STAGE), _load(official.FIRST_STAGE), network)
    return published.load_authors(tensors, path) if published.holds_hq(tensors) else build_meta(tensors, path)[0]


def catalog() -> Iterator[zoo.CatalogRow]:
    """All models that have a name, the bundled ones first."""
    for name in zoo.BUNDLED_MODELS:
        path = zoo.BUNDLED / name / WEIGHTS
        if path.is_file() and name != zoo.BUNDLED_SAM:
            yield zoo.CatalogRow(name, zoo.count_parameters(path), path.stat().st_size / 2**20, "bundled", True)
    yield from zoo.catalog()
    yield from zoo.hub_rows(published.HUB)
