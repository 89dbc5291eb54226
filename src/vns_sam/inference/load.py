"""From a name to a model: bundled, a folder, a file of Meta's, SAM's own sizes, or the Hugging Face hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from vns_sam.errors import CheckpointError, MissingExtraError, UsageError
from vns_sam.inference.onnx.folder import has_graphs
from vns_sam.inference.onnx.load import open_graphs, refine_with_graph
from vns_sam.inference.onnx.promptable import OnnxPromptable
from vns_sam.sam import registry
from vns_sam.sam.folder import FILES, read_config
from vns_sam.sam.hub import is_hub_id
from vns_sam.sam.unprompted import UNPROMPTED
from vns_sam.types import Backend, PromptableModel

FOLLOWED = 0.15
"""So much is shown around an object, as a share of its longer side, to an IS-Net that knows no box."""

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    import torch

    from vns_sam.sam.promptable import PromptableNetwork


Loaded = TypeVar("Loaded")


def load_model(
    name: str | os.PathLike[str], device: str | torch.device = "cpu", *, backend: Backend = "auto"
) -> PromptableModel:
    """Loads a promptable model, ready to predict.

    Args:
        name: "vns-sam-tiny", "sam-tiny", "dis-sam-tiny" or "ws-sam-tiny" (bundled), "vit_b", "vit_l" or "vit_h"
            (SAM), "mobile-sam", "sam2.1-t", "sam2.1-s", "sam2.1-b+" or "sam2.1-l", "sam3", "hq_vit_b", "hq_vit_l",
            "hq_vit_h", "hq_mobile-sam" or "hq_sam2.1-l" (HQ-SAM), a folder written by ``save_pretrained`` or by
            transformers, a file of the authors of one of these or of DIS-SAM, or a hub id such as
            "facebook/sam-vit-base". With a "+" between two names the second, a DIS-SAM, refines the masks of the
            first, see :func:`refine_with`. An address such as
            "http://127.0.0.1:8000" is a model that a server offers, see :func:`vns_sam.inference.remote.connect`; it
            follows the protocol alone.
        device: Where to put it: "cpu", "cuda", "cuda:1", "mps".
        backend: "onnx" runs the model's graphs on the CPU, without torch; "torch" loads the network; "auto" takes the
            graphs where the model has them and the device is the CPU.

    Raises:
        UsageError: The name is none of these, the device is not there, or the backend does not suit either.
        CheckpointError: The weights are missing, damaged or of another architecture, or cannot be downloaded.
        MissingExtraError: The backend is not installed.
    """
    if backend not in get_args(Backend):
        raise UsageError(f"backend must be auto, onnx or torch, found {backend!r}", hint='backend="auto"')
    check_model_name(name)
    first, second = _stages(name)
    model = _connect(first) if is_address(first) else _load_alone(first, device, backend)
    return refine_with(model, second, device, backend=backend, base=first) if second else model


def _load_alone(name: str, device: str | torch.device, backend: Backend) -> PromptableModel:
    """A model on this machine that nothing refines; what it stands on itself is loaded the same way."""
    if graphs := graphs_of(name, device, backend):
        return open_graphs(graphs, partial(_load_alone, device=device, backend=backend))
    return _network(name, device)


def load_network(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> PromptableNetwork:
    """Like :func:`load_model`, in torch: a model that can be trained, taken apart and exported.

    Raises:
        UsageError: As :func:`load_model`, or it is a model that a server offers.
        CheckpointError: As :func:`load_model`.
    """
    if is_address(os.fspath(name)):
        raise UsageError(f"expected a model on this machine, '{name}' is a server's", hint="a name, folder or file")
    return cast("PromptableNetwork", load_model(name, device, backend="torch"))


def load_segmenter(name: str | os.PathLike[str], device: str | torch.device = "cpu") -> PromptableNetwork:
    """Like :func:`load_network`, for a model that takes no prompt.

    Raises:
        UsageError: It does take prompts.
    """
    model = load_network(name, device)
    if model.info.prompts:
        raise UsageError(f"expected a WS-SAM, '{name}' takes prompts", hint="a folder of vns-sam train")
    return model


def graphs_of(name: str | os.PathLike[str], device: str | torch.device, backend: Backend) -> Path | None:
    """The folder of the graphs as which a model is run; None where it is run as its network.

    Raises:
        UsageError: It was asked for, and the model has none, or the device is not the CPU.
    """
    if backend == "torch":
        return None
    folder = registry.local(name)
    there = folder is not None and has_graphs(folder)
    if backend == "onnx" and not there:
        raise UsageError(f"'{name}' has no graphs", hint=f"vns-sam export {name} --out FOLDER, and name the folder")
    if backend == "onnx" and str(device) not in ("cpu", "auto"):
        raise UsageError(f"graphs run on the CPU, found device '{device}'", hint="--device cpu, or --backend torch")
    on_cpu = backend == "onnx" or str(device) == "cpu" or (str(device) == "auto" and there and _fastest_is_cpu())
    return folder if there and on_cpu else None


def _fastest_is_cpu() -> bool:
    """Whether "auto" is the CPU, as it is where there is no torch that could know another."""
    return not _has_torch() or check_device("auto").type == "cpu"


def on_device(load: Callable[[], Loaded], device: str) -> Callable[[], Loaded]:
    """What loads a model, told where the model shall be where it can be told: it has a method ``on(device)``."""
    told: Callable[[str], Callable[[], Loaded]] | None = getattr(load, "on", None) if device else None
    return load if told is None else told(device)


def to_device(model: object, device: str) -> None:
    """Moves a network in place, if a device is named; what runs elsewhere stays there."""
    move = getattr(model, "to", None) if device else None
    if move is not None:
        move(device)


def need_torch(purpose: str) -> None:
    """Judges whether torch is there, before it is needed.

    Raises:
        MissingExtraError: It is not.
    """
    if not _has_torch():
        raise MissingExtraError("torch", extra="torch", purpose=purpose)


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _network(name: str, device: str | torch.device) -> PromptableNetwork:
    need_torch(f"the model '{name}'")
    return registry.load(name).to(check_device(device)).eval()


def check_model_name(name: str | os.PathLike[str]) -> None:
    """Judges a name without loading anything.

    Raises:
        UsageError: It names no model; the nearest names are given.
    """
    text, second = _stages(name)
    if second:
        check_model_name(second)
    named = registry.names()
    is_file = Path(text).suffix in FILES
    if is_address(text) or text in named or Path(text).exists() or (is_hub_id(text) and not is_file):
        return
    if "/" in text or is_file:
        raise CheckpointError(f"no model at {text}", hint="give an existing folder or file")
    known = ", ".join(get_close_matches(text, named, 2, 0.4) or named)
    raise UsageError(f"unknown model '{text}'", hint=f"{known}, a folder or a hub id; see: vns-sam models list")


def _stages(name: str | os.PathLike[str]) -> tuple[str, str]:
    """A name as that of the first stage and of what refines its masks, which is empty for most. In an address a "+"
    counts behind the key that a server wants to be shown.
    """
    text = os.fspath(name)
    whole = next((known for known in registry.names() if "+" in known and f"{text}+".startswith(f"{known}+")), "")
    at = len(whole) or text.find("+", _host(text))
    first, second = text[:at], text[at + 1 :]
    return (first, second) if at > 0 and second and not Path(text).exists() else (text, "")


def _host(text: str) -> int:
    """Where the host of an address begins, behind user and key; 0 in any other name."""
    if not is_address(text):
        return 0
    start = text.index("//") + 2
    ends = [at for mark in "/?#" if (at := text.find(mark, start)) >= 0]
    return text.rfind("@", start, min(ends, default=len(text))) + 1


def model_type(name: str | os.PathLike[str]) -> str | None:
    """The ``model_type`` of a bundled model, a folder or a hub id; None for everything else, which is not opened, such
    as weights that are published under a name.

    Raises:
        CheckpointError: The folder holds no readable ``config.json``.
    """
    folder = registry.local(name)
    return str(read_config(folder)["model_type"]) if folder is not None and folder.is_dir() else None


def is_address(name: object) -> bool:
    """Whether a model's name is the address of a server."""
    return isinstance(name, str) and name.startswith(("http://", "https://"))


