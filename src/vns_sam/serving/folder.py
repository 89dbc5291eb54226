"""A folder of pictures that is labelled in the page: what was done is kept beside the masks, one file a picture."""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.find import find_images, folder_name
from vns_sam.images.read import read_image
from vns_sam.images.write import remove_file, unwritable, write_mask, write_text
from vns_sam.serving.masks import read_mask
from vns_sam.serving.problems import Problem, changed_elsewhere, not_in_folder
from vns_sam.serving.schemas import Annotations, Folder, FolderRow, spelt

logger = logging.getLogger(__name__)


class Work(NamedTuple):
    """What was done on a picture.

    Attributes:
        path: The file that holds it, or that will.
        saved: What is there; None where that is not about this picture, or cannot be understood.
        left_out: What there is that may be about this picture and is not taken, and why; "" where there is none.
    """

    path: Path
    saved: Annotations | None
    left_out: str = ""


class Project:
    """A folder of pictures and the folder of their masks.

    For ``sub/frog.jpg`` the output holds ``sub/frog.json``, all that the page knows of it, and ``sub/frog.png``, the
    union of its masks as 0 and 255; beside a ``sub/frog.png`` they are ``sub/frog.jpg.json`` and ``sub/frog.jpg.png``.
    The file says which picture it is about and stays where it is when another of the same stem comes or goes.

    Clients name pictures by a key, never by a path or a place in the list: a page that is still open when another
    folder is served, or this one with other pictures, means the picture that it shows.

    Args:
        root: The pictures.
        out: The output; made when the first picture is saved.

    Raises:
        DataError: There is no picture, or the output lies where the pictures are.
    """

    def __init__(self, root: Path, out: Path) -> None:
        if out.resolve() == root.resolve():
            raise DataError("masks beside the pictures would be taken for pictures", hint="--out masks/")
        below = out.resolve()
        self.root, self.out = root, out
        self.names = [name for name in find_images(root) if below not in (root / name).resolve().parents]
        if not self.names:
            raise DataError(f"no picture in {root}")
        self._targets = _targets(self.names)
        self.key = _key(root.resolve())
        self.keys = [_key(root.resolve(), name, below) for name in self.names]
        self._indices = {key: index for index, key in enumerate(self.keys)}
        self._writing = Lock()

    def listing(self) -> Folder:
        """All pictures, and how many objects each has."""
        named = enumerate(zip(self.keys, self.names, strict=True))
        rows = [FolderRow(key=key, name=name, objects=self._count(index)) for index, (key, name) in named]
        return Folder(name=folder_name(self.root), key=self.key, pictures=rows)

    def index(self, key: str) -> int:
        """Where the picture of a key is among the names.

        Raises:
            Problem: No picture of this folder has that key.
        """
        if key not in self._indices:
            raise not_in_folder()
        return self._indices[key]

    def read(self, index: int) -> np.ndarray:
        """Pixels (H, W, 3) of picture ``index``.

        Raises:
            DataError: It cannot be read.
        """
        return read_image(self.root / self.names[index])

    def annotations(self, index: int) -> Annotations:
        """What was saved for picture ``index``; nothing where no file is, or one that holds something else or is about
        another picture, which is logged and kept by the next save.

        Raises:
            DataError: The file cannot be read.
        """
        work = self._work(index)
        if work.left_out:
            logger.warning("%s", work.left_out)
        return work.saved or Annotations()

    def save(self, index: int, annotations: Annotations, size: tuple[int, int], base: float | None = None) -> None:
        """Writes both files of picture ``index``, whose size is (H, W), each whole or not at all, one save at a time.
        Files there that no save of this version has written are kept under other names, which is logged.

        Args:
            index: Of the picture.
            annotations: What replaces what is there.
            size: (H, W) of the picture.
            base: ``saved_at`` of what the client went on from, 0 for nothing; None replaces whatever is there. A file
                that is gone or damaged, or whose own ``saved_at`` is 0, is replaced from any base.

        Raises:
            Problem: A mask is not of this size, or somebody else has saved since.
            DataError: The place cannot be read or written.
        """
        mask = _union(annotations, size)
        with self._writing:
            path, found, _ = self._work(index)
            if base is not None and (found or Annotations()).saved_at not in (0, base, annotations.saved_at):
                raise changed_elsewhere(self.names[index])
            if found is None or not path.is_file():
                _keep_others(path)
            named = annotations.model_copy(update={"picture": _called(self.names[index])})
            write_text(path, named.model_dump_json() + "\n")
            png = path.with_suffix(".png")
            if mask is not None:
                write_mask(png, mask)
            else:
                remove_file(png)

    def masks(self, index: int) -> list[np.ndarray]:
        """The masks (H, W) bool that were saved for picture ``index``; those that are damaged, empty or of another size
        than the first are left out.
        """
        rles = [item.mask.model_dump() for item in self.annotations(index).objects if item.mask is not None]
        found, first = [], None
        for rle in rles:
            size = (rle["size"][0], rle["size"][1])
            with suppress(Problem):
                if first not in (None, size):
                    continue
                mask, first = read_mask(rle, size), size
                if mask.any():
                    found.append(mask)
        return found

    def _work(self, index: int) -> Work:
        """What names picture ``index``, else what lies where its files go now and names none. Where that is another's,
        the picture's files go to its other place if nothing is there.

        Raises:
            DataError: A file cannot be read.
        """
        name = self.names[index]
        there: dict[Path, Annotations | None] = {}
        for place in dict.fromkeys((self._targets[index], str(Path(name).with_suffix("")), name)):
            path = self.out / f"{place}.json"
            saved = there[path] = _saved(path)
            if saved is not None and saved.picture == _called(name):
                return Work(path, saved)
        (path, saved), *others = there.items()
        if saved is None:
            return Work(path, None, f"{path} holds no annotations of this version and is left out")
        if saved.picture:
            told = (
                f"{path} is about {saved.picture} and is left out for {name}: empty its 'picture' if it is about that"
            )
            free = next((other for other, _ in others if not other.exists()), None)
            return Work(path, None, told) if free is None else Work(free, Annotations(), told)
        unnamed = [other for other, each in others if each is not None and each.objects and not each.picture]
        if path.exists() or not unnamed:
            return Work(path, saved)
        told = f"{unnamed[0]} names no picture and is left out for {name}"
        return Work(path, saved, f"{told}: rename it to {path.name} if it is about that, and its .png likewise")

    def _count(self, index: int) -> int:
        try:
            return len(self.annotations(index).objects)
        except DataError as error:  # told again when the picture is opened
            logger.warning("%s", error.message)
            return 0


