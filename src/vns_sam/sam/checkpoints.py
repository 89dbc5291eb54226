"""Reading and writing a model's folder: ``config.json`` beside ``model.safetensors``."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vns_sam.errors import CheckpointError
from vns_sam.images.bounded import read_bounded
from vns_sam.images.write import atomic_path, remove_file, write_text
from vns_sam.sam.files import check_finite, judge_tensors, read_tensors
from vns_sam.sam.folder import CONFIG, GRAPHS, GRAPHS_OF, OLDER_WEIGHTS, WEIGHTS, read_config
from vns_sam.sam.hub import local_folder
from vns_sam.sam.model_config import ModelConfig

Config = TypeVar("Config", bound=ModelConfig)


@dataclass(frozen=True)
class KeyReport:
    """What became of a file's tensors.

    Attributes:
        used: Names that found their place, in the model's order.
        missing: Names that the model has and the file has not.
        left_over: Names of the file that the model has no place for.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.used)} tensors used, {len(self.missing)} missing, {len(self.left_over)} left over"


def load_weights(model: nn.Module, state: Mapping[str, torch.Tensor], origin: str | Path) -> KeyReport:
    """Puts ``state`` into ``model``, which may be on the meta device: its tensors are taken, not copied.

    Args:
        model: Every tensor of it must be in ``state``, and no other: what is dropped could change the answers.
        state: By the model's own names.
        origin: What an error calls the weights.

    Raises:
        CheckpointError: A tensor is missing or left over, has another shape or kind of numbers, or holds NaN.
    """
    expected = model.state_dict()
    report = match_keys(expected, state)
    if report.missing:
        raise CheckpointError(
            f"{origin} lacks {len(report.missing)} of {len(expected)} tensors, the first is '{report.missing[0]}'",
            hint="the file is truncated or of another model: download or convert it again",
        )
    if report.left_over:
        raise CheckpointError(
            f"{origin} holds {len(report.left_over)} tensors that this model has no place for, the first is "
            f"'{report.left_over[0]}'",
            hint="it is another model, or one with additions that would be lost",
        )
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            found, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise CheckpointError(f"{origin}: '{key}' must have shape {wanted}, found {found}")
        if state[key].is_floating_point() != tensor.is_floating_point():
            kinds = (str(value.dtype).removeprefix("torch.") for value in (tensor, state[key]))
            raise CheckpointError("{}: '{}' must hold {}, found {}".format(origin, key, *kinds))
    check_finite({key: state[key] for key in expected}, origin)
    model.load_state_dict({key: state[key] for key in expected}, assign=True)
    return report


def match_keys(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> KeyReport:
    """Compares the names of two sets of tensors."""
    return KeyReport(
        tuple(key for key in expected if key in state),
        tuple(key for key in expected if key not in state),
        tuple(key for key in state if key not in expected),
    )


def write_checkpoint(
    folder: str | Path, config: Mapping[str, Any], state: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> None:
    """Writes a model's folder, each file atomically; floating tensors are stored as ``dtype``.

    Graphs that lie there are removed first, before anything is written: those with weights inside are another model,
    and those that name weights hold what was computed from the old ones. ``vns-sam export`` makes new ones.

    Raises:
        CheckpointError: A tensor holds NaN, or a number too large for ``dtype``.
        DataError: The place cannot be written.
    """
    folder = Path(folder)
    stored = {
        key: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in state.items()
    }
    check_finite(stored, folder)
    remove_graphs(folder)
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    with atomic_path(folder / WEIGHTS) as part:
        save_tensors(stored, part)
        part.chmod((folder / CONFIG).stat().st_mode)  # safetensors would keep other users of the machine out


def remove_graphs(folder: Path) -> None:
    """Removes the ``onnx.json`` of a folder, then the graphs that it names; where none is readable, nothing.

    Raises:
        OutputError: They cannot be removed.
    """
    manifest = folder / GRAPHS
    try:
        values = json.loads(read_bounded(manifest))
    except (OSError, ValueError, RecursionError):
        return
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in GRAPHS_OF:
        return
    for path in (manifest, *(folder / f"{name}.onnx{end}" for name in GRAPHS_OF[kind] for end in ("", ".data"))):
        remove_file(path)


def save_tensors(state: dict[str, torch.Tensor], path: Path) -> None:
    """Writes contiguous tensors as safetensors.

    Raises:
        OSError: The place cannot be written; safetensors has an error of its own for that.
    """
    try:
        save_file(state, path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from None


def read_state(folder: str | Path) -> dict[str, torch.Tensor]:
    """Reads a folder's ``model.safetensors``, or where older tools wrote it ``pytorch_model.bin``; floating tensors
    become float32.

    Raises:
        CheckpointError: It is missing, damaged or holds something else.
    """
    path = Path(folder) / WEIGHTS
    older = path.with_name(OLDER_WEIGHTS)
    if not path.exists() and older.exists():
        return _widened(read_tensors(older, ()))
    if not path.exists():
        raise CheckpointError(f"no {WEIGHTS} in {folder}", hint="copy or download the whole folder")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error})", hint="download or copy it again") from None
    judge_tensors(state, path, path.stat().st_size)
    return _widened(state)


def _widened(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_checkpoint(folder: str | Path, kind: type[Config]) -> tuple[Config, dict[str, torch.Tensor]]:
    """Reads a model's folder.

    Args:
        folder: The folder, or a hub id.
        kind: The class of its configuration.

    Returns:
        The configuration, and the tensors, floating ones as float32.

    Raises:
        CheckpointError: A file is missing or damaged, a field of the configuration is wrong, or the folder holds
            another kind of model.
    """
    folder = local_folder(folder)
    values = read_config(folder)
    if values["model_type"] != kind.model_type:
        raise CheckpointError(f"{folder} holds a '{values['model_type']:.60}' model, expected '{kind.model_type}'")
    return kind.from_dict(values, Path(folder) / CONFIG), read_state(folder)


def model_digest(model: nn.Module) -> str:
    """A digest of what a network's answers depend on: its name, and the configurations and weights of all its parts."""
    configs = [asdict(config) for config in configurations(model)]
    digest = hashlib.sha256(json.dumps([getattr(model, "name", ""), *configs], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def configurations(model: nn.Module) -> list[Any]:
    """The configurations of all parts of a network, in order; those of other packages' parts do not count."""
    found = (vars(part).get("config") for part in model.modules())  # a module's own getattr is slow where it has none
    return [config for config in found if type(config).__module__.startswith("vns_sam.")]
