"""Folders and archives as one thing: a tree of files that can be listed and read, and is never written to."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from vns_sam.errors import DataError
from vns_sam.images.find import walk_files
from vns_sam.images.write import atomic_path

logger = logging.getLogger(__name__)

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
FOREIGN_ARCHIVES = (".rar", ".7z", ".001", ".z01")
_PIECE = re.compile(r"-\d{3}(?=\.zip$)", re.IGNORECASE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
READ_ERRORS = (OSError, RuntimeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
"""What reading a member may raise."""


@dataclass(frozen=True)
class Member:
    """One file of a tree.

    Attributes:
        tree: Where it is.
        name: Its path in the tree, with slashes.
        size: In bytes.
    """

    tree: Tree
    name: PurePosixPath
    size: int

    @property
    def label(self) -> str:
        """For messages: the tree, then the path in it."""
        return f"{self.tree.label}/{self.name}" if self.tree.label else str(self.name)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the folders above it; an archive counts as one, together with a folder of its name in it."""
        names: list[str] = []
        for name in (*PurePosixPath(self.tree.label).parts, *self.name.parts[:-1]):
            if not (names and names[-1].lower().endswith(ARCHIVES) and _without_suffix(names[-1]) == name):
                names.append(name)
        return tuple(names)


class Tree(ABC):
    """Files below a folder or in an archive. It travels to other processes without the list of its files.

    Attributes:
        root: The raw folder it is in, or is.
        label: Its path below the raw folder, "" for the raw folder itself.
        members: Its files.
        refused: One line for what it holds and is not read here, if anything.
    """

    is_archive = True

    def __init__(self, root: Path, label: str) -> None:
        self.root = root
        self.label = label
        self.members: tuple[Member, ...] = ()
        self.refused: tuple[str, ...] = ()

    @abstractmethod
    def __reduce__(self) -> tuple[Any, ...]: ...

    @abstractmethod
    def open(self, name: PurePosixPath) -> IO[bytes]:
        """Opens one file."""

    def read(self, member: Member) -> bytes:
        """Content of one file.

        Raises:
            DataError: It cannot be read: damaged, encrypted, gone.
        """
        try:
            with self.open(member.name) as file:
                return file.read()
        except READ_ERRORS as error:
            raise _unreadable(member, error) from None

    def copy(self, member: Member, target: Path) -> None:
        """Writes one file to ``target``: a hard link where the file system can, else a copy.

        Raises:
            DataError: It cannot be read.
        """
        target.write_bytes(self.read(member))

    def stage(self, names: Collection[PurePosixPath], folder: Path) -> Tree:
        """A tree from which these files are read fast in any order; may unpack them into ``folder``."""
        return self


class FolderTree(Tree):
    """A folder; links are followed, hidden files and the folders in ``skip`` are passed over."""

    is_archive = False

    def __init__(self, root: Path, label: str = "", skip: Collection[Path] = ()) -> None:
        super().__init__(root, label)
        found = (path.relative_to(root) for path in walk_files(root, is_junk, skip))
        self.members = tuple(Member(self, PurePosixPath(p.as_posix()), (root / p).stat().st_size) for p in found)

    def __reduce__(self) -> tuple[Any, ...]:
        return _folder_again, (self.root.resolve(), self.label)

    def open(self, name: PurePosixPath) -> IO[bytes]:
        """Opens one file."""
        return (self.root / name).open("rb")

    def copy(self, member: Member, target: Path) -> None:
        """Links or copies one file."""
        source = (self.root / member.name).resolve()
        try:
            os.link(source, target)
        except OSError:
            try:
                shutil.copyfile(source, target)
            except OSError as error:
                if error.errno in _FULL:
                    raise  # it is the target that fails
                raise _unreadable(member, error) from None