def _called(name: str) -> str:
    """What a file of annotations calls a picture of the folder beside it."""
    return unicodedata.normalize("NFC", spelt(Path(name).name))


def _key(*places: str | Path) -> str:
    return hashlib.sha256(b"\0".join(map(os.fsencode, places))).hexdigest()[:16]


def _union(annotations: Annotations, size: tuple[int, int]) -> np.ndarray | None:
    """All masks of a picture of (H, W) pixels as one; they are made one after the other, so that many take no more
    memory than two. None where there is no mask.

    Raises:
        Problem: One is no mask of this size.
    """
    whole = None
    for item in annotations.objects:
        if item.mask is not None:
            mask = read_mask(item.mask.model_dump(), size)
            whole = mask if whole is None else np.logical_or(whole, mask, out=whole)
    return whole


def _saved(path: Path) -> Annotations | None:
    """What a file holds: nothing where there is none, None where it holds something else.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return Annotations.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Annotations()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"cannot read {path}: {reason}", hint="look at what lies there") from None
    except ValueError:
        return None


def _keep_others(path: Path) -> None:
    """Gives what lies where a picture's two files go other names, and logs it: a file of annotations that is damaged,
    of another version or of another picture, with its mask, or a mask without annotations.

    Raises:
        OutputError: The place cannot be written.
    """
    kept = [_rename(each) for each in (path, path.with_suffix(".png")) if each.is_file()]
    if kept:
        logger.warning("found files that are not of this version or picture, kept as %s", " and ".join(map(str, kept)))


def _rename(path: Path) -> Path:
    """Moves a file to the first of ``NAME.kept``, ``NAME.kept-2``, ... that is free.

    Raises:
        OutputError: The place cannot be written.
    """
    for number in count(1):
        target = path.with_name(f"{path.name}.kept" + (f"-{number}" if number > 1 else ""))
        try:
            target.open("x").close()  # taken, so that nobody else replaces it
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(target, error) from None
    try:
        return path.replace(target)
    except OSError as error:
        remove_file(target)
        raise unwritable(target, error) from None


def _targets(names: list[str]) -> list[str]:
    """Where each picture's files go: its path without suffix, or with it where two would share a place."""
    stems = [str(Path(name).with_suffix("")) for name in names]
    lower = [stem.lower() for stem in stems]
    return [stem if lower.count(stem.lower()) == 1 else name for stem, name in zip(stems, names, strict=True)]
