"""Finds pictures with masks in any of the folder layouts that the field uses.

::

    X/images/a.jpg  X/masks/a.png             also Imgs, im, Image, Original; GT, gt, Ground Truth, GT_Object, ...
    X/images_train/  X/masks_train/           the split in the name
    X/Images/Train/a.jpg  X/GT/a.png          one folder of masks for several of pictures
    X/a.jpg  X/a.png                          side by side
    X/<class>/1.jpg  X/<class>/1.png          side by side, class by class: <class>_1
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from vns_sam.data.pairs import listed_picture
from vns_sam.data.sets.archives import Member
from vns_sam.data.sets.catalog import names_set
from vns_sam.data.splits import SPLITS
from vns_sam.errors import DataError
from vns_sam.formats.annotation import Described
from vns_sam.images.find import EXTENSIONS

IMAGE_WORDS = frozenset({"im", "img", "imgs", "image", "images", "original", "jpegimages"})
MASK_WORDS = frozenset({"gt", "gts", "mask", "masks", "ground", "groundtruth"})
OTHER_WORDS = frozenset({"edge", "edges", "instance", "instances", "ignore", "boundary", "map", "bmap", "ranking"})
SPLIT_WORDS = {
    **dict.fromkeys(("train", "tr", "training", "traindataset", "trainvaldataset", "trainset"), "train"),
    **dict.fromkeys(("test", "te", "testing", "testdataset", "testset"), "test"),
    **dict.fromkeys(("val", "vd", "valid", "validation"), "val"),
    **{f"te{i}": f"te{i}" for i in range(1, 5)},
}
_LOSSY = (".jpg", ".jpeg")
_LIST_FOLDERS = ("list", "lists")
_DECORATION = re.compile(r"^p(?=\d+$)|[-_ ]?(mask|gt|groundtruth|segmentation)$", re.IGNORECASE)

Folder = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A picture with its mask, as it lies in the raw folder.

    Attributes:
        stem: Its name in a built set.
        image: The picture.
        mask: The mask, or the objects it is drawn from.
    """

    stem: str
    image: Member
    mask: Member | Described


@dataclass(frozen=True)
class Candidate:
    """Pictures of one folder with their masks.

    Attributes:
        folder: Names of the folders down to the pictures; an archive counts as one.
        pairs: Pictures with masks.
        lonely: Pictures without, by the stem they would have.
        lists: Stems of each split, where the folder has lists.
        unread: One line for each of its lists that cannot be read.
    """

    folder: Folder
    pairs: tuple[Found, ...]
    lonely: Mapping[str, Member] = field(default_factory=dict)
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def is_archive(self) -> bool:
        """Whether any picture lies in an archive."""
        return any(pair.image.tree.is_archive for pair in self.pairs)

    @property
    def where(self) -> str:
        """Path of the pictures below the raw folder."""
        return "/".join(self.folder) or "."


def find_candidates(members: Iterable[Member]) -> tuple[list[Candidate], dict[Folder, int]]:
    """Pairs pictures with masks.

    Args:
        members: All files of a raw folder and of the archives in it: the two may lie in different archives.

    Returns:
        What was paired, and the folders whose pictures have no masks with their number of pictures.
    """
    folders: dict[Folder, list[Member]] = defaultdict(list)
    texts: dict[Folder, Member] = {}
    for member in members:
        if member.name.suffix.lower() in EXTENSIONS:
            folders[member.parts].append(member)
        elif member.name.suffix.lower() == ".txt":
            texts[(*member.parts, member.name.name.lower())] = member
    found: list[Candidate] = []
    used: set[Folder] = {folder for folder in folders if folder and _is_other(folder[-1])}
    for masks in (folder for folder in folders if folder not in used):
        images = _images_for(masks, folders)
        for folder, pairs, lonely in images:
            stems = {*lonely, *(pair.stem for pair in pairs)}
            found.append(Candidate(folder, pairs, lonely, *_read_lists(texts, folder, stems)))
            used.add(folder)
        if images:
            used.add(masks)
    mixed = [_mixed(folder, folders[folder]) for folder in folders if folder not in used]
    found += _merge_classes([candidate for candidate in mixed if candidate is not None])
    used.update(candidate.folder for candidate in mixed if candidate is not None)
    return found, {folder: len(members) for folder, members in folders.items() if folder not in used}


def split_word(names: Sequence[str]) -> str | None:
    """The split that the nearest of these folder names tells: train, val, test, te1 to te4, or None."""
    for name in reversed(names):
        for word in reversed(_words(name)):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def _images_for(
    masks: Folder, folders: Mapping[Folder, list[Member]]
) -> list[tuple[Folder, tuple[Found, ...], dict[str, Member]]]:
    """Folders of pictures that these masks belong to, with the pairs and the pictures without a mask."""
    level = _mask_level(masks)
    if level is None:
        return []
    matched = []
    for folder in folders:
        if _may_belong(folder, masks, level):
            pairs, lonely = _pair(folders[folder], folders[masks])
            if 2 * len(pairs) >= min(len(folders[folder]), len(folders[masks])):
                matched.append((folder, pairs, lonely))
    named = [match for match in matched if len(match[0]) > level and _is_image_name(match[0][level])]
    return named or matched[:1]


