"""What a doctor sees in one picture and its mask. Runs in worker processes and returns little."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from vns_sam.data.doctor.alignment import find_misfit
from vns_sam.data.doctor.findings import Finding
from vns_sam.data.doctor.hashing import hashes, thumbnail
from vns_sam.data.pairs import MASK_THRESHOLD, read_mask
from vns_sam.errors import DataError
from vns_sam.formats.png import LOSSY, has_gray_palette, ids_of, varying_alpha
from vns_sam.images.opener import open_image
from vns_sam.images.read import DECODER_ERRORS, file_digest, one_line, read_image, stored_size

TINY = 16
"""Objects of fewer pixels are reported."""

SAME_ASPECT = 0.01
"""A mask whose aspect differs by no more from its picture's is a resized one."""

_SOFT = 0.10  # share of gray pixels above which a mask is soft, not just smooth at its edges
_LEVELS, _LEVEL_SHARE = 8, 0.01  # a few gray levels on more than this share of a mask are labels
_COVERS, _AT_FRAME = 0.6, 0.8  # an object that covers so much, and so much of the frame, looks inverted
_FLAT = 8  # gray levels that a picture must span

Content = TypeVar("Content")


@dataclass(frozen=True)
class Files:
    """The files of one stem; ``root`` is the folder of the set."""

    root: Path
    image: Path | None
    mask: Path | None
    instances: Path | None = None
    ignore: Path | None = None


@dataclass(frozen=True)
class Examination:
    """What is kept of one stem.

    Attributes:
        findings: What is wrong with its files.
        digest: SHA-256 of the picture's bytes, or "" without a readable picture.
        mask_digest: SHA-256 of the mask as it is read, or "".
        hashes: (8,) uint64 of :func:`vns_sam.data.doctor.hashing.hashes`, or None.
    """

    findings: tuple[Finding, ...]
    digest: str = ""
    mask_digest: str = ""
    hashes: np.ndarray | None = None


def examine(files: Files) -> Examination:
    """Reads the files of one stem and compares them; damage becomes a finding, never an error."""
    findings: list[Finding] = []
    image = _guarded(read_image, files.image, files.root, findings)
    mask = _guarded(read_mask, files.mask, files.root, findings)
    clear = True
    if mask is not None and files.mask is not None:
        values = _judge_values(files.mask, files.root)
        clear = all(finding.repairable for finding in values)  # else the file is left alone, whatever it has besides
        values = [replace(finding, repairable=clear) for finding in values]
        findings += [*values, *(_judge_object(mask, _name(files.mask, files.root)) if clear else ())]
    if image is not None and files.image is not None:
        findings += _judge_picture(image, files, mask, clear=clear)
        findings += _judge_extras(image.shape[:2], files)
    gray = None if image is None else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return Examination(
        tuple(findings),
        "" if image is None or files.image is None else file_digest(files.image),
        "" if mask is None else hashlib.sha256(np.packbits(mask).tobytes()).hexdigest(),
        None if gray is None else hashes(gray),
    )


