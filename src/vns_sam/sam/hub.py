"""Models on the Hugging Face hub: found in the local cache, fetched, or put there."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vns_sam.errors import CheckpointError, MissingExtraError, UsageError
from vns_sam.sam.cards import card
from vns_sam.sam.folder import CARD, CONFIG, FILES, GRAPH_FILES, GRAPHS, PROCESSORS, WEIGHTS, graph_files, read_config

logger = logging.getLogger(__name__)

MAIN = "main"
"""The revision of a hub model that is meant where none is named."""
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


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


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, ``owner/model``."""
    return _HUB_ID.fullmatch(name) is not None


def local_folder(name: str | os.PathLike[str], revision: str | None = None) -> Path:
    """A path as it is, or the folder of a hub id that is no path here, fetched if it is not in the cache.

    Args:
        name: The path or hub id.
        revision: Of the hub id, see :func:`download`.

    Raises:
        UsageError: A path has no such revision.
        CheckpointError, MissingExtraError: See :func:`download`.
    """
    text, path = os.fspath(name), Path(name).expanduser()
    if is_hub_id(text) and not path.exists():
        return download(text, revision=revision)
    if revision not in (None, MAIN):
        raise UsageError(f"expected a hub id for revision '{revision}', found the path {path}", hint="leave it out")
    return path


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, read from its header alone."""
    with safe_open(path, framework="np") as tensors:
        return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118


def is_cached(repo: str, weights: str = WEIGHTS) -> bool:
    """Whether the weights of a hub model are in the local cache."""
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, weights), str)


def download(name: str, weights: HubWeights | None = None, revision: str | None = None) -> Path:
    """The folder of a hub model in the local cache, or its single file, fetched if it is not there.

    Args:
        name: What the user called it: a name, or its hub id.
        weights: What the name stands for.
        revision: A branch, tag or commit, of which all files are; the newest commit that is in the cache, else the
            hub's, when omitted.

    Raises:
        CheckpointError: The hub does not have it or cannot be reached.
        MissingExtraError: The hub's client is not installed.
    """
    files = weights.files if weights else (CONFIG, WEIGHTS)
    repo = weights.repo if weights else name
    _need_client(f"there is no folder '{repo}', and fetching it from the hub")
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def fetch(*, local: bool) -> Path:
        for file in files[:-1]:
            hf_hub_download(repo, file, revision=revision, local_files_only=local)
        if weights is None:
            _fetch_graphs(repo, revision, local=local)
            for file in PROCESSORS:
                _fetch_optional(repo, file, revision, local=local)
        last = Path(hf_hub_download(repo, files[-1], revision=revision, local_files_only=local))
        # where that is, all that was wanted is
        return last.parent if len(files) > 1 else last

    try:
        return fetch(local=True)
    except LocalEntryNotFoundError:
        logger.info("fetching %s from the hub", repo)
    try:
        # Asking once first: without a network the download itself would retry, and log, for half a minute.
        get_hf_file_metadata(hf_hub_url(repo, files[0], revision=revision))
        return fetch(local=False)
    except HfHubHTTPError as error:
        wanted, what = (repo, "hub id") if revision is None else (f"{repo}' at '{revision}", "hub id and the revision")
        raise CheckpointError(f"the hub gives no model '{wanted}' ({_line(error)})", hint=f"check the {what}") from None
    except Exception as error:  # the client has used several HTTP libraries, each with errors of its own
        logger.info("the hub cannot be reached: %s", error)
        raise _unreachable(name, weights, revision) from None


def _line(error: Exception) -> str:
    """The first line of what the hub's client says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _fetch_graphs(repo: str, revision: str | None, *, local: bool) -> None:
    """Graphs, where the hub has them, so that no torch is needed; what names them comes last, when they are whole."""
    from huggingface_hub import snapshot_download

    snapshot_download(repo, revision=revision, allow_patterns=[GRAPH_FILES], local_files_only=local)
    _fetch_optional(repo, GRAPHS, revision, local=local)


