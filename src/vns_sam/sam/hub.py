"""Weights on the Hugging Face hub: found in the local cache, or fetched."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from vns_sam.errors import CheckpointError
from vns_sam.sam.folder import CONFIG, WEIGHTS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubWeights:
    """Weights on the Hugging Face hub.

    Attributes:
        repo: Its id.
        parameters: Number of parameters, the fixed positional features included.
        file: What the authors' own file is called.
        whole: Whether there is a folder with a ``config.json``; otherwise there is the authors' file alone.
        licence: What the weights are under.
    """

    repo: str
    parameters: int
    file: str
    whole: bool = True
    licence: str = "Apache-2.0"

    @property
    def files(self) -> tuple[str, ...]:
        """What is fetched, the weights last."""
        return (CONFIG, WEIGHTS) if self.whole else (self.file,)


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, read from its header alone."""
    with safe_open(path, framework="np") as tensors:
        return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118


def is_cached(repo: str, weights: str = WEIGHTS) -> bool:
    """Whether the weights of a hub model are in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, weights), str)


def download(name: str, weights: HubWeights | None = None) -> Path:
    """The folder of a hub model in the local cache, or its single file, fetched if it is not there.

    Args:
        name: What the user called it: a name, or its hub id.
        weights: What the name stands for.

    Raises:
        CheckpointError: The hub does not have it or cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    files = weights.files if weights else (CONFIG, WEIGHTS)
    repo = weights.repo if weights else name
    try:
        return _place_of([hf_hub_download(repo, file, local_files_only=True) for file in files])
    except LocalEntryNotFoundError:
        logger.info("fetching %s from the hub", repo)
    try:
        # Asking once first: without a network the download itself would retry, and log, for half a minute.
        get_hf_file_metadata(hf_hub_url(repo, files[0]))
        return _place_of([hf_hub_download(repo, file) for file in files])
    except HfHubHTTPError as error:
        line = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the hub gives no model '{repo}' ({line})", hint="check the hub id") from None
    except Exception as error:  # the client has used several HTTP libraries, each with errors of its own
        logger.info("the hub cannot be reached: %s", error)
        raise _unreachable(name, weights) from None


def _place_of(paths: list[str]) -> Path:
    return Path(paths[-1]).parent if len(paths) > 1 else Path(paths[0])


def _unreachable(name: str, weights: HubWeights | None) -> CheckpointError:
    repo = weights.repo if weights else name
    files = weights.files if weights else (CONFIG, WEIGHTS)
    command = f"hf download {repo} {' '.join(files)} --local-dir FOLDER"
    fetch = f"run '{command}' where there is a network and give FOLDER"
    if weights is None:
        return CheckpointError(f"there is no folder '{name}' and the hub cannot be reached", hint=fetch)
    size = weights.parameters * 4 / 1e9
    return CheckpointError(
        f"the weights of {name} ({repo}, {size:.2f} GB) are not on this machine and the hub cannot be reached",
        hint=f"{fetch}, or give the path of the authors' {weights.file}",
    )