def read_thumbnail(path: Path) -> np.ndarray:
    """The gray thumbnail (64, 64) uint8 of a picture file.

    Raises:
        DataError: It cannot be read.
    """
    return thumbnail(cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _guarded(read: Callable[[Path], Content], path: Path | None, root: Path, findings: list[Finding]) -> Content | None:
    """What ``read`` makes of a file, or None and a finding."""
    if path is None:
        return None
    try:
        return read(path)
    except DataError as error:
        reason = "0 bytes" if path.is_file() and path.stat().st_size == 0 else error.message
        findings.append(Finding("unreadable", _name(path, root), reason.replace(str(path), path.name)))
        return None


def _judge_values(path: Path, root: Path) -> list[Finding]:
    """How a readable mask file stores its object."""
    with open_image(path) as file:
        values, mode, lossy = np.asarray(file), file.mode, file.format in LOSSY
        ids = ids_of(file) if varying_alpha(file) is None else None
        if mode == "P" and has_gray_palette(file):
            values = np.asarray(file.convert("RGB"))
    name, found = _name(path, root), []
    if ids is not None:
        return _judge_ids(values if values.ndim == 2 else ids, mode, name)
    if values.ndim == 3:
        found.append(_judge_channels(values, mode, name))
        if not found[0].repairable:
            return found
        values = values[..., -1 if found[0].code == "alpha-mask" else 0]
    elif values.dtype.itemsize > 1:
        return [_judge_deep(values, mode, name)]
    if lossy:
        share = float(np.mean((values > 0) & (values < 255)))
        found.append(Finding("lossy-mask", name, f"{share:.1%} of the pixels are gray", repairable=True))
        return [*found, _faint(np.unique(values), name)] if 1 < values.max() <= MASK_THRESHOLD else found
    return [*found, *_judge_levels(np.asarray(values, np.uint8), mode, name)]


def _judge_channels(values: np.ndarray, mode: str, name: str) -> Finding:
    """A mask file (H, W, C) of several channels: its transparency is read where it varies, else the first one."""
    alpha = values[..., -1] if mode in ("LA", "RGBA", "PA") else None
    if alpha is not None and alpha.min() != alpha.max():
        return Finding("alpha-mask", name, f"mode {mode}, alpha from {alpha.min()} to {alpha.max()}", repairable=True)
    colours = values if alpha is None else values[..., :-1]
    above = colours > MASK_THRESHOLD
    if (above != above[..., :1]).any():
        share = float(np.mean((above != above[..., :1]).any(axis=-1)))
        return Finding("colours", name, f"mode {mode}, colours on {share:.1%} of the pixels")
    return Finding("colour-mask", name, f"mode {mode}", repairable=True)


def _judge_ids(ids: np.ndarray, mode: str, name: str) -> list[Finding]:
    """A mask (H, W) of ids: indices into a palette, gray values, or numbers of its colours; 0 is background."""
    found = [] if mode == "L" else [Finding("colour-mask", name, f"mode {mode}", repairable=True)]
    levels = np.unique(ids)
    if np.count_nonzero(levels) > 1:
        found.append(Finding("labels", name, f"holds the ids {', '.join(map(str, levels))}"))
    elif mode == "L":
        found.append(Finding("zero-one", name, "holds 0 and 1", repairable=True))
    return found


def _judge_deep(values: np.ndarray, mode: str, name: str) -> Finding:
    """The gray levels of a mask (H, W) of more than 8 bits."""
    levels = np.unique(values)
    if 1 < levels[-1] <= MASK_THRESHOLD:
        return _faint(levels, name)
    two = len(levels) <= 2
    text = "two values" if two else f"values up to {levels[-1]}, of which those above {MASK_THRESHOLD} are object"
    return Finding("deep-mask", name, f"mode {mode}, {text}", repairable=two)


def _faint(levels: np.ndarray, name: str) -> Finding:
    return Finding("faint-mask", name, f"holds {len(levels)} values, the highest is {levels[-1]}")


def _judge_levels(values: np.ndarray, mode: str, name: str) -> list[Finding]:
    """The gray levels of a lossless mask (H, W) of 8 bits."""
    levels = np.unique(values)
    high = int(levels[-1])
    if mode == "1" or set(levels.tolist()) <= {0, 255}:
        return []
    if high == 1:
        return [Finding("zero-one", name, "holds 0 and 1", repairable=True)]
    if high <= MASK_THRESHOLD:
        return [_faint(levels, name)]
    if len(levels) <= 2:
        return [Finding("off-white", name, f"holds {' and '.join(map(str, levels))}", repairable=True)]
    share = float(np.mean((values > 0) & (values < 255)))
    if len(levels) <= _LEVELS and share > _LEVEL_SHARE:
        return [Finding("labels", name, f"holds {', '.join(map(str, levels))}")]
    code = "soft-mask" if share > _SOFT else "soft-edges"
    return [Finding(code, name, f"{share:.1%} of the pixels are gray", repairable=True)]


def _judge_object(mask: np.ndarray, name: str) -> list[Finding]:
    """What a mask (H, W) bool says on its own."""
    area = int(mask.sum())
    if area == 0:
        return [Finding("empty", name, "no object")]
    if area == mask.size:
        return [Finding("full", name, "all is object")]
    if area < TINY:
        return [Finding("tiny", name, f"{area} pixels")]
    frame = float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
    if area > _COVERS * mask.size and frame > _AT_FRAME:
        return [Finding("inverted", name, f"covers {area / mask.size:.0%}, and {frame:.0%} of the frame")]
    return []


def _judge_picture(image: np.ndarray, files: Files, mask: np.ndarray | None, *, clear: bool) -> list[Finding]:
    """A picture, and its mask against it; ``clear`` tells whether the mask's values may be rewritten."""
    assert files.image is not None
    found = []
    name, stored = _name(files.image, files.root), stored_size(files.image)
    if stored != image.shape[:2]:
        found.append(Finding("exif", name, f"stored as {_size(stored)}, shown as {_size(image.shape)}"))
    if int(image.max()) - int(image.min()) < _FLAT:
        found.append(Finding("flat", name, f"all values are within {image.min()} to {image.max()}"))
    if mask is None or files.mask is None:
        return found
    mask_name = _name(files.mask, files.root)
    if mask.shape != image.shape[:2]:
        size = _judge_size(image.shape[:2], mask.shape, stored, mask_name)
        found.append(replace(size, repairable=size.repairable and clear))
    elif mask.any() and not mask.all() and (misfit := find_misfit(image, mask)):
        found.append(Finding("misaligned", mask_name, misfit.text))
    return found


def _judge_size(shape: tuple[int, ...], found: tuple[int, ...], stored: tuple[int, ...], name: str) -> Finding:
    """Why a mask of size ``found`` does not fit a picture of size ``shape`` (H, W)."""
    sizes = f"mask is {_size(found)}, its picture {_size(shape)}"
    if found == stored:
        return Finding("size", name, f"{sizes}: it fits the picture before its EXIF rotation")
    if found == shape[::-1]:
        return Finding("size", name, f"{sizes}: transposed")
    aspect = (found[1] * shape[0]) / (found[0] * shape[1])
    if abs(aspect - 1) <= SAME_ASPECT:
        return Finding("size", name, f"{sizes}: resized", repairable=True)
    return Finding("size", name, f"{sizes}: another aspect")


def _judge_extras(shape: tuple[int, ...], files: Files) -> list[Finding]:
    """The object ids and the ignored pixels that come with a pair; they are never repaired."""
    found: list[Finding] = []
    ignored = _guarded(read_mask, files.ignore, files.root, found)
    ids = _guarded(_read_ids, files.instances, files.root, found)
    for path, other in ((files.ignore, ignored), (files.instances, ids)):
        if path is not None and other is not None and other.shape[:2] != shape:
            size = _judge_size(shape, other.shape[:2], (), _name(path, files.root))
            found.append(replace(size, repairable=False))
    if ids is None or files.instances is None:
        return found
    name = _name(files.instances, files.root)
    if ids.ndim == 3:
        return [*found, Finding("ids", name, "holds more colours than objects may have, or lossy ones")]
    areas = np.unique(ids[ids > 0], return_counts=True)[1]
    if small := int((areas < TINY).sum()):
        found.append(Finding("tiny", name, f"{small} of {len(areas)} objects"))
    return found


def _read_ids(path: Path) -> np.ndarray:
    """Object ids (H, W), or (H, W, C) where the file holds colours instead."""
    try:
        with open_image(path) as file:
            ids = ids_of(file)
            ids = np.asarray(file) if ids is None else ids
    except DECODER_ERRORS as error:
        raise DataError(f"expected object ids at {path}: {one_line(error)}") from None
    colours = ids.ndim == 3 and np.any(ids[..., :3] != ids[..., :1])
    return ids if colours or ids.ndim == 2 else ids[..., 0]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