def _fetch_optional(repo: str, file: str, revision: str | None, *, local: bool) -> None:
    """A file, where the hub has it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(repo, file, revision=revision, local_files_only=local)
    except LocalEntryNotFoundError:  # of a download it means that the hub could not be reached
        if not local:
            raise
    except EntryNotFoundError:
        pass


def upload(folder: Path, repo: str, *, private: bool = False) -> str:
    """Puts a model's folder on the hub: its :func:`shared_files`, and nothing else that is there. Graphs of an
    earlier push that the folder has no new ones for are deleted: they are another model.

    Args:
        folder: As ``save_pretrained`` or ``vns-sam train`` writes it.
        repo: Its hub id, which is made if it is not there.
        private: Whether a new one is seen by its owner alone.

    Returns:
        The address of the commit.

    Raises:
        UsageError: ``repo`` has not the form of a hub id, or the model stands on one that is on this machine alone.
        CheckpointError: The folder holds no model, or the hub does not take it or cannot be reached.
        MissingExtraError: The hub's client is not installed.
    """
    if not is_hub_id(repo):
        raise UsageError(f"expected a hub id such as 'owner/model', found '{repo}'")
    config = read_config(folder)
    _check_base(config, folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"no {WEIGHTS} in {folder}", hint="give a folder written by save_pretrained")
    _need_client("the hub")
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    shared = [path for path in shared_files(folder) if path.name != CARD]
    changes: list[CommitOperationAdd | CommitOperationDelete]
    changes = [CommitOperationAdd(path.name, path) for path in shared]
    changes.append(CommitOperationAdd(CARD, card(folder, repo).encode()))
    new = {path.name for path in shared}
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        older = [file for file in api.list_repo_files(repo) if _is_graph(file) and file not in new]
        changes.extend(CommitOperationDelete(file) for file in older)
        done = api.create_commit(repo, changes, commit_message=f"Upload {config.get('name', folder.name)}")
    except HfHubHTTPError as error:
        hint = "hf auth login, and an owner that is yours"
        raise CheckpointError(f"the hub does not take '{repo}' ({_line(error)})", hint=hint) from None
    except Exception as error:  # as in download
        hint = "try again where there is a network"
        raise CheckpointError(f"the hub cannot be reached ({_line(error)})", hint=hint) from None
    return done.commit_url


def _check_base(config: Mapping[str, Any], folder: Path) -> None:
    """Refuses a model that nobody else could load, and which would show where its owner keeps things."""
    base = str(config.get("base", ""))
    parts = "/" in base or os.sep in base
    if Path(base).suffix in FILES or (parts and (not is_hub_id(base) or (folder / base).exists())):
        raise UsageError(
            f"expected a known name or a hub id as 'base' in {folder / CONFIG}, found '{base}', which others have not",
            hint="push what it stands on, too, and write its hub id there",
        )


def _is_graph(file: str) -> bool:
    """Whether a file of a repository, by its path there, is a model's graph or what names it."""
    return "/" not in file and (file == GRAPHS or fnmatchcase(file, GRAPH_FILES))


def shared_files(folder: Path) -> list[Path]:
    """The files of a model's folder that others need, and nothing else that is there: no graphs that nothing names."""
    told = (folder / name for name in (CONFIG, WEIGHTS, *PROCESSORS, CARD, GRAPHS))
    graphs = graph_files(folder) if (folder / GRAPHS).is_file() else []
    return [*(path for path in told if path.is_file()), *graphs]


def _need_client(purpose: str) -> None:
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError("huggingface_hub", extra="hub", purpose=purpose)


def _unreachable(name: str, weights: HubWeights | None, revision: str | None) -> CheckpointError:
    repo = weights.repo if weights else name
    files = weights.files if weights else (CONFIG, WEIGHTS)
    pinned = "" if revision is None else f"--revision {revision} "
    command = f"hf download {repo} {' '.join(files)} {pinned}--local-dir FOLDER"
    fetch = f"run '{command}' where there is a network and give FOLDER"
    if weights is None:
        return CheckpointError(f"there is no folder '{name}' and the hub cannot be reached", hint=fetch)
    size = weights.parameters * 4 / 1e9
    return CheckpointError(
        f"the weights of {name} ({repo}, {size:.2f} GB) are not on this machine and the hub cannot be reached",
        hint=f"{fetch}, or give the path of the authors' {weights.file}",
    )
