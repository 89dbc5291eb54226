"""A set or a folder made dark: masks and lists kept, bad pictures told and passed over, a stopped run goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from vns_sam.data.beside import masks_beside, split_folders
from vns_sam.data.pairs import OBJECT_MARK, OBJECTS, picture_folder, set_folders
from vns_sam.errors import DataError
from vns_sam.images.find import EXTENSIONS, list_images
from vns_sam.images.read import file_digest, one_line, read_image
from vns_sam.images.write import link_or_copy, write_text
from vns_sam.lowlight.darkener import Darkened, Darkener
from vns_sam.lowlight.luminance import measure
from vns_sam.runs.job import Job, Result
from vns_sam.runs.plan import check_outside

MORE_MASKS = ("masks_instance", "masks_ignore", OBJECTS)
"""Folders of a set, beside the one of its masks, whose files go with the pictures."""

_MASKS = re.compile(r"gts?|masks?([_-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class DarkenRun:
    """What to make dark.

    Attributes:
        source: A set, see :mod:`vns_sam.data.pairs`, or a folder of pictures in any order.
        out: Where the result goes, laid out as the source is.
        names: The pictures, relative to ``source``.
        left_out: What else lies beside them, by kind.
        masks: Of a folder that is no set, the masks by their pictures, see :func:`vns_sam.data.beside.masks_beside`.
    """

    source: Path
    out: Path
    names: tuple[str, ...]
    left_out: str = ""
    masks: Mapping[str, str] = field(default_factory=dict)


def plan_run(source: Path, out: Path) -> DarkenRun:
    """Finds the pictures and checks that the output may be written.

    Raises:
        UsageError: The output is the source or lies inside it.
        DataError: There is no picture; the source has masks but not as a set has them, so that they would be made
            dark, too; or the output holds something else than an earlier run of this command.
    """
    if not source.is_dir():
        raise DataError(f"expected a set or a folder of pictures at {source}, found no folder there")
    check_outside(source, out, "dark")
    folder = picture_folder(source)
    known = {source / name for name in split_folders(source).values()} if folder == source else set()
    masks = [path for path in folder.rglob("*") if path.is_dir() and _MASKS.fullmatch(path.name) and path not in known]
    if masks:
        hint = "a set has its pictures in images/ and its masks in masks/"
        raise DataError(f"expected pictures only in {folder}, found the folder {masks[0]}", hint=hint)
    listing = list_images(folder)
    names = tuple((folder / name).relative_to(source).as_posix() for name in listing.names)
    if folder != source:
        return DarkenRun(source, out, names, listing.told())
    beside, lonely = masks_beside(source, names)
    pictures = tuple(name for name in names if name not in {*beside.values(), *lonely})
    told = [listing.told(), f"{len(lonely)} mask(s) without a picture" * bool(lonely)]
    return DarkenRun(source, out, pictures, ", ".join(filter(None, told)), beside)


@dataclass
class DarkenJob(Job[str]):
    """Makes the pictures of a set dark; a line tells ``image``, ``identity``, ``parameters``, ``before``, ``after``.

    Attributes:
        darken_run: What to make dark.
        darkener: How; picklable where others work.
    """

    darken_run: DarkenRun
    darkener: Darkener

    verb: ClassVar[str] = "data darken"
    item_field: ClassVar[str] = "source"
    timed: ClassVar[bool] = True

    @property
    @override
    def out(self) -> Path:
        return self.darken_run.out

    @cached_property
    @override
    def items(self) -> Sequence[str]:
        return [name for name in self.darken_run.names if name not in self.refused]

    @cached_property
    @override
    def refused(self) -> Mapping[str, str]:
        taken: dict[str, str] = {}
        first = {name: taken.setdefault(self._image(name).casefold(), name) for name in self.darken_run.names}
        reason = "a picture of that name was there before"
        return {name: f"{self._path(name)}: {reason}, {other}" for name, other in first.items() if other != name}

    @property
    @override
    def left_out(self) -> str:
        return self.darken_run.left_out

    @override
    def name(self, item: str) -> str:
        return item

    @override
    def inputs(self, item: str) -> Sequence[Path]:
        return [self._path(item)]

    @override
    def outputs(self, item: str) -> Sequence[str]:
        return [self._image(item)]

    @override
    def closing(self) -> Sequence[str]:
        return [*self.darken_run.masks.values()]

    @override
    def asked(self) -> Mapping[str, Any]:
        return self.darkener.identity

    @override
    def key(self, item: str) -> str:
        return file_digest(self._path(item))[:16]

    @override
    def read(self, item: str) -> np.ndarray:
        return read_image(self._path(item))

    @override
    def work(self, item: str, content: np.ndarray) -> tuple[np.ndarray, Darkened]:
        return content, self.darkener(content, str(PurePosixPath(item).with_suffix("")))

    @override
    def encode(self, item: str, answer: tuple[np.ndarray, Darkened]) -> Result:
        bright, dark = answer
        fields = {
            "image": self._image(item),
            "identity": self.darkener.identity,
            "parameters": dark.parameters,
            "before": asdict(measure(bright)),
            "after": asdict(measure(dark.image)),
        }
        try:
            return Result({self._image(item): dark.encode()}, fields)
        except OSError as error:  # a JPEG has at most 65,500 pixels a side
            raise DataError(f"{self._path(item)}: {one_line(error)}") from None

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        run, names = self.darken_run, [line["source"] for line in done]
        for mask in (run.masks[name] for name in names if name in run.masks):
            link_or_copy(run.source / mask, run.out / mask)
        if picture_folder(run.source) != run.source:
            _copy_masks(run, names)
        elif not run.masks:
            return
        _copy_lists(run, names, list(failed))

    @override
    def portable(self, device: str = "") -> Self:
        settled = replace(self.darken_run, source=self.darken_run.source.resolve(), out=self.out.resolve())
        return replace(self, darken_run=settled)

    def _path(self, name: str) -> Path:
        return self.darken_run.source / name

    def _image(self, name: str) -> str:
        return str(PurePosixPath(name).with_suffix(self.darkener.suffix))


def _copy_masks(darken_run: DarkenRun, names: Sequence[str]) -> None:
    """Puts the masks of a set's finished pictures beside them."""
    source, out = darken_run.source, darken_run.out
    done = {Path(name).stem for name in names}
    for folder in (set_folders(source)[1].name, *MORE_MASKS):
        files = [path for path in sorted((source / folder).glob("*")) if path.is_file() and path.stem in done]
        for path in files:
            link_or_copy(path, out / folder / path.name)
        now, stems = {path.name.casefold() for path in files}, {path.stem for path in files}
        for path in (out / folder).glob("*"):
            is_second = path.suffix.lower() in EXTENSIONS and path.stem in stems
            if is_second and path.name.casefold() not in now and path.is_file():  # under the name that it had earlier
                path.unlink()


def _copy_lists(darken_run: DarkenRun, names: Sequence[str], failures: Sequence[str]) -> None:
    """Puts the lists, without the pictures that failed, beside the others."""
    source, out = darken_run.source, darken_run.out
    failed = {Path(name).stem for name in failures} - {Path(name).stem for name in names}
    for path in sorted([*source.glob("*.txt"), *source.glob("list/*.txt")]):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if not _named(line.strip()) & failed]
        write_text(out / path.relative_to(source), "".join(f"{line}\n" for line in kept))


def _named(line: str) -> set[str]:
    """What a line of a list may name: a stem, a file, or an object of a picture."""
    return {line, Path(line).stem, line.rpartition(OBJECT_MARK)[0]}
