"""Divides a set into pictures to train on, to choose by, and to report on; the same ones always fall the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vns_sam.errors import DataError

FEWEST = 12
"""Pictures that a set must have: below, there is nothing to tell one model from another by."""
REPORTED, CHOSEN = 0.2, 0.2
"""Shares that are held out to report on, and to choose the best checkpoint by."""
FEWEST_HELD, MOST_REPORTED, MOST_CHOSEN = 3, 200, 60
"""Bounds of the two."""


@dataclass(frozen=True)
class Division:
    """Stems by what they are for, each list in the order of a hash, so that its beginning is a fair sample of it.

    Attributes:
        train: Trained on.
        val: Never trained on; the best checkpoint is chosen by them.
        test: Never trained on and nothing is chosen by them.
        given: Which of the three the set's own lists say.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    given: tuple[str, ...] = ()

    def lists(self) -> dict[str, tuple[str, ...]]:
        """The three by name."""
        return {"train": self.train, "val": self.val, "test": self.test}


def divide(stems: Sequence[str], groups: Sequence[Sequence[str]], given: Mapping[str, Sequence[str]]) -> Division:
    """Divides stems by a hash of their names, groups as a whole; what the set's own lists say is followed.

    Own lists win over groups: a near copy of a picture that is listed for the test stays where its own list puts it.
    Pictures that no list names are trained on where there is no ``train`` list, and left out where there is one.

    Args:
        stems: Of the pictures that can be used.
        groups: Stems that must not be torn apart, such as near copies; every stem is in one group.
        given: Own lists, any of ``train``, ``val`` and ``test``.

    Raises:
        DataError: There are too few pictures.
    """
    usable = set(stems)
    own = {name: [stem for stem in dict.fromkeys(given[name]) if stem in usable] for name in given}
    own = {name: listed for name, listed in own.items() if listed}
    fixed = {stem for name in ("val", "test") for stem in own.get(name, ())}
    pool = [stem for stem in own.get("train", sorted(usable)) if stem not in fixed]
    if len(usable) < FEWEST or not pool:
        raise DataError(
            f"expected at least {FEWEST} pictures with an object, found {len(usable)}",
            hint="annotate some more; vns-sam segment draws the first masks",
        )
    divided = set(pool)
    free = [[stem for stem in group if stem in divided] for group in groups]
    order = sorted((group for group in free if group), key=_key)
    taken = {name: set(own.get(name, ())) for name in ("val", "test")}
    for name, share, most in (("test", REPORTED, MOST_REPORTED), ("val", CHOSEN, MOST_CHOSEN)):
        wanted = 0 if name in own else max(FEWEST_HELD, min(most, round(share * len(pool))))
        taken[name] |= set(_take(order, wanted))
    train = {stem for group in order for stem in group}
    if not (train and taken["val"] and taken["test"]):
        raise DataError(
            f"{len(usable)} pictures are nearly copies of each other: they cannot be divided into some to train on and "
            "some to measure by",
            hint="add others, or give lists of your own: train.txt, val.txt and test.txt",
        )
    parts = {"train": train, **taken}
    return Division(**{name: tuple(sorted(part, key=_hash)) for name, part in parts.items()}, given=tuple(own))


def _take(order: list[list[str]], wanted: int) -> list[str]:
    """Takes whole groups out of ``order``, the first that fit; the smallest where none does and others are left."""
    taken: list[str] = []
    for group in [*order]:
        if len(taken) + len(group) <= wanted:
            order.remove(group)
            taken += group
    if wanted and not taken and len(order) > 1:
        smallest = min(order, key=len)
        order.remove(smallest)
        taken += smallest
    return taken


def _key(group: Sequence[str]) -> str:
    return _hash(min(group))


def _hash(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()