class ZipTree(Tree):
    """A zip archive; pieces such as ``x-001.zip`` and ``x-002.zip`` go by one name, ``x.zip``."""

    def __init__(self, root: Path, label: str) -> None:
        super().__init__(root, _PIECE.sub("", label))
        self._path = label
        try:
            self._archive = zipfile.ZipFile(root / label)
        except READ_ERRORS as error:
            raise _damaged(label, error) from None
        infos = [info for info in self._archive.infolist() if not info.is_dir()]
        named = [(_safe_name(info.filename), info) for info in infos]
        self._infos = {name: info for name, info in named if name is not None}
        self.members = tuple(Member(self, name, info.file_size) for name, info in self._infos.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return _archive_again, (ZipTree, self.root.resolve(), self._path)

    def open(self, name: PurePosixPath) -> IO[bytes]:
        """Opens one file."""
        return self._archive.open(self._infos[name])


class TarTree(Tree):
    """A tar archive, compressed or not; hard links in it are the files that they lead to."""

    def __init__(self, root: Path, label: str) -> None:
        super().__init__(root, label)
        try:
            self._archive = tarfile.open(root / label)  # noqa: SIM115 - open as long as the tree
            infos = self._archive.getmembers()
        except READ_ERRORS as error:
            raise _damaged(label, error) from None
        self._infos: dict[PurePosixPath, tarfile.TarInfo] = {}
        stored: dict[str, tarfile.TarInfo] = {}
        unread = []
        for info in infos:
            content = info if info.isreg() else stored.get(os.path.normpath(info.linkname)) if info.islnk() else None
            name = _safe_name(info.name)
            if content is not None:
                stored[os.path.normpath(info.name)] = content
            if name is not None and content is not None:
                self._infos[name] = content
            elif name is not None and (info.issym() or info.islnk()):
                unread.append(name)
        if unread:
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            self.refused = (f"{label}/{unread[0]}{more}: unpack the archive yourself, such links in it are not read",)
        self.members = tuple(Member(self, name, info.size) for name, info in self._infos.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return _archive_again, (TarTree, self.root.resolve(), self.label)

    def open(self, name: PurePosixPath) -> IO[bytes]:
        """Opens one file."""
        file = self._archive.extractfile(self._infos[name])
        if file is None:
            raise OSError("not a regular file")
        return file

    def stage(self, names: Collection[PurePosixPath], folder: Path) -> Tree:
        """Unpacks the files in one pass: a compressed tar cannot be read in any other order."""
        wanted = set(names)
        for name, info in sorted(self._infos.items(), key=lambda item: item[1].offset):
            if name in wanted:
                try:
                    content = self.read(Member(self, name, info.size))
                except DataError as error:  # the pair it belongs to will be told as broken
                    logger.info("%s", error)
                    continue
                with atomic_path(folder / name) as part:
                    part.write_bytes(content)
        return FolderTree(folder, self.label)


@lru_cache
def _folder_again(root: Path, label: str) -> FolderTree:
    tree = FolderTree.__new__(FolderTree)
    Tree.__init__(tree, root, label)
    return tree


@lru_cache
def _archive_again(kind: type[ZipTree | TarTree], root: Path, label: str) -> Tree:
    return kind(root, label)


@dataclass(frozen=True)
class Raw:
    """What lies in the raw folders.

    Attributes:
        trees: The folders and every archive in them.
        refused: One line for each archive that cannot be read here, and for links that cannot.
    """

    trees: tuple[Tree, ...]
    refused: tuple[str, ...]


def open_raw(roots: Iterable[Path], skip: Collection[Path] = ()) -> Raw:
    """Opens raw folders with the archives in them.

    Args:
        roots: The folders.
        skip: Folders below them that are passed over, such as the output.

    Raises:
        DataError: One of them is no folder.
    """
    trees: list[Tree] = []
    refused: list[str] = []
    for root in roots:
        if not root.is_dir():
            raise DataError(f"expected a folder of downloads at {root}, found none", hint="name it with --raw")
        folder = FolderTree(root, skip=skip)
        trees.append(folder)
        for member in folder.members:
            name = member.name.name.lower()
            if name.endswith(FOREIGN_ARCHIVES):
                refused.append(f"{member.name}: unpack this archive yourself, its format is not read here")
            elif name.endswith(ARCHIVES):
                try:
                    trees.append((ZipTree if name.endswith(".zip") else TarTree)(root, str(member.name)))
                except DataError as error:
                    refused.append(error.message)
    refused += [line for tree in trees for line in tree.refused]
    refused += [
        f"{member.label}: unpack the outer archive, an archive inside another is not read"
        for tree in trees
        if tree.is_archive
        for member in tree.members
        if member.name.name.lower().endswith((*ARCHIVES, *FOREIGN_ARCHIVES))
    ]
    return Raw(tuple(trees), tuple(refused))


def _without_suffix(name: str) -> str:
    suffix = next(suffix for suffix in ARCHIVES if name.lower().endswith(suffix))
    return name[: -len(suffix)]


def _safe_name(name: str) -> PurePosixPath | None:
    """The path of a member; None where it is hidden, absolute or leads out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or not parts or any(is_junk(part) for part in parts):
        return None
    return PurePosixPath(*parts)


def is_junk(name: str) -> bool:
    """Whether a name is hidden, leads upwards, or was left by an operating system."""
    return name.startswith(".") or name == "__MACOSX"


def _unreadable(member: Member, error: Exception) -> DataError:
    return DataError(f"{member.label} cannot be read ({_reason(error)})", hint="download or unpack it again")


def _damaged(label: str, error: Exception) -> DataError:
    return DataError(f"{label}: expected an archive, found damage ({_reason(error)})", hint="download it again")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
