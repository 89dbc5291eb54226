"""The label maps in a folder, found by the names of their pictures."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Iterator
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
        self._files: dict[str, list[Path]] = {}
        for path in files:
            self._files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)

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

    def name_tasks(self) -> bool:
        """Whether some are Label Studio's masks, which are called after tasks and do not tell the picture."""
        return any(_LABEL_STUDIO.match(PurePosixPath(key).name) for key in self._files)


def _called(name: str) -> tuple[str, ...]:
    """What the map of a picture may be called, without ending."""
    stem = PurePosixPath(name.replace("\\", "/")).with_suffix("").as_posix()
    return (stem, name, *(f"{stem}{ending}" for ending in ENDINGS))


def _are_same(path: Path, picture: Path) -> bool:
    """Whether two files are one, or have one content."""
    try:
        return path.samefile(picture) or filecmp.cmp(path, picture, shallow=False)
    except OSError:
        return False
