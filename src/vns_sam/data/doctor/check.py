"""The dataset doctor: examines sets in the house layout (``data.pairs``), alone and against each other."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from vns_sam.data.doctor.duplicates import Picture, exact_duplicates, near_candidates, near_duplicates
from vns_sam.data.doctor.examine import Examination, Files, examine, read_thumbnail
from vns_sam.data.doctor.findings import KINDS, Finding
from vns_sam.data.pairs import LAYOUT_HINT, find_list, is_set, list_stems, listed_picture, set_folders
from vns_sam.data.splits import SPLITS
from vns_sam.errors import DataError
from vns_sam.images.read import EXTENSIONS
from vns_sam.runs.processes import end_pool, process_pool, worker_died

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""

_CHUNK = 8
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        sets: Number of pictures by folder of the set.
        findings: The most serious first, then by set and file.
    """

    sets: dict[str, int]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, with counts by code."""
        counts = Counter(finding.code for finding in self.findings)
        return {
            "sets": self.sets,
            "counts": {code: counts[code] for code in KINDS if counts[code]},
            "findings": [{"severity": str(f.severity), **asdict(f)} for f in self.findings],
        }


def find_sets(folder: str | os.PathLike[str]) -> list[Path]:
    """A folder that is a set (``pairs.is_set``), or those among its direct subfolders, hidden ones left out.

    Raises:
        DataError: There is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"expected a data set folder at {folder}, found no folder there", hint=LAYOUT_HINT)
    if is_set(folder):
        return [folder]
    sets = [path for path in sorted(folder.iterdir()) if is_set(path) and not path.name.startswith(".")]
    if not sets:
        foreign = (folder / "labels").is_dir() or any(folder.glob("*.json"))
        hint = f"vns-sam data import {folder} --out DIR" if foreign else LAYOUT_HINT
        raise DataError(f"expected images/ and masks/ in {folder} or in its folders, found none", hint=hint)
    return sets


