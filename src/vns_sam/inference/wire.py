"""Prompts and answers as bytes, between a model behind HTTP and whoever asks it: npz archives of plain arrays."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from vns_sam.errors import DataError
from vns_sam.sam.answers import MapAnswers
from vns_sam.types import Answers, Geometry, Prompts, Size

FIELDS = ("boxes", "points", "labels", "masks")
SHARES = (np.arange(256) / 255).astype(np.float32)
"""What masks of whole numbers say, as :func:`vns_sam.prompts.validate.make_prompts` takes them."""
BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError, RuntimeError)
"""What reading a damaged archive raises."""


@dataclass(frozen=True)
class PlainAnswers(Answers):
    """Answers at the size of their pictures.

    Attributes:
        values: For each row its logits (H, W) float32.
        scores: (P,) float32 predicted IoU.
        alphas: For each row (H, W) float32 in [0, 1], or none at all.
        offered: By row the masks to choose from: their scores (M,) and their logits (M, H, W), both float32. A row that
            is not there has its answer alone.
    """

    values: tuple[np.ndarray, ...]
    scores: np.ndarray
    alphas: tuple[np.ndarray, ...] = ()
    offered: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.logits`."""
        return _resized(self.values[row], size)

    def alpha(self, row: int, size: Size | None = None) -> np.ndarray | None:
        """See :meth:`vns_sam.types.Answers.alpha`."""
        return _resized(self.alphas[row], size) if self.alphas else None

    def candidate_scores(self, row: int) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate_scores`."""
        return self.offered[row][0] if row in self.offered else super().candidate_scores(row)

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        """See :meth:`vns_sam.types.Answers.candidate`."""
        return _resized(self.offered[row][1][number], size) if row in self.offered else self.logits(row, size)


def pack_prompts(prompts: Prompts | None, *, candidates: bool = False, look_again: bool = False) -> bytes:
    """A question about one picture."""
    given = {} if prompts is None else {name: getattr(prompts, name) for name in FIELDS}
    arrays = {name: value for name, value in given.items() if value is not None}
    if "masks" in arrays:
        arrays["masks"] = _as_bytes(arrays["masks"])
    return pack({**arrays, "options": np.array([candidates, look_again])}, compressed=True)


def unpack_prompts(content: bytes, ceiling: int) -> tuple[Prompts | None, bool, bool]:
    """Inverse of :func:`pack_prompts`: prompts, whether candidates are wanted, whether to look again.

    Raises:
        DataError: It is no question, or larger than ``ceiling`` bytes.
        PromptError: The parts do not belong together.
    """
    try:
        arrays = unpack(content, ceiling)
    except MemoryError:
        raise DataError("expected a question, found an array that says it is larger than its archive") from None
    options = arrays.pop("options", np.zeros(2, bool))
    if not set(arrays) <= set(FIELDS) or options.shape != (2,):
        raise DataError(f"expected a question of {', '.join(FIELDS)}, found {', '.join(sorted(arrays))[:100]}")
    kinds = {name: np.dtype(np.int64 if name == "labels" else np.float32) for name in arrays}
    _judge(sum(value.size * kinds[name].itemsize for name, value in arrays.items()), ceiling)
    if any(value.dtype.kind not in "fiub" or not np.isfinite(value).all() for value in arrays.values()):
        raise DataError("expected finite numbers in a question")
    if "masks" in arrays and arrays["masks"].dtype == np.uint8:
        arrays["masks"] = SHARES[arrays["masks"]]
    given: dict[str, Any] = {name: value.astype(kinds[name], copy=False) for name, value in arrays.items()}
    return Prompts(**given) if given else None, bool(options[0]), bool(options[1])


def pack_answers(answers: Answers) -> bytes:
    """Answers about one picture: a network's maps as they are, others at full size."""
    if isinstance(answers, MapAnswers):
        named = {
            "mask_logits": answers.mask_logits,
            "edge_logits": answers.edge_logits,
            "candidate_logits": answers.candidate_logits,
            "candidate_iou": answers.candidate_iou,
        }
        maps = {name: _numpy(value) for name, value in named.items() if value is not None}
        return pack({**maps, "scores": answers.scores, "geometry": Geometry.pack(answers.geometry)})
    arrays = {"scores": answers.scores}
    for row in range(len(answers)):
        arrays[f"logits.{row}"] = answers.logits(row)
        alpha = answers.alpha(row)
        if alpha is not None:
            arrays[f"alpha.{row}"] = alpha
        offered = answers.candidate_scores(row)
        if not np.array_equal(offered, answers.scores[row : row + 1]):
            arrays[f"candidate_scores.{row}"] = offered
            arrays[f"candidates.{row}"] = np.stack([answers.candidate(row, number) for number in range(len(offered))])
    return pack(arrays)


def unpack_answers(content: bytes) -> Answers:
    """Inverse of :func:`pack_answers`.

    Raises:
        DataError: These are no answers.
        UsageError: They are those of an earlier version.
    """
    arrays = unpack(content)
    try:
        scores = arrays["scores"]
        if "mask_logits" not in arrays:
            rows = range(len(scores))
            alphas = tuple(arrays[f"alpha.{row}"] for row in rows if f"alpha.{row}" in arrays)
            offered = {
                row: (arrays[f"candidate_scores.{row}"], arrays[f"candidates.{row}"])
                for row in rows
                if f"candidate_scores.{row}" in arrays
            }
            return PlainAnswers(tuple(arrays[f"logits.{row}"] for row in rows), scores, alphas, offered)
        geometry = Geometry.unpack(arrays["geometry"])
        rest = (arrays.get(name) for name in ("edge_logits", "candidate_logits", "candidate_iou"))
        return MapAnswers(arrays["mask_logits"], scores, geometry, *rest)
    except KeyError as error:
        raise DataError(f"the server's answer lacks {error}", hint="use one version on both sides") from None


def join_answers(parts: Sequence[Answers]) -> Answers:
    """Answers to several questions as one, in order."""
    return parts[0] if len(parts) == 1 else _Joined(tuple(parts))


class _Joined(Answers):
    """Several answers, one after the other."""

    def __init__(self, parts: tuple[Answers, ...]) -> None:
        self._at = [(part, row) for part in parts for row in range(len(part))]
        self.scores = np.concatenate([part.scores for part in parts])

    def logits(self, row: int, size: Size | None = None, *, direct: bool = False) -> np.ndarray:
        part, at = self._at[row]
        return part.logits(at, size, direct=direct)

    def edges(self, row: int, size: Size | None = None) -> np.ndarray | None:
        part, at = self._at[row]
        return part.edges(at, size)

    def alpha(self, row: int, size: Size | None = None) -> np.ndarray | None:
        part, at = self._at[row]
        return part.alpha(at, size)

    def candidate_scores(self, row: int) -> np.ndarray:
        part, at = self._at[row]
        return part.candidate_scores(at)

    def candidate(self, row: int, number: int, size: Size | None = None) -> np.ndarray:
        part, at = self._at[row]
        return part.candidate(at, number, size)


def pack(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    """Arrays as an npz archive.

    Raises:
        DataError: One holds Python objects.
    """
    if odd := [name for name, value in arrays.items() if np.asarray(value).dtype.hasobject]:
        raise DataError(f"expected arrays of numbers to send, found Python objects in '{odd[0]}'")
    out, named = io.BytesIO(), dict[str, Any](arrays)
    save = np.savez_compressed if compressed else np.savez
    save(out, **named)  # NumPy 2.0 takes allow_pickle for the name of an array
    return out.getvalue()


def unpack(content: bytes, ceiling: int | None = None) -> dict[str, np.ndarray]:
    """Arrays of an npz archive, whose size as it is unpacked is judged before anything is.

    Raises:
        DataError: It is none, or larger than ``ceiling`` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
            raise ValueError("packed as NumPy packs nothing")
        _judge(sum(entry.file_size for entry in entries), ceiling)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except BROKEN as error:
        raise DataError(f"expected an npz archive of arrays, found something else ({type(error).__name__})") from None


def _judge(size: int, ceiling: int | None) -> None:
    if ceiling is not None and size > ceiling:
        raise DataError(f"an archive of {size} bytes, expected {ceiling} at most")


def _as_bytes(masks: np.ndarray) -> np.ndarray:
    """Masks in [0, 1] as bytes, where these say the same: as those of files and of models do. Others as they are."""
    values = np.round(masks * np.float32(255)).astype(np.uint8)
    return values if np.array_equal(SHARES[values], masks) else masks


def _numpy(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value.float().cpu().numpy())


def _resized(values: np.ndarray, size: Size | None) -> np.ndarray:
    if size is None or values.shape == size:
        return values
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
