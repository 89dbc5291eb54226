"""The label maps in a folder, found by the names of their pictures."""

from __future__ import annotations

import filecmp
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from vns_sam.images.find import EXTENSIONS

ENDINGS = ("_scribble", "_scribbles", "_label", "_labels", "_mask", "_trimap")
"""What a map may be called besides its picture, ``frog_scribble.png``."""

_LABEL_STUDIO = re.compile(r"task-\d+-annotation-\d+-by-")


class MapFiles:
    """The pictures below a folder of labels, by their paths without ending; of those that differ in it, a PNG is first.

    Args:
        folder: The labels.
    """

    def __init__(self, folder: Path) -> None:
        found = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
        files = sorted(
            (path for path in found if not path.name.startswith(".")),
            key=lambda path: (path.suffix.lower() == ".png", path),
            reverse=True,
        )
        self._folder = folder
        self._files: dict[str, list[Path]] = {}
        for path in files:
            self._files.setdefault(_key(path.relative_to(folder).with_suffix("").as_posix()), []).append(path)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def find(self, name: str, folder: Path | None = None) -> Path | None:
        """The map of picture ``name``, or None.

        Where the picture's folder is known, a file that is that picture, or has its content, is no map of it: tools
        such as labelme write beside pictures.
        """
        files = (path for key in _called(name) for path in self._files.get(key, ()))
        return next((path for path in files if folder is None or not _are_same(path, folder / name)), None)

    def without_picture(self, folder: Path, names: Iterable[str]) -> list[str]:
        """Maps, relative to the labels, that none of the pictures in a folder has; what lies there is none."""
        called = {key for name in names for key in _called(name)}
        left = sorted(path for key, paths in self._files.items() if key not in called for path in paths)
        pictures, labels = folder.resolve(), self._folder.resolve()
        lost = [path.relative_to(self._folder) for path in left]
        return [path.as_posix() for path in lost if not (labels / path).is_relative_to(pictures)]

    def name_tasks(self) -> bool:
        """Whether some are Label Studio's masks, which are called after tasks and do not tell the picture."""
        return any(_LABEL_STUDIO.match(PurePosixPath(key).name) for key in self._files)


def _called(name: str) -> tuple[str, ...]:
    """What the map of a picture may be called, without ending."""
    key = _key(name)
    stem = PurePosixPath(key).with_suffix("").as_posix()
    return (stem, key, *(f"{stem}{ending}" for ending in ENDINGS))


def _key(name: str) -> str:
    """A name by the rule of :mod:`vns_sam.images.names`: composed and decomposed letters are one."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _are_same(path: Path, picture: Path) -> bool:
    """Whether two files are one, or have one content."""
    try:
        return path.samefile(picture) or filecmp.cmp(path, picture, shallow=False)
    except OSError:
        return False