def check(sets: Sequence[Path], *, flips: bool = False, workers: int = 1, progress: Progress | None = None) -> Report:
    """Examines every file of some sets and looks for pictures that occur twice.

    Args:
        sets: Of :func:`find_sets`.
        flips: Look for flipped and rotated copies, too.
        workers: Processes; one works without any other.
        progress: Told after each picture.

    Raises:
        DataError: No set holds a picture or mask.
        VnsSamError: A process has died.
    """
    sets = list(dict.fromkeys(path.resolve() for path in sets))
    findings: list[Finding] = []
    tasks: list[Files] = []
    splits: dict[Path, dict[str, str]] = {}
    for root in sets:
        listing, found = _list_files(root)
        splits[root], listed = _check_lists(root, {files.image.stem: files.image for files in listing if files.image})
        tasks += listing
        findings += [replace(finding, dataset=str(root)) for finding in (*found, *listed)]
    if not tasks:
        raise DataError(f"expected pictures in {set_folders(sets[0])[0]}, found none", hint=LAYOUT_HINT)
    with _mapper(min(workers, len(tasks) // _CHUNK), progress) as run:
        pictures = []
        for files, seen in zip(tasks, run("examine", examine, tasks), strict=True):
            findings += [replace(finding, dataset=str(files.root)) for finding in seen.findings]
            pictures += _picture(files, seen, splits[files.root])
        findings += exact_duplicates(pictures)
        pairs = near_candidates(pictures, flips=flips)
        paths = list(dict.fromkeys(p.path for first, second, _ in pairs for p in (first, second)))
        thumbnails = dict(zip(paths, run("compare", read_thumbnail, paths), strict=True))
        findings += near_duplicates(pairs, thumbnails)
    order = list(KINDS)
    findings.sort(key=lambda f: (order.index(f.code), f.dataset, f.file))
    counts = Counter(str(files.root) for files in tasks if files.image)
    return Report({str(root): counts[str(root)] for root in sets}, tuple(findings))


def _picture(files: Files, seen: Examination, splits: dict[str, str]) -> list[Picture]:
    """The picture for the search of duplicates, if there is a readable one."""
    if files.image is None or not seen.digest:
        return []
    split = splits.get(files.image.stem, "")
    return [Picture(str(files.root), files.image, split, seen.digest, seen.mask_digest, seen.hashes)]


def _list_files(root: Path) -> tuple[list[Files], list[Finding]]:
    """The files of each stem, and what their names say."""
    findings: list[Finding] = []
    folders = (*set_folders(root), root / "masks_instance", root / "masks_ignore")
    images, masks, instances, ignored = (_by_stem(folder, findings) for folder in folders)
    lonely = {stem.casefold(): stem for stem in masks if stem not in images}
    for stem in sorted(set(images) - set(masks)):
        name = _name(images[stem])
        other = lonely.pop(stem.casefold(), None)
        if other is None:
            findings.append(Finding("no-mask", name, f"expected a file {stem}.* in {folders[1].name}/"))
        else:
            findings.append(Finding("case", name, f"its mask is {_name(masks[other])}"))
    for stem in lonely.values():
        findings.append(Finding("no-picture", _name(masks[stem]), f"expected a file {stem}.* in {folders[0].name}/"))
    stems = sorted(set(images) | set(masks))
    rest = (instances.get, ignored.get)
    return [Files(root, images.get(s), masks.get(s), *(get(s) for get in rest)) for s in stems], findings


def _by_stem(folder: Path, findings: list[Finding]) -> dict[str, Path]:
    """Files of a folder by stem; stems that clash are reported."""
    files: dict[str, Path] = {}
    folded: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            continue
        name = _name(path)
        if path.stem in files:
            findings.append(Finding("same-stem", name, f"{files[path.stem].name} has the same stem"))
        elif path.stem.casefold() in folded:
            findings.append(Finding("case-clash", name, f"{folded[path.stem.casefold()].name} differs in case only"))
        files.setdefault(path.stem, path)
        folded.setdefault(path.stem.casefold(), path)
    return files


def _name(path: Path) -> str:
    """A picture, mask or list in a folder of its set, for findings."""
    return f"{path.parent.name}/{path.name}"


def _check_lists(root: Path, pictures: dict[str, Path]) -> tuple[dict[str, str], list[Finding]]:
    """The split of each listed stem, and what is wrong with the lists of ``SPLITS``; a line that names an object
    lists its picture.
    """
    findings = []
    places: dict[str, list[str]] = defaultdict(list)
    folded = {stem.casefold(): stem for stem in pictures}
    lists = {name: path for name in SPLITS if (path := find_list(root, name))}
    files = {name: path.relative_to(root).as_posix() for name, path in lists.items()}
    for name, path in lists.items():
        try:
            listed = Counter(list_stems(path))
        except DataError as error:
            findings.append(Finding("unreadable", files[name], error.message))
            continue
        for line, times in listed.items():
            stem, _ = listed_picture(line, pictures)
            if name not in places[stem]:
                places[stem].append(name)
            if stem not in pictures:
                near = folded.get(stem.casefold())
                text = f"'{line}' differs in case from '{near}'" if near else f"'{line}' has no picture"
                findings.append(Finding("list-missing", files[name], text, repairable=not near))
            if times > 1:
                findings.append(Finding("list-twice", files[name], f"'{line}' {times} times", repairable=True))
    for stem, found in places.items():
        if len(found) > 1:
            findings.append(Finding("in-both-lists", files[found[-1]], f"'{stem}' is in {found[0]}.txt, too"))
    if lists:
        unlisted = (_name(path) for stem, path in pictures.items() if stem not in places)
        findings += [Finding("unlisted", name, "") for name in unlisted]
    return {stem: found[0] for stem, found in places.items()}, findings


Mapper = Callable[[str, Callable[[Task], Result], Sequence[Task]], Iterator[Result]]


@contextmanager
def _mapper(workers: int, progress: Progress | None) -> Iterator[Mapper[Any, Any]]:
    """A function that maps over tasks, in this process or in others, and tells how far it is."""

    def told(what: str, results: Iterable[Any], total: int) -> Iterator[Any]:
        for done, result in enumerate(results, 1):
            if progress:
                progress(what, done, total)
            yield result

    if workers <= 1:
        yield lambda what, function, tasks: told(what, map(function, tasks), len(tasks))
        return
    pool = process_pool(workers)
    try:
        yield lambda what, function, tasks: told(what, pool.map(function, tasks, chunksize=_CHUNK), len(tasks))
    except BrokenProcessPool:
        raise worker_died() from None
    finally:
        end_pool(pool)