def _connect(address: str) -> PromptableModel:
    from vns_sam.inference.remote import connect  # what speaks HTTP is not paid for by those who do not

    return connect(address)


def takes_prompts(name: str | os.PathLike[str]) -> bool:
    """Whether a model is asked about objects, as all are but WS-SAM's segmenter and IS-Net by itself, which are known
    by their folder, or by the tensors of their file. Of two stages the first is asked.
    """
    first, _ = _stages(name)
    if is_address(first):
        return bool(_connect(first).info.prompts)
    path = registry.local(first)
    if path is not None and path.is_file() and _has_torch():
        from vns_sam.sam.files import read_tensors

        return not registry.is_unprompted(read_tensors(path, in_place=True))
    return model_type(first) not in UNPROMPTED


def gives_alpha(name: str | os.PathLike[str]) -> bool | None:
    """Whether a model that takes prompts refines its masks to alpha maps, known by its name or folder; None for files
    and servers, which are not asked.
    """
    first, second = _stages(name)
    if second or first in registry.PUBLISHED:
        return bool(second)
    kind = None if is_address(first) else model_type(first)
    return None if kind is None else kind == "dis-sam"


def check_device(device: str | torch.device) -> torch.device:
    """Turns a name into a device that is there; ``auto`` is the fastest that is.

    Raises:
        UsageError: It is no device, or this machine has none of its kind.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError):
        hint = "cpu" if not torch.cuda.is_available() else "cpu or cuda"
        raise UsageError(f"device '{device}' is not available on this machine", hint=hint) from None
    return place


def refine_with(
    first: PromptableModel,
    name: str | os.PathLike[str],
    device: str | torch.device | None = None,
    *,
    backend: Backend = "auto",
    base: str | None = None,
) -> PromptableModel:
    """Puts a DIS-SAM's second stage after a model.

    Args:
        first: Any model that takes prompts and does not refine its masks itself.
        name: A DIS-SAM as :func:`load_model` takes it; its own first stage is not loaded. Or a file of IS-Net's
            authors, which knows no prompt.
        device: Where to put the second stage; beside the first by default, or on the CPU where that has no device.
        backend: As :func:`load_model`.
        base: As what :func:`load_model` found ``first``; what is saved or exported of both names it.

    Raises:
        UsageError: The name is no model's, or ``first`` is refined already.
        CheckpointError: The weights are missing, damaged or no DIS-SAM's.
    """
    check_refining(first.info.name, name, prompts=bool(first.info.prompts), alpha=first.info.alpha)
    place = device if device is not None else getattr(first, "device", "cpu")
    base = base or _place_of(first)
    if graphs := graphs_of(name, place, backend):
        return refine_with_graph(graphs, first)
    return _refining_network(first, name, place, None if base is None or is_address(base) else registry.portable(base))


def check_refining(first: str, name: str | os.PathLike[str], *, prompts: bool, alpha: bool) -> None:
    """Judges, without loading either, whether ``name`` can refine the masks of ``first``; ``prompts`` says whether that
    takes prompts, ``alpha`` whether it gives alpha maps itself.

    Raises:
        UsageError: It cannot, or it is no model's name.
        CheckpointError: It is not there.
    """
    check_model_name(name)
    if alpha:
        raise UsageError(f"'{first}' refines its masks itself", hint="name a model that does not")
    if not prompts:
        raise UsageError(f"'{first}' takes no prompt, and refining needs one", hint="leave --refine out")
    if os.fspath(name) in registry.PUBLISHED:
        raise UsageError(f"expected a DIS-SAM to refine with, '{name}' is none", hint="a folder or file of one")


def _place_of(model: PromptableModel) -> str | None:
    """Where a model that is run as graphs was loaded from, as ``load_model`` takes it; None for others."""
    if not isinstance(model, OnnxPromptable):
        return None
    path, name = model.folder.path, model.info.name
    return name if name in registry.bundled() and registry.place(name) == path else str(path)


def _refining_network(
    first: PromptableModel, name: str | os.PathLike[str], device: str | torch.device, base: str | None
) -> PromptableNetwork:
    need_torch(f"refining with '{name}'")
    from vns_sam.dis import official
    from vns_sam.dis.config import DisSamConfig
    from vns_sam.sam.files import read_tensors

    dis: Any = registry.resolve(registry.MODELS[DisSamConfig.model_type])
    path = registry.local(name)
    assert path is not None  # published weights are none of these
    if path.is_file():
        state = read_tensors(path)
        network = official.load_isnet(state, path, inflate=True)
        config = DisSamConfig(first.info.name, path.stem)
        if official.input_channels(state) < official.CHANNELS:
            config = replace(config, margin=FOLLOWED)
            logger.warning(
                "%s knows neither mask nor box: it is shown the object with %d %% around it instead, and draws what "
                "stands out there",
                path.name,
                round(100 * FOLLOWED),
            )
        refiner = dis(config, first, network)
    else:
        refiner = dis.from_pretrained(path, first)
    refined = refiner.with_first(first, base)
    refined.network.to(check_device(device))
    return cast("PromptableNetwork", refined.eval())


def catalog() -> Iterator[registry.CatalogRow]:
    """All models that have a name, the bundled ones first."""
    return registry.catalog()
