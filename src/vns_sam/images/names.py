"""Which picture of a folder a name in a file means: one rule for prompts, labels and imports."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from vns_sam.images.find import EXTENSIONS


class NameIndex:
    """The pictures of a folder, to be found by the names that other tools gave them.

    Args:
        folder: Where the pictures are.
        names: Their paths relative to it, see :func:`vns_sam.images.read.find_images`.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder.absolute()
        self._roots = [_parts(str(root)) for root in dict.fromkeys((self.folder, folder.resolve()))]
        self._by_path = {_parts(name): name for name in names}
        self._by_base: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        self._by_stem: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for parts in self._by_path:
            self._by_base[parts[-1]].append(parts)
            self._by_stem[_without_ending(parts)].append(parts)

    def match(self, key: str, *, alone: bool = True) -> str | None:
        """The picture that ``key`` means, or None where there is none or it could be several.

        Backslashes separate folders, too, and composed and decomposed letters are one. A path into the folder is that
        picture and no other. A relative path must be right to its last folder, counted from the folder or from one
        above it: a missing ``cam2/a.jpg`` is never ``cam1/a.jpg``. A name without folders may lie in any, and a
        path of another machine may have lost its upper folders, where one picture alone has that name. A name without
        ending is the picture of that stem.

        Args:
            key: As the file has it.
            alone: Whether no other key of the file has the same last part.
        """
        key = key.strip()
        parts = _parts(key)
        if not parts:
            return None
        absolute = PurePosixPath(key).is_absolute() or PureWindowsPath(key).is_absolute()
        for root in self._roots:
            if absolute and parts[: len(root)] == root:
                return self._exact(parts[len(root) :])
        if absolute:
            return self._by_tail(parts, alone=alone)
        if ".." in parts:
            return None
        found = self._exact(parts) or self._from_above(parts)
        if found is None and len(parts) == 1 and alone:
            found = self._only(self._by_base[parts[0]]) if parts[0] in self._by_base else self._by_lone_stem(parts[0])
        return found

    def match_all(self, keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Matches all keys of a file.

        Returns:
            Picture by key; then the keys without a picture.
        """
        keys = list(keys)
        bases: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for key in keys:
            if parts := _parts(key.strip()):
                bases[parts[-1]].add(parts)
        found: dict[str, str] = {}
        lost = []
        for key in keys:
            parts = _parts(key.strip())
            name = self.match(key, alone=bool(parts) and len(bases[parts[-1]]) == 1)
            if name is None:
                lost.append(key)
            else:
                found[key] = name
        return found, lost

    def _exact(self, parts: tuple[str, ...]) -> str | None:
        """By the whole path; its ending may be left out where that says which."""
        if parts in self._by_path:
            return self._by_path[parts]
        if parts and PurePosixPath(parts[-1]).suffix.lower() not in EXTENSIONS:
            return self._only(self._by_stem.get(parts, ()))
        return None

    def _from_above(self, parts: tuple[str, ...]) -> str | None:
        """By a path that begins in a folder above: ``photos/a.jpg`` for ``a.jpg`` of the folder ``photos``."""
        for count in range(1, len(parts)):
            if any(root[-count:] == parts[:count] for root in self._roots):
                found = self._exact(parts[count:])
                if found is not None:
                    return found
        return None

    def _by_tail(self, parts: tuple[str, ...], *, alone: bool) -> str | None:
        """By as much of the end of a foreign path as there is; by the last part alone only at the top."""
        for start in range(len(parts) - 1):
            found = self._exact(parts[start:])
            if found is not None:
                return found
        return self._exact(parts[-1:]) if alone and len(self._by_base.get(parts[-1], ())) < 2 else None

    def _by_lone_stem(self, stem: str) -> str | None:
        if PurePosixPath(stem).suffix.lower() in EXTENSIONS:
            return None
        return self._only([parts for key, some in self._by_stem.items() if key[-1] == stem for parts in some])

    def _only(self, candidates: Sequence[tuple[str, ...]]) -> str | None:
        return self._by_path[candidates[0]] if len(candidates) == 1 else None


def _parts(name: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _without_ending(parts: tuple[str, ...]) -> tuple[str, ...]:
    return (*parts[:-1], PurePosixPath(parts[-1]).stem)
