"""Tensors out of a file: SafeTensors or PyTorch's, bare or wrapped, judged before anything large is built.

No code in a file is ever run, and a file cannot ask for more memory than its own size accounts for.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vns_sam.errors import CheckpointError

WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict", "params", "ema", "module")
"""Keys under which training code keeps the tensors beside epochs and optimisers."""
PREFIXES = ("module.", "_orig_mod.", "sam.", "model.")
"""What wrappers put before every name: several GPUs, the compiler, a class around the model."""
COMPUTED = (".freqs_cis", ".attention_bias_idxs")
"""Ends of names of what some authors store though it is computed: SAM 3's rotations, TinyViT's places of biases."""
_NUMBERS = frozenset(
    (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
)
_PATHS = {"PosixPath": pathlib.PurePosixPath, "WindowsPath": pathlib.PureWindowsPath}
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
    *((np.float64().__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((kind, f"{home}.{name}") for name, kind in _PATHS.items() for home in ("pathlib", "pathlib._local")),
]
"""What training code stores beside the tensors, its command line and its best score, and PyTorch does not know; making
one of these runs nothing.
"""
_SPARE = 2**20
_AGAIN = "download or copy it again"


def read_tensors(
    path: str | Path, prefixes: Sequence[str] = PREFIXES, *, in_place: bool = False
) -> dict[str, torch.Tensor]:
    """Reads the tensors of a file by the names that they have without wrappers and prefixes, on the CPU.

    Args:
        path: SafeTensors, or a file of ``torch.save``; which of them is seen from its content.
        prefixes: What may be taken off where every name begins with it.
        in_place: Whether the numbers stay in the file until they are used: right for who looks at names and shapes.

    Raises:
        CheckpointError: The file is missing, no regular file, damaged, holds anything else than named tensors of
            ordinary numbers, or would unpack to more than it holds.
    """
    path = Path(path)
    if not path.is_file():
        found = "no regular file" if path.exists() else "no file"
        raise CheckpointError(f"{found} {path}", hint="give the path of a .pth or .safetensors file")
    state = _unwrap(_read(path, in_place=in_place), path)
    state = {key: value for key, value in state.items() if not key.endswith(COMPUTED)}
    judge_tensors(state, path, path.stat().st_size)
    return _without_prefix(state, prefixes)


def judge_tensors(state: Mapping[str, torch.Tensor], origin: str | Path, size: int) -> None:
    """Refuses tensors that no model has.

    Args:
        state: The tensors.
        origin: What an error calls them.
        size: Bytes of the file.

    Raises:
        CheckpointError: One is sparse, quantised or complex, or all together are larger than the file.
    """
    for key, value in state.items():
        if value.dtype not in _NUMBERS or value.layout != torch.strided or value.is_quantized:
            kind = f"{value.dtype}".removeprefix("torch.")
            raise CheckpointError(f"{origin}: '{key}' must hold ordinary numbers, found {kind} ({value.layout})")
    total = sum(value.numel() * value.element_size() for value in state.values())
    if total > 2 * size + _SPARE:
        raise _too_large(origin, size, total)


def check_finite(state: Mapping[str, torch.Tensor], origin: str | Path) -> None:
    """Refuses weights that are NaN or infinite: every answer would be empty.

    Raises:
        CheckpointError: The first such tensor is named.
    """
    for key, value in state.items():
        if not value.is_floating_point() or value.is_meta or bool(value.float().sum().isfinite()):
            continue
        bad = int((~value.isfinite()).sum())  # the sum of very many finite numbers may overflow
        if bad:
            raise CheckpointError(
                f"{origin}: '{key}' holds {bad} values that are NaN or infinite",
                hint="the training diverged: take an earlier checkpoint, or train with a lower optim.lr",
            )


def _read(path: Path, *, in_place: bool = False) -> Any:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged ({error})", hint=_AGAIN) from None
    _check_zip(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            mapped = in_place and zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can raise anything
        asked = _asks_for(error)
        if asked:
            raise CheckpointError(
                f"{path} holds more than tensors: loading it would run '{asked}', and code in a file is never run",
                hint="take the weights as .safetensors, from a source that you trust",
            ) from None
        raise CheckpointError(f"{path} is damaged or no file of PyTorch weights", hint="download it again") from None


def _check_zip(path: Path) -> None:
    """PyTorch stores without compression: a file that unpacks to more than it holds was not written by it. What is no
    zip, or one of another version, is left to PyTorch.
    """
    with suppress(zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        size = path.stat().st_size
        if total > 2 * size + _SPARE:
            raise _too_large(path, size, total)


def _too_large(origin: str | Path, size: int, total: int) -> CheckpointError:
    found = f"{size / 2**20:.1f} MiB that would unpack to {total / 2**30:.1f} GiB"
    return CheckpointError(f"{origin}: expected weights, found {found}", hint="it is damaged or made to harm")


def _asks_for(error: Exception) -> str | None:
    """The Python name that a pickle wants called, out of PyTorch's refusal."""
    text = str(error)
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if named:
        return named[1].rstrip(".")
    return "a function" if "for unrecognized" in text or "Can only" in text else None


def _unwrap(state: Any, path: Path) -> dict[str, torch.Tensor]:
    for _ in range(3):
        inner = next((state[key] for key in WRAPPERS if _holds(state, key)), None)
        if inner is None or all(isinstance(value, torch.Tensor) for value in state.values()):
            break
        state = inner
    if isinstance(state, Mapping):
        odd = next((key for key in state if not isinstance(key, str)), None)
        if odd is not None:
            raise CheckpointError(f"{path}: names of tensors must be text, found '{odd!s:.40}', a {type(odd).__name__}")
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(f"{path} must hold a dictionary of tensors, found {_describe(state)}")
    return dict(state)


def _holds(state: Any, key: str) -> bool:
    """Whether a wrapper keeps tensors, or another wrapper, under this key."""
    inner = state.get(key) if isinstance(state, Mapping) else None
    if not isinstance(inner, Mapping):
        return False
    return any(isinstance(value, torch.Tensor) for value in inner.values()) or any(key in inner for key in WRAPPERS)


def _without_prefix(state: dict[str, torch.Tensor], prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    for prefix in prefixes:
        if all(key.startswith(prefix) and key != prefix for key in state):
            return _without_prefix({key.removeprefix(prefix): value for key, value in state.items()}, prefixes)
    return state


def _describe(found: object) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    others = sorted({type(v).__name__ for v in found.values() if not isinstance(v, torch.Tensor)})
    return f"a dictionary of {', '.join(others)}" if others else "an empty one"
