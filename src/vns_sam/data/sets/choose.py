"""Chooses, for each split of a benchmark, which of the places that hold it to take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vns_sam.data.sets.catalog import Benchmark, catalog
from vns_sam.data.sets.layouts import Found
from vns_sam.data.sets.recognise import UNSPLIT, Part


@dataclass(frozen=True)
class Choice:
    """What a split is made of.

    Attributes:
        dataset: Name of the set.
        split: Name of the split.
        expected: Its official number of pairs; 0 for ``UNSPLIT``.
        enough: From how many pairs on it counts as complete.
        pairs: Pairs, by stem.
        lonely: Stems of pictures without a mask.
        sources: The places they are taken from.
        notes: What was passed over or set right.
    """

    dataset: str
    split: str
    expected: int
    enough: int
    pairs: tuple[Found, ...] = ()
    lonely: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose(parts: Iterable[Part], benchmark: Benchmark) -> list[Choice]:
    """Chooses the most complete place for each split; of two alike, a folder before an archive.

    Where a whole set lies without its split, and all its other splits are known from elsewhere, the missing
    split is what they leave of it. Where they are not, its pairs become a split of their own, ``UNSPLIT``.
    """
    own: dict[str, list[Part]] = {name: [] for name in benchmark.parts}
    for part in parts:
        if part.dataset in own:
            own[part.dataset].append(part)
    return [choice for name, splits in benchmark.parts.items() for choice in _choose_set(name, splits, own[name])]


def _choose_set(name: str, splits: Mapping[str, int], parts: Sequence[Part]) -> list[Choice]:
    enough = catalog()[name].enough
    chosen = {
        split: _choose_split(
            Choice(name, split, count, min(count, enough.get(split, count))), [p for p in parts if p.split == split]
        )
        for split, count in splits.items()
    }
    whole = _choose_split(Choice(name, UNSPLIT, 0, 0), [part for part in parts if part.split == UNSPLIT])
    if whole.pairs:
        empty = [split for split, choice in chosen.items() if not choice.pairs]
        if len(empty) == 1 and len(chosen) > 1:
            taken = {pair.stem for choice in chosen.values() for pair in choice.pairs}
            chosen[empty[0]] = _complement(chosen[empty[0]], whole, taken)
        elif empty:
            chosen[UNSPLIT] = _tell(whole, f"nothing tells which are {' and which '.join(chosen)}")
    return _without_shared(list(chosen.values()))


def _choose_split(choice: Choice, parts: Sequence[Part]) -> Choice:
    """Fills a choice from the places that hold this split; parts of it that differ in name are joined."""
    notes, pairs, lonely, sources = [], dict[str, Found](), dict[str, None](), []
    for word in dict.fromkeys(part.word for part in parts):
        ranked = sorted((part for part in parts if part.word == word), key=_rank)
        best = ranked[0]
        pairs = {pair.stem: pair for pair in best.pairs} | pairs
        lonely |= dict.fromkeys(best.lonely)
        sources.append(best.where)
        notes += [
            f"{best.where} ({len(best.pairs)} pairs) is taken, {other.where} ({len(other.pairs)}) passed over"
            for other in ranked[1:]
        ]
    return replace(
        choice,
        pairs=tuple(pairs[stem] for stem in sorted(pairs)),
        lonely=tuple(sorted(stem for stem in lonely if stem not in pairs)),
        sources=tuple(sources),
        notes=tuple(notes),
    )


def _rank(part: Part) -> tuple[int, bool, int, str]:
    return (-len(part.pairs), part.is_archive, part.where.count("/"), part.where)


def _complement(choice: Choice, whole: Choice, taken: set[str]) -> Choice:
    rest = tuple(pair for pair in whole.pairs if pair.stem not in taken)
    filled = replace(choice, pairs=rest, lonely=whole.lonely, sources=whole.sources, notes=whole.notes)
    return _tell(filled, f"what the other splits leave of the {len(whole.pairs)} pairs in {whole.sources[0]}")


def _without_shared(choices: list[Choice]) -> list[Choice]:
    """Gives a name that two splits share to the last of them, the test."""
    later: set[str] = set()
    kept = []
    for choice in reversed(choices):
        pairs = tuple(pair for pair in choice.pairs if pair.stem not in later)
        shared = len(choice.pairs) - len(pairs)
        later |= {pair.stem for pair in pairs}
        kept.append(
            _tell(replace(choice, pairs=pairs), f"{shared} pairs left out: another split has their names")
            if shared
            else choice
        )
    return kept[::-1]


def _tell(choice: Choice, note: str) -> Choice:
    return replace(choice, notes=(*choice.notes, note))