def _may_belong(folder: Folder, masks: Folder, level: int) -> bool:
    """Whether a folder's place fits that of the masks, whose folder ``masks[level]`` tells that they are masks."""
    base, tail = masks[:level], masks[level + 1 :]
    if folder[:level] != base or _mask_level(folder) is not None:
        return False
    rest = folder[level:]
    if not rest:
        return not tail
    if _is_other(rest[-1]):
        return False
    splits = {split_word([rest[0]]), split_word([masks[level]])} - {None}
    if len(splits) > 1:
        return False
    if tail:
        return [name.lower() for name in rest[1:]] == [name.lower() for name in tail]
    return len(rest) == 1 or (len(rest) == 2 and _is_image_name(rest[0]))


def _pair(images: Iterable[Member], masks: Iterable[Member]) -> tuple[tuple[Found, ...], dict[str, Member]]:
    exact = {mask.name.stem: mask for mask in masks}
    loose = {_DECORATION.sub("", stem): mask for stem, mask in exact.items()}
    pairs, lonely = [], {}
    for stem, image in _one_for_each_stem(images).items():
        mask = exact.get(stem) or loose.get(stem)
        if mask is None:
            lonely[stem] = image
        else:
            pairs.append(Found(stem, image, mask))
    return tuple(pairs), lonely


def _one_for_each_stem(images: Iterable[Member]) -> dict[str, Member]:
    """Pictures by stem, sorted; of a JPEG and another file with one stem the JPEG."""
    ranked = sorted(images, key=lambda m: (m.name.stem, m.name.suffix.lower() not in _LOSSY, m.name.suffix))
    return {image.name.stem: image for image in reversed(ranked)}


def _mixed(folder: Folder, members: list[Member]) -> Candidate | None:
    """Pictures (.jpg) and masks (.png) side by side, or None."""
    images = [member for member in members if member.name.suffix.lower() in _LOSSY]
    pairs, lonely = _pair(images, [member for member in members if member.name.suffix.lower() == ".png"])
    if not pairs or 2 * len(pairs) < len(images):
        return None
    return Candidate(folder, pairs, lonely)


def _merge_classes(mixed: list[Candidate]) -> list[Candidate]:
    """Joins folders of numbered pairs that lie side by side: each is a class of one set, unless it is called as a set
    is (ECSSD and MSRA-10K in cascade_psp).
    """
    classes: dict[Folder, list[Candidate]] = defaultdict(list)
    merged = []
    for candidate in mixed:
        numbered = all(pair.stem.isdigit() for pair in candidate.pairs)
        if candidate.folder and numbered and not names_set(candidate.folder[-1]):
            classes[candidate.folder[:-1]].append(candidate)
        else:
            merged.append(candidate)
    for parent, group in classes.items():
        if len(group) == 1:
            merged += group
            continue
        pairs = [Found(f"{c.folder[-1]}_{p.stem}", p.image, p.mask) for c in group for p in c.pairs]
        lonely = {f"{c.folder[-1]}_{stem}": image for c in group for stem, image in c.lonely.items()}
        merged.append(Candidate(parent, tuple(pairs), lonely))
    return merged


def _read_lists(
    texts: Mapping[Folder, Member], images: Folder, stems: Container[str]
) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """Stems by split from ``train.txt``, ``val.txt``, ``test.txt`` beside the pictures' folder, or in ``list/``; a line
    that names an object stands for its picture. With them, one line for each that cannot be read.
    """
    lists: dict[str, frozenset[str]] = {}
    unread: list[str] = []
    for place in (images[:-1], *((*images[:-1], name) for name in _LIST_FOLDERS)):
        for split in SPLITS:
            member = texts.get((*place, f"{split}.txt"))
            if member is None:
                continue
            try:
                lines = member.tree.read(member).decode("utf-8", "replace").splitlines()
            except DataError as error:
                unread.append(error.message)
                continue
            listed = (_stem(line) for line in lines if line.strip())
            lists[split] = frozenset(listed_picture(line, stems)[0] for line in listed)
    return lists, tuple(unread)


def _stem(line: str) -> str:
    path = PurePosixPath(line.strip())
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def _mask_level(folder: Folder) -> int | None:
    """Index of the deepest folder whose name says that it holds masks, unless one below says pictures."""
    levels = [i for i, name in enumerate(folder) if _is_mask_name(name)]
    if not levels or any(_is_image_name(name) for name in folder[levels[-1] + 1 :]):
        return None
    return levels[-1]


def _is_mask_name(name: str) -> bool:
    words = _words(name)
    return bool(words) and words[0] in MASK_WORDS and not _is_other(name)


def _is_image_name(name: str) -> bool:
    return not IMAGE_WORDS.isdisjoint(_words(name))


def _is_other(name: str) -> bool:
    """Whether a folder holds what is neither picture nor mask: edges, objects one by one, ignored pixels."""
    words = _words(name)
    return bool(words) and not OTHER_WORDS.isdisjoint(words) and (len(words) < 3 or words[0] in MASK_WORDS)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
