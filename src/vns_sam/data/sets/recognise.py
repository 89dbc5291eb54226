"""Tells which set a folder of pictures and masks is, and which of its splits.

Names of pictures count most where the authors chose telling ones, then the names of the folders above, the
nearest first, then the number of pictures. What the top folder is called does not matter.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from vns_sam.data.annotated import read_by_picture
from vns_sam.data.sets.archives import ARCHIVES, Member, Tree
from vns_sam.data.sets.catalog import SetFacts, catalog, normalise
from vns_sam.data.sets.layouts import Candidate, Folder, Found, find_candidates, split_word
from vns_sam.errors import DataError
from vns_sam.images.find import EXTENSIONS

UNSPLIT = "unsplit"
"""Split of pictures that nothing tells the split of."""

MIN_TELLING_COUNT = 50
"""A number of pictures names a set from here on; smaller ones say nothing."""

_VERSION = re.compile(r"(v?\d[a-z0-9]*|dataset|master|main|train|test|tr|te|vd)?")


@dataclass(frozen=True)
class Part:
    """Pictures of one split of one set in one place.

    Attributes:
        dataset: Name of the set.
        split: Name of the split, or ``UNSPLIT``.
        word: The split as the place calls it: a test may be made of "val" and "test".
        pairs: Pictures with masks, by stem.
        lonely: Stems of pictures without a mask.
        where: The place.
        is_archive: Whether it is an archive.
    """

    dataset: str
    split: str
    word: str
    pairs: tuple[Found, ...]
    lonely: tuple[str, ...]
    where: str
    is_archive: bool


@dataclass(frozen=True)
class Recognition:
    """What was made out.

    Attributes:
        parts: What belongs to a set of the catalog.
        strangers: One line for each place with pictures that belongs to none.
        problems: One line for each thing that should have worked and did not.
    """

    parts: tuple[Part, ...]
    strangers: tuple[str, ...]
    problems: tuple[str, ...]


def recognise(trees: Sequence[Tree]) -> Recognition:
    """Looks through folders and archives for the sets of the catalog."""
    parts: list[Part] = []
    strangers: list[str] = []
    problems: list[str] = []
    alone: dict[Folder, int] = {}
    for root in dict.fromkeys(tree.root for tree in trees):
        members = (member for tree in trees if tree.root == root for member in tree.members)
        candidates, without_masks = find_candidates(members)
        alone.update(without_masks)
        for candidate in candidates:
            known, unknown = _parts_of(candidate)
            parts += known
            problems += (line for line in candidate.unread if line not in problems)
            if unknown:
                strangers.append(f"{candidate.where}: {unknown} pairs of no set in the catalog")
    for facts in catalog().values():
        annotated, used = _annotated_parts(facts, trees, problems)
        parts += annotated
        alone = {folder: count for folder, count in alone.items() if folder not in used}
    strangers += [f"{'/'.join(folder) or '.'}: {count} pictures without masks" for folder, count in alone.items()]
    return Recognition(tuple(parts), tuple(strangers), tuple(problems))


def _parts_of(candidate: Candidate) -> tuple[list[Part], int]:
    """Parts in one folder, and the number of its pairs that belong to no set."""
    if any(name.lower() == "negative" for name in candidate.folder):
        return [], 0
    owners = _owners(candidate)
    groups: dict[str, list[Found]] = defaultdict(list)
    for pair in candidate.pairs:
        if pair.stem in owners:
            groups[owners[pair.stem]].append(pair)
    parts = []
    for name, pairs in groups.items():
        lonely = [stem for stem in candidate.lonely if owners.get(stem) == name]
        parts += _by_split(catalog()[name], candidate, pairs, lonely) if name else []
    return parts, len(groups.get("", []))


def _owners(candidate: Candidate) -> dict[str, str]:
    """Name of the set of each stem, "" for none; stems to leave out are not in it."""
    stems = [*(pair.stem for pair in candidate.pairs), *candidate.lonely]
    named = _named_set(candidate.folder)
    if named is not None and named.stems is None:
        return dict.fromkeys(stems, named.name)
    owners = {}
    for stem in stems:
        if not any(facts.leave_out and facts.leave_out.fullmatch(stem) for facts in catalog().values()):
            owners[stem] = next((f.name for f in catalog().values() if f.stems and f.stems.fullmatch(stem)), "")
    rest = [stem for stem, owner in owners.items() if not owner]
    if "kvasir_seg" in owners.values() and all(stem.isdigit() for stem in rest):
        owner = "cvc_clinicdb"  # the polyp training archive mixes the two
    elif named is not None:
        owner = named.name
    else:
        owner = _set_of_count(len(rest))
    return {**owners, **dict.fromkeys(rest, owner)}


def _named_set(folder: Folder) -> SetFacts | None:
    """The set that the nearest of the folders is named after; one made dark wins over what it is made from."""
    named = [facts for facts in map(_set_called, reversed(folder)) if facts is not None]
    return next((facts for facts in named if facts.name.endswith("_dark")), named[0] if named else None)


def _set_called(name: str) -> SetFacts | None:
    """The set that one folder or archive is named after."""
    suffix = next((suffix for suffix in ARCHIVES if name.lower().endswith(suffix)), "")
    plain = normalise(name.lower().removesuffix(suffix))
    hits = [
        (len(alias), facts)
        for facts in catalog().values()
        for alias in facts.aliases
        if plain.startswith(alias) and _VERSION.fullmatch(plain[len(alias) :])
    ]
    return max(hits, key=lambda hit: hit[0])[1] if hits else None


def _set_of_count(count: int) -> str:
    """The one set whose whole or one of whose splits has this many pictures, or ""."""
    if count < MIN_TELLING_COUNT:
        return ""
    hits = {
        f.name for f in catalog().values() if f.stems is None and count in (*f.counts.values(), sum(f.counts.values()))
    }
    return hits.pop() if len(hits) == 1 else ""


def _by_split(facts: SetFacts, candidate: Candidate, pairs: Sequence[Found], lonely: Sequence[str]) -> list[Part]:
    """Divides the pairs of one set by the names of the folders, by lists, or by their number."""

    def part(split: str, word: str, stems: Iterable[str] | None = None) -> Part:
        keep = None if stems is None else frozenset(stems)
        return Part(
            facts.name,
            split,
            word,
            tuple(pair for pair in pairs if keep is None or pair.stem in keep),
            tuple(stem for stem in lonely if keep is None or stem in keep),
            candidate.where,
            candidate.is_archive,
        )

    listed = [part(split, word, candidate.lists[word]) for word, split in _list_splits(facts, candidate).items()]
    if any(one.pairs for one in listed):
        return [one for one in listed if one.pairs]
    word = split_word(candidate.folder)
    split = _resolve(word, facts.counts)
    if split is None:
        fitting = [name for name, count in facts.counts.items() if count == len(pairs)]
        split = fitting[0] if len(fitting) == 1 else UNSPLIT
    return [part(split, word or split)]


def _list_splits(facts: SetFacts, candidate: Candidate) -> dict[str, str]:
    """The split that each list beside the pictures means; nothing where they divide the set in another way."""
    lists = candidate.lists
    splits = {word: _resolve(word, facts.counts) for word in lists}
    if len(facts.counts) == 1 or ("val" in lists and "val" not in facts.counts and "test" not in lists):
        return {}
    return {word: split for word, split in splits.items() if split is not None}


def _resolve(word: str | None, counts: Mapping[str, int]) -> str | None:
    """The split of a set that a word means: a set without "val" calls it "test"."""
    if word is not None and word in counts:
        return word
    if len(counts) == 1:
        return next(iter(counts))
    return "test" if word == "val" and "test" in counts else None


def _annotated_parts(
    facts: SetFacts, trees: Sequence[Tree], problems: list[str]
) -> tuple[list[Part], frozenset[Folder]]:
    """Parts whose masks are in COCO files, and the folders of their pictures."""
    if facts.annotations is None or facts.annotated is None:
        return [], frozenset()
    images: dict[str, Member] = {}
    files: list[Member] = []
    for member in (member for tree in trees for member in tree.members):
        if facts.annotations.fullmatch(member.name.name):
            files.append(member)
        elif member.name.suffix.lower() in EXTENSIONS and any(facts.annotated.search(name) for name in member.parts):
            images.setdefault(member.name.name.lower(), member)
    folders = frozenset(image.parts for image in images.values())
    if not images:
        return [], folders
    pairs: dict[str, Found] = {}
    for file in files:
        try:
            described = read_by_picture(file.tree.read(file), file.label)
        except DataError as error:
            problems.append(error.message)
            continue
        for picture in described.pictures:
            if picture.shapes and picture.name.lower() in images:
                stem = PurePosixPath(picture.name).stem
                pairs.setdefault(stem, Found(stem, images[picture.name.lower()], picture))
    where = "/".join(min(folders))
    if not files:
        problems.append(f"{where}: {len(images)} pictures of {facts.title}, but no annotations: {facts.layouts[0]}")
    paired = {stem.lower() for stem in pairs}
    lonely = sorted({PurePosixPath(name).stem for name in images} - paired)
    split = next(iter(facts.counts))
    in_archive = any(image.tree.is_archive for image in images.values())
    return [Part(facts.name, split, split, tuple(pairs.values()), tuple(lonely), where, in_archive)], folders
