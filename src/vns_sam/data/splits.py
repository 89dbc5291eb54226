"""Which pictures of a set a split has, and which of them a training may see."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from typing import TypeVar

from vns_sam.data.pairs import (
    Pair,
    Picture,
    find_list,
    find_pairs,
    find_pictures,
    has_folders,
    is_set,
    own_folders,
    picture_folder,
    read_split,
)
from vns_sam.errors import DataError

SPLITS = ("train", "val", "test")
"""The lists that a training goes by, see :func:`training_pairs`."""

Each = TypeVar("Each", bound=Picture)


def has_split(folder: Path, split: str, *, masks: bool = True) -> bool:
    """Whether a set has a split that :func:`vns_sam.data.pairs.find_pairs` can follow, or without ``masks``
    :func:`vns_sam.data.pairs.find_pictures`.
    """
    listed = find_list(folder, split) is not None
    return (listed and (is_set(folder) or not masks)) or has_folders(folder, split, masks=masks)


def split_pictures(root: Path, split: str) -> tuple[Path, set[str] | None]:
    """Where the pictures of a split are, whether or not they have masks.

    Args:
        root: A set, or any folder of pictures with lists.
        split: Name of the split, see :func:`vns_sam.data.pairs.find_pairs`.

    Returns:
        The folder of the pictures, and the stems of those of the split; None stands for all in the folder.

    Raises:
        DataError: There is no such split, its list is no text, or its folder has no masks though the set has.
    """
    own, masks = (root / name for name in own_folders(split))
    if has_folders(root, split, masks=False):
        return own, None
    if own.is_dir() and find_list(root, split) is None:
        raise DataError(
            f"expected {masks.name}/ beside {own} in a set with masks, found none",
            hint=f"name {own} itself, as a set of its own: trainings do not take its pictures from {root}",
        )
    folder = picture_folder(root)
    return folder, set(read_split(root, split, {path.stem for path in folder.iterdir()}, objects=True))


def listed_stems(root: Path, split: str, there: Container[str]) -> dict[str, tuple[str, ...]]:
    """The stems that a list names, none where there is no list; ``there`` are those of the set."""
    return {} if find_list(root, split) is None else read_split(root, split, there, objects=True)


def training_pairs(root: Path) -> tuple[list[Pair], list[Pair] | None]:
    """What a training may see of a set: the one rule, which all trainings follow.

    The split ``train`` is followed where the set has one; without it every picture is taken but those that the list
    ``test`` names. What the split ``val`` has is held out in both cases. Of these two lists a line that names an object
    stands for its picture, and one that names no pair for nothing.

    Returns:
        The pairs to train on, and those that are held out; None where the set has no ``val``. The first may be empty.

    Raises:
        DataError: See :func:`vns_sam.data.pairs.find_pairs`.
    """
    return _divided(root, find_pairs, masks=True)


def training_pictures(root: Path) -> tuple[list[Picture], list[Pair] | None]:
    """The same of pictures that are learnt from without their masks; of those that are held out, the ones with a mask.
    Of a set of pairs both hold out the same.

    Raises:
        DataError: See :func:`vns_sam.data.pairs.find_pairs`.
    """
    pictures, held = _divided(root, find_pictures, masks=False)
    return pictures, None if held is None else [each for each in held if isinstance(each, Pair)]


def _divided(root: Path, find: Callable[..., list[Each]], *, masks: bool) -> tuple[list[Each], list[Each] | None]:
    has_train = has_split(root, "train", masks=masks)
    found = find(root, "train" if has_train else None)
    if not has_train:
        tested = listed_stems(root, "test", {each.stem for each in found})
        found = [each for each in found if each.stem not in tested]
    if has_folders(root, "val"):
        held = find(root, "val")
    elif find_list(root, "val") is not None and (is_set(root) or not (masks or has_folders(root, "train"))):
        there = {each.stem: each for each in find(root, broken={})}
        held = [there[stem] for stem in listed_stems(root, "val", there) if stem in there]
    else:
        return found, None
    pictures = {each.image for each in held}
    return [each for each in found if each.image not in pictures], held
