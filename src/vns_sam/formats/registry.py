"""The formats by name, and what a run needs of them: names before the work, bytes after it, one file for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from typing_extensions import override

from vns_sam.errors import UsageError
from vns_sam.formats.result import Files, Result
from vns_sam.images.write import atomic_path, link_or_copy
from vns_sam.types import Prediction


class Format(Protocol):
    """A module that writes one format.

    Attributes:
        NAME: As on the command line.
        ENDING: What follows the picture's stem in names of files.
        NUMBERED: True in those whose files hold numbers of classes.
    """

    NAME: str
    ENDING: str

    def plan(self, stem: str, name: str, objects: int) -> list[str]:
        """Names of the files of one picture, ``name``, of which so many objects are asked."""
        ...

    def encode(self, result: Result, paths: Sequence[str]) -> Files:
        """The files of one picture under the names that were planned."""
        ...


class SetFormat(Format, Protocol):
    """A module that writes files for a whole run, too."""

    def set_files(self, categories: Mapping[int, str]) -> list[str]:
        """Their names."""
        ...

    def merge(self, pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
        """Their contents, from the first file of each picture."""
        ...


class _Formats(Mapping[str, Format]):
    """The modules of the formats by name, each imported when it is first asked for: a PNG waits for no other."""

    _names = (
        *("png", "coco", "yolo", "labelme", "labelstudio", "cvat", "voc"),
        *("geojson", "svg", "cutout", "indexed", "npz", "alpha", "candidates"),
    )

    @override
    def __getitem__(self, name: str) -> Format:
        if name not in self:
            raise KeyError(name)
        return cast(Format, import_module(f"vns_sam.formats.{name}"))

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._names

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @override
    def __len__(self) -> int:
        return len(self._names)


FORMATS: Mapping[str, Format] = _Formats()
"""All of them."""


def _with_set(name: str) -> SetFormat | None:
    """A format that has files of a whole run; None for another."""
    module = FORMATS[name]
    return cast(SetFormat, module) if hasattr(module, "merge") else None


def suffix_of(name: str) -> str:
    """The suffix of a format's files: ``.png``."""
    return PurePosixPath(f"x{FORMATS[name].ENDING}").suffix


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats that are asked for, each once.

    Raises:
        UsageError: One is unknown.
    """
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"unknown format '{name}'", hint=f"--format {' '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


def plan_outputs(
    name: str, formats: Sequence[str], objects: int = 1, *, stem: str | None = None, in_set: bool = True
) -> dict[str, list[str]]:
    """Names of all files of one picture, by format, known before it is read.

    Args:
        name: The picture, relative to its folder, with ``/``.
        formats: See :data:`FORMATS`.
        objects: How many objects are asked for.
        stem: What the names begin with; the picture's path without suffix when None.
        in_set: Whether it is one of many pictures; YOLO then lies as its trainers want it.
    """
    stem = PurePosixPath(name).with_suffix("").as_posix() if stem is None else stem
    planned = {}
    for kind in formats:
        module = FORMATS[kind]
        plan = getattr(module, "plan_in_set", module.plan) if in_set else module.plan
        planned[kind] = plan(stem, name, objects)
    return planned


def plan_set(formats: Sequence[str], categories: Mapping[int, str]) -> list[str]:
    """Names of the files that a whole run adds: one set of all pictures, lists of classes."""
    return [name for kind in formats if (module := _with_set(kind)) for name in module.set_files(categories)]


def encode(result: Result, plan: Mapping[str, Sequence[str]]) -> Files:
    """The files of one picture in all formats of a plan, see :func:`plan_outputs`.

    Raises:
        UsageError: The result lacks what a format shows (the picture, an alpha map).
    """
    files: Files = {}
    for kind, paths in plan.items():
        files |= FORMATS[kind].encode(result, paths)
    return files


def merge(kind: str, pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
    """The files of a whole run in one format, from the first file of each picture; none where it has no such file."""
    module = _with_set(kind)
    return module.merge(pictures, categories) if module else {}


def merges(kind: str) -> bool:
    """Whether a format has files of a whole run."""
    return _with_set(kind) is not None


def numbers_classes(formats: Sequence[str]) -> bool:
    """Whether files in one of some formats hold numbers of classes, which those of a whole run have to share."""
    return any(getattr(FORMATS[kind], "NUMBERED", False) for kind in formats if kind in FORMATS)


def write_files(out: Path, files: Files) -> list[Path]:
    """Writes files below a folder, each whole or not at all.

    Raises:
        DataError: The place cannot be written.
    """
    for name, content in files.items():
        if isinstance(content, Path):
            link_or_copy(content, out / name)
        else:
            with atomic_path(out / name) as part:
                part.write_bytes(content)
    return [out / name for name in files]


BY_SUFFIX = {
    ".png": "png",
    ".json": "coco",
    ".txt": "yolo",
    ".geojson": "geojson",
    ".svg": "svg",
    ".npz": "npz",
    ".xml": "voc",
}
"""The format that a file's name stands for; others are named."""


def save(
    prediction: Prediction, path: str | Path, kind: str | None = None, *, name: str = "", **more: Any
) -> list[Path]:
    """Writes a prediction to a file, or to several where the format has one for each object.

    Args:
        prediction: Masks of one picture.
        path: The file; of several, ``_0``, ``_1`` ... are added to its name.
        kind: A format of :data:`FORMATS`; by the file's suffix when None.
        name: Of the picture, as formats name it; the file's stem when empty.
        **more: Further fields of :class:`vns_sam.formats.result.Result`: ``categories``, ``pixels``, ``simplify``.

    Returns:
        The files that were written.

    Raises:
        UsageError: The format is not known, or needs the picture's ``pixels``.
        DataError: The place cannot be written.
    """
    path = Path(path)
    kind = kind or BY_SUFFIX.get(path.suffix.lower())
    if kind is None or kind not in FORMATS:
        raise UsageError(f"expected a format for {path}, found '{kind or path.suffix}'", hint=", ".join(FORMATS))
    result = Result(name or path.stem, prediction, out=path.parent, **more)
    planned = FORMATS[kind].plan(path.stem, path.name, len(prediction))
    names = [path.name] if len(planned) == 1 else [f"{path.stem}_{i}{path.suffix}" for i in range(len(planned))]
    return write_files(path.parent, FORMATS[kind].encode(result, names))
