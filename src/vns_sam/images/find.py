"""The files of a folder; its pictures, and what was passed over in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vns_sam.errors import DataError

EXTENSIONS = frozenset(
    ".jpg .jpeg .jfif .jpe .png .webp .bmp .tif .tiff .gif .ppm .pgm .avif .jp2 .tga".split()  # noqa: SIM905
)
"""What a folder run takes for pictures; single files are judged by their content."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        names: Pictures, relative to it, sorted.
        left_out: How much of each kind was passed over: ``{".txt": 2, "hidden": 1}``.
    """

    names: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """One line about what was passed over, "" for nothing."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))


def folder_name(folder: Path) -> str:
    """A folder's name as it was given, which is that of a set: "." and ".." are resolved, links are not."""
    return Path(os.path.abspath(folder)).name


def find_images(folder: Path) -> list[str]:
    """Paths of all pictures below a folder, see :func:`list_images`.

    Raises:
        DataError: There is none.
    """
    return list(list_images(folder).names)


def list_images(folder: Path, skip: Callable[[Path], bool] | None = None) -> Listing:
    """The pictures below a folder, judged by their names; hidden files are left out.

    Links to folders are followed, but for those that lead into the folder itself, whose pictures are there already.

    Args:
        folder: Where to look.
        skip: Tells sub-folders that are passed over, such as those of results.

    Raises:
        DataError: There is no picture.
    """
    left_out: Counter[str] = Counter()
    names = sorted(path.relative_to(folder).as_posix() for path in _walk(folder, left_out, skip))
    if not names:
        found = f", found {Listing(left_out=left_out).told()}" if left_out else ""
        raise DataError(
            f"no picture in {folder}{found}", hint=f"expected files ending in {' '.join(sorted(EXTENSIONS))}"
        )
    return Listing(tuple(names), left_out)


def walk_files(
    root: Path, passed_over: Callable[[str], bool] = lambda name: False, skip: Collection[Path] = ()
) -> Iterator[Path]:
    """The files below a folder, folder by folder, each by name. Links are followed, and each folder is entered once.

    Args:
        root: The folder.
        passed_over: Tells names of files and folders that are left out.
        skip: Folders that are left out.
    """
    seen = {os.path.realpath(folder) for folder in skip}
    for folder, folders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not passed_over(name))
        files = (Path(folder, name) for name in sorted(names) if not passed_over(name))
        yield from (path for path in files if path.is_file())


def _walk(folder: Path, left_out: Counter[str], skip: Callable[[Path], bool] | None) -> Iterator[Path]:
    """Pictures; folders are gone through in the order in which they are found, without recursion."""
    root = os.path.realpath(folder)
    folders, seen = [folder], {root}
    for place in folders:
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            left_out["folder(s) that cannot be read"] += 1
            continue
        for entry in entries:
            path, suffix = place / entry.name, os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif entry.is_dir():
                if kind := _left_out(path, root, seen, skip):
                    left_out[kind] += 1
                else:
                    folders.append(path)
            elif suffix in EXTENSIONS:
                yield path
            else:
                left_out[suffix or "without an ending"] += 1


def _left_out(path: Path, root: str, seen: set[str], skip: Callable[[Path], bool] | None) -> str:
    """Why a sub-folder is passed over, "" if it is not; it counts as seen then."""
    real = os.path.realpath(path)
    if path.is_symlink() and (os.path.commonpath([real, root]) in (real, root) or real in seen):
        return "link(s) to a folder seen otherwise"
    if skip is not None and skip(path):
        return "folder(s) of results"
    seen.add(real)
    return ""
