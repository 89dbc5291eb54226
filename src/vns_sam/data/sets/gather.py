"""Any folder of pictures and masks as one set in the house layout (``data.pairs``), beside the folder, which stays as
it is.

Read are the house layout itself with its objects and ignored pixels, the layouts of
:mod:`vns_sam.data.sets.layouts`, YOLO folders and a COCO file in the folder. Lists come along.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vns_sam.data.annotated import find_annotations
from vns_sam.data.importing import MARKER, convert, imported, remove_gone
from vns_sam.data.pairs import LAYOUT_HINT, OBJECTS, find_list, find_pairs, is_set, list_stems, listed_picture
from vns_sam.data.sets.archives import is_junk, open_raw
from vns_sam.data.sets.assemble import assemble
from vns_sam.data.sets.layouts import Candidate, Found, find_candidates, split_word
from vns_sam.data.splits import SPLITS
from vns_sam.errors import DataError
from vns_sam.images.find import walk_files
from vns_sam.images.write import link_or_copy, write_text

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""


@dataclass
class Gathered:
    """A set that was gathered.

    Attributes:
        folder: Where it is.
        stems: Of its pairs.
        lists: Stems by split, as far as the source tells.
        left_out: One line for each thing that was not used.
        files: What it is made of, as paths in the folder.
    """

    folder: Path
    stems: list[str] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


def gather(source: Path, out: Path, progress: Progress | None = None) -> Gathered:
    """Puts what a folder holds into a set in the house layout; files are linked where they can be.

    Args:
        source: A folder of pictures and masks, of any layout that is known, or with annotations.
        out: Folder of the set, which belongs to such calls: of what an earlier one left, what the source does not have
            now is removed.
        progress: Told after each picture.

    Raises:
        DataError: There is no folder, or nothing in it that could be learned from.
    """
    if not source.is_dir():
        raise DataError(f"expected a folder of pictures and masks at {source}, found none", hint=LAYOUT_HINT)
    tell = progress or (lambda what, done, total: None)
    if is_flat(source):
        gathered = _link(source, out, tell)
    elif annotations := find_annotations(source):
        return _convert(annotations, out, tell)
    else:
        gathered = _recognise(source, out, tell)
    _keep_only(out, gathered.files)
    _forget_lists(out)
    for split, stems in gathered.lists.items():
        write_text(out / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
    return gathered


def _recognise(source: Path, out: Path, tell: Progress) -> Gathered:
    """A folder of any other layout that is known."""
    raw = open_raw([source], skip=[out])
    candidates, alone = find_candidates(member for tree in raw.trees for member in tree.members)
    gathered = Gathered(out, left_out=[*raw.refused])
    gathered.left_out += [
        f"{'/'.join(folder) or '.'}: {count} pictures without masks" for folder, count in alone.items()
    ]
    _assemble(candidates, gathered, tell)
    if not gathered.stems:
        more = f"; {gathered.left_out[0]}" if gathered.left_out else ""
        raise DataError(f"expected pictures with masks in {source}, recognised none{more}", hint=LAYOUT_HINT)
    return gathered


def is_flat(folder: Path) -> bool:
    """Whether a folder is a set whose pictures lie side by side, in no folders of their own."""
    if not is_set(folder):
        return False
    try:
        return bool(find_pairs(folder, broken={}))
    except DataError:
        return False


def fingerprint(source: Path, skip: Path) -> str:
    """A digest of names, sizes and times of all files of a folder but those below ``skip``, to see that it changed."""
    digest = hashlib.sha256()
    for path in walk_files(source, is_junk, [skip] if skip.resolve() != source.resolve() else []):
        told = path.stat()
        line = f"{path.relative_to(source).as_posix()}\0{told.st_size}\0{told.st_mtime_ns}\0"
        digest.update(os.fsencode(line))
    return digest.hexdigest()[:16]


def _link(source: Path, out: Path, tell: Progress) -> Gathered:
    """A set in the house layout, with its objects, ignored pixels and lists."""
    missing: dict[str, str] = {}
    pairs = find_pairs(source, broken=missing)
    gathered = Gathered(out, left_out=list(missing.values()))
    for done, pair in enumerate(pairs, start=1):
        places = {"images": pair.image, "masks": pair.mask, "masks_instance": pair.instances}
        for folder, path in {**places, "masks_ignore": pair.ignore, OBJECTS: pair.objects}.items():
            if path is not None:
                link_or_copy(path.resolve(), out / folder / path.name)
                gathered.files.add(f"{folder}/{path.name}")
        gathered.stems.append(pair.stem)
        tell("gather", done, len(pairs))
    gathered.lists = _own_lists(source, gathered.stems)
    return gathered


def _convert(source: Path, out: Path, tell: Progress) -> Gathered:
    """Annotations, drawn."""
    gathered = Gathered(out)
    if imported(out, source) is None:
        _keep_only(out, set())
    _forget_lists(out)
    for done, (state, total) in enumerate(convert(source, out), start=1):
        gathered.left_out = state.problems
        tell("gather", done, total)
    gathered.stems = [pair.stem for pair in find_pairs(out, broken={})]
    gathered.lists = _own_lists(out, gathered.stems)
    return gathered


def _keep_only(out: Path, files: set[str]) -> None:
    """Removes all other files of a set, with the folders that become empty."""
    folders = [path for path in out.glob("[!.]*") if path.is_dir()]
    there = (path for folder in folders for path in folder.iterdir() if not path.is_dir())
    remove_gone(out, {path.relative_to(out).as_posix() for path in there}, files)
    (out / MARKER).unlink(missing_ok=True)
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()


def _forget_lists(out: Path) -> None:
    """Removes the lists of an earlier call."""
    for split in SPLITS:
        (out / f"{split}.txt").unlink(missing_ok=True)


def _own_lists(folder: Path, stems: Iterable[str]) -> dict[str, list[str]]:
    """Stems by split, each once, as far as a folder has lists; a line that names an object stands for its picture."""
    known = frozenset(stems)
    files = {split: find_list(folder, split) for split in SPLITS}
    return {
        split: list(dict.fromkeys(listed_picture(line, known)[0] for line in list_stems(file)))
        for split, file in files.items()
        if file is not None
    }


def _assemble(candidates: Iterable[Candidate], gathered: Gathered, tell: Progress) -> None:
    """Pairs of one or several folders; where two share a stem, the second's folder comes into its name."""
    taken: set[str] = set()
    work: list[tuple[Found, str]] = []
    for candidate in candidates:
        if candidate.unread:  # which of its pictures are to be held out is unknown
            gathered.left_out.append(f"{candidate.where}: {len(candidate.pairs)} pictures, since {candidate.unread[0]}")
            continue
        listed = {stem: name for name, stems in candidate.lists.items() for stem in stems}
        word = split_word(candidate.folder)
        gathered.left_out += [f"{candidate.where}: no mask for '{stem}'" for stem in candidate.lonely]
        for found in candidate.pairs:
            stem = found.stem if found.stem.casefold() not in taken else "_".join((*candidate.folder, found.stem))
            taken.add(stem.casefold())
            work.append((Found(stem, found.image, found.mask), listed.get(found.stem, word or "")))
    for done, (found, split) in enumerate(work, start=1):
        try:
            made = assemble(gathered.folder, found, split)
        except DataError as error:
            gathered.left_out.append(f"{found.stem}: {error.message}")
        else:
            gathered.stems.append(found.stem)
            gathered.files.update((made.image, made.mask))
            if split in SPLITS:
                gathered.lists.setdefault(split, []).append(found.stem)
        tell("gather", done, len(work))
