"""Finding a SAM by its name: bundled, on the Hugging Face hub, in a folder, or in a file of Meta's."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from vns_sam.errors import CheckpointError
from vns_sam.sam.checkpoints import CONFIG, WEIGHTS, KeyReport, read_checkpoint, read_config
from vns_sam.sam.keys import hf_key_to_own
from vns_sam.sam.meta import build_vit_sam, load_meta
from vns_sam.sam.model import SamModel

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parents[1] / "weights"
"""Folder of the models that ship with the package, one folder each."""

BUNDLED_SAM = "sam-tiny"

BUNDLED_MODELS = ("vns-sam-tiny", BUNDLED_SAM, "dis-sam-tiny", "ws-sam-tiny")
"""Models inside the package, the default first; they need no network."""

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_MIB = 2**20


@dataclass(frozen=True)
class HubWeights:
    """Weights on the Hugging Face hub.

    Attributes:
        repo: Its id.
        parameters: Number of parameters, the fixed positional features included.
        file: What the authors' own file is called.
    """

    repo: str
    parameters: int
    file: str


HUB = {
    "vit_b": HubWeights("facebook/sam-vit-base", 93_735_728, "sam_vit_b_*.pth"),
    "vit_l": HubWeights("facebook/sam-vit-large", 312_343_088, "sam_vit_l_*.pth"),
    "vit_h": HubWeights("facebook/sam-vit-huge", 641_090_864, "sam_vit_h_*.pth"),
}
"""SAM's published weights in transformers' form."""


@dataclass(frozen=True)
class CatalogRow:
    """One model that can be loaded by name.

    Attributes:
        name: What :func:`load_sam` takes.
        parameters: Number of parameters.
        mib: Size of the weights file in MiB.
        source: Where the weights come from.
        bundled: Whether they ship with the package.
    """

    name: str
    parameters: int
    mib: float
    source: str
    bundled: bool


def catalog() -> Iterator[CatalogRow]:
    """The SAMs that have a name, the bundled one first."""
    path = BUNDLED / BUNDLED_SAM / WEIGHTS
    if path.is_file():
        yield CatalogRow(BUNDLED_SAM, count_parameters(path), path.stat().st_size / _MIB, "bundled", True)
    yield from hub_rows(HUB)


def place(name: str | os.PathLike[str]) -> Path:
    """The folder of a bundled model by its name, else the path itself."""
    return BUNDLED / name if os.fspath(name) in BUNDLED_MODELS else Path(name)


def hub_rows(table: Mapping[str, HubWeights]) -> Iterator[CatalogRow]:
    """Catalogue rows of weights on the hub, by name."""
    for name, weights in table.items():
        yield CatalogRow(name, weights.parameters, weights.parameters * 4 / _MIB, weights.repo, False)


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, read from its header alone."""
    with safe_open(path, framework="pt") as tensors:
        return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118


def load_sam(name_or_path: str | Path, device: str | torch.device = "cpu") -> SamModel:
    """Loads a SAM for inference.

    Args:
        name_or_path: "sam-tiny" (bundled); "vit_b", "vit_l" or "vit_h" (the hub); a hub id; a folder
            written by :meth:`SamModel.save_pretrained` or by transformers' ``SamModel``; or Meta's ``.pth``.
            Of an HQ-SAM of transformers the SAM inside it is loaded.
        device: Where the weights go.

    Raises:
        CheckpointError: There is no such model, its weights are not here and cannot be fetched, or they are
            damaged or of another architecture.
    """
    return _load(str(name_or_path)).to(device)


def convert_meta(path: str | Path, out: str | Path) -> KeyReport:
    """Writes Meta's ``.pth`` file as a folder that :func:`load_sam` reads, ``out``.

    Returns:
        What became of the file's tensors.

    Raises:
        CheckpointError: The file is missing, damaged or of another model.
    """
    model, report = load_meta(path)
    model.save_pretrained(out)
    return report


def _load(name: str) -> SamModel:
    if name == BUNDLED_SAM:
        return SamModel.from_pretrained(BUNDLED / BUNDLED_SAM)
    if name in HUB:
        return _load_folder(download(name, HUB[name]))
    path = Path(name).expanduser()
    if path.is_dir():
        return _load_folder(path)
    if path.is_file() or path.suffix in (".pth", ".pt"):
        return load_meta(path)[0]
    if _REPO.fullmatch(name):
        return _load_folder(download(name))
    names = ", ".join([BUNDLED_SAM, *HUB])
    raise CheckpointError(
        f"no model '{name}': it is no known name, folder, file or hub id",
        hint=f"one of {names}, a folder with {CONFIG}, or a .pth file of Meta's SAM",
    )


def _load_folder(folder: Path) -> SamModel:
    values = read_config(folder)
    if "vision_config" not in values:
        return SamModel.from_pretrained(folder)
    _, state = read_checkpoint(folder, "sam_hq" if values["model_type"] == "sam_hq" else "sam")
    return build_vit_sam({hf_key_to_own(key): value for key, value in state.items()}, folder)[0]


def download(name: str, weights: HubWeights | None = None) -> Path:
    """The folder of a hub model in the local cache, fetched if it is not there.

    Args:
        name: What the user called it: a name, or its hub id.
        weights: What the name stands for.

    Raises:
        CheckpointError: The hub does not have it or cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    files = (CONFIG, WEIGHTS)
    repo = weights.repo if weights else name
    try:
        return _folder_of([hf_hub_download(repo, file, local_files_only=True) for file in files])
    except LocalEntryNotFoundError:
        logger.info("fetching %s from the hub", repo)
    try:
        # Asking once first: without a network the download itself would retry, and log, for half a minute.
        get_hf_file_metadata(hf_hub_url(repo, CONFIG))
        return _folder_of([hf_hub_download(repo, file) for file in files])
    except HfHubHTTPError as error:
        line = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the hub gives no model '{repo}' ({line})", hint="check the hub id") from None
    except Exception as error:  # the client has used several HTTP libraries, each with errors of its own
        logger.info("the hub cannot be reached: %s", error)
        raise _unreachable(name, weights) from None


def _folder_of(paths: list[str]) -> Path:
    return Path(paths[-1]).parent


def _unreachable(name: str, weights: HubWeights | None) -> CheckpointError:
    repo = weights.repo if weights else name
    command = f"hf download {repo} {CONFIG} {WEIGHTS} --local-dir FOLDER"
    fetch = f"run '{command}' where there is a network and give FOLDER"
    if weights is None:
        return CheckpointError(f"there is no folder '{name}' and the hub cannot be reached", hint=fetch)
    size = weights.parameters * 4 / 1e9
    return CheckpointError(
        f"the weights of {name} ({repo}, {size:.2f} GB) are not on this machine and the hub cannot be reached",
        hint=f"{fetch}, or give the path of the authors' {weights.file}",
    )
