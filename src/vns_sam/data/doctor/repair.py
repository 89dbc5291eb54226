"""Repairs of a data set that change nothing for readers of this package, except masks that were resized.

Masks become 8-bit PNG of 0 and 255, just as ``pairs.read_mask`` reads them. Pictures are never touched and pairs
never removed. Originals are kept in ``<set>/.doctor/originals``, and ``<set>/.doctor/log.jsonl`` tells each
repair.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vns_sam.data.doctor.check import Progress
from vns_sam.data.doctor.findings import Finding
from vns_sam.data.pairs import list_stems, listed_picture, read_mask, set_folders
from vns_sam.errors import DataError
from vns_sam.images.read import EXTENSIONS, read_image
from vns_sam.images.write import atomic_path, write_mask, write_text

ARCHIVE = ".doctor"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Action:
    """What became of one repairable finding.

    Attributes:
        finding: What was found.
        result: The file as it is now, relative to the set.
        original: Where the file as it was is kept, relative to the set.
        error: Why it was not repaired, or "".
    """

    finding: Finding
    result: str = ""
    original: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """A line of the log."""
        return asdict(self)


def repair(findings: Iterable[Finding], progress: Progress | None = None) -> list[Action]:
    """Mends all findings that are repairable; a second time there is nothing left to do.

    A file that cannot be repaired is told in its action and left as it was.

    Args:
        findings: Of :func:`vns_sam.data.doctor.check`.
        progress: Told after each file.
    """
    by_file: dict[Path, dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        if finding.repairable:
            by_file[Path(finding.dataset)][finding.file].append(finding)
    actions: list[Action] = []
    total, done = sum(map(len, by_file.values())), 0
    for root, files in by_file.items():
        pictures = {path.stem: path for path in set_folders(root)[0].iterdir() if path.suffix.lower() in EXTENSIONS}
        for file, found in files.items():
            actions += _mend(root, root / file, found, pictures)
            done += 1
            if progress:
                progress("repair", done, total)
    return actions


def _mend(root: Path, path: Path, findings: Sequence[Finding], pictures: Mapping[str, Path]) -> list[Action]:
    """Mends one file and keeps its original; one action for each finding."""
    try:
        original = _keep(root, path)
        if path.suffix == ".txt":
            result = _clean_list(path, pictures)
        else:
            resized = any(finding.code == "size" for finding in findings)
            result = _rewrite_mask(path, pictures[path.stem] if resized else None)
        names = [file.relative_to(root).as_posix() for file in (result, original)]
        actions = [Action(finding, *names) for finding in findings]
        _log(root, actions)
    except (DataError, OSError) as error:
        return [Action(finding, error=str(error)) for finding in findings]
    return actions


def _rewrite_mask(path: Path, picture: Path | None) -> Path:
    """Writes a mask as PNG of 0 and 255, at the size of its picture if one is given."""
    mask = read_mask(path)
    if picture is not None:
        height, width = read_image(picture).shape[:2]
        mask = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    target = path.with_suffix(".png")
    if target != path and target.exists() and not np.array_equal(read_mask(target), mask):
        raise DataError(f"expected no file at {target}, found another mask", hint="keep one of the two")
    write_mask(target, mask)
    if target != path:  # a run that was stopped here finds two masks that are equal
        path.unlink()
    return target


def _clean_list(path: Path, pictures: Iterable[str]) -> Path:
    """Drops the lines without picture from a list, and all but the first of each that occurs twice."""
    known = {stem.casefold() for stem in pictures}
    lines = [line for line in dict.fromkeys(list_stems(path)) if listed_picture(line.casefold(), known)[0] in known]
    if not lines:
        raise DataError(f"expected a stem with a picture in {path}, found none", hint="the list is of another set")
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def _keep(root: Path, path: Path) -> Path:
    """Copies a file to the archive, where the same content is kept once."""
    folder = root / ARCHIVE / "originals" / path.parent.relative_to(root)
    number = 0
    while True:
        kept = folder / (f"{path.stem}.{number}{path.suffix}" if number else path.name)
        if not kept.exists():
            break
        if filecmp.cmp(kept, path, shallow=False):
            return kept
        number += 1
    with atomic_path(kept) as part:
        shutil.copy2(path, part)
    return kept


def _log(root: Path, actions: Iterable[Action]) -> None:
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with (root / ARCHIVE / LOG).open("a", encoding="utf-8") as log:
        log.writelines(json.dumps({"time": when, **action.to_json()}) + "\n" for action in actions)
        log.flush()
        os.fsync(log.fileno())
