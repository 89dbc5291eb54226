"""Builds a benchmark in the layout of :mod:`vns_sam.data.pairs` from what was downloaded.

Every set gets ``images/``, ``masks/`` and a list for each split; ``manifest.json`` says where each file came from,
its hash, and what is missing. A build can be stopped at any point and started again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vns_sam.data.sets.archives import Member, TarTree, Tree, open_raw
from vns_sam.data.sets.assemble import Assembled, assemble, is_done
from vns_sam.data.sets.catalog import Benchmark, catalog
from vns_sam.data.sets.choose import Choice, choose
from vns_sam.data.sets.layouts import Found
from vns_sam.data.sets.recognise import UNSPLIT, recognise
from vns_sam.errors import DataError
from vns_sam.images.write import check_writable, write_json, write_text

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STAGING = ".staging"

Progress = Callable[[int, int, str], None]
"""Called with the pairs done, the pairs in all, and the set at work."""


@dataclass(frozen=True)
class SplitReport:
    """One split of one set.

    Attributes:
        dataset: Name of the set.
        split: Name of the split.
        expected: Its official number of pairs; 0 for pairs whose split nothing tells.
        enough: From how many pairs on it counts as complete.
        found: Pairs assembled.
        sources: Where they came from, below the raw folder.
        broken: One line for each pair that could not be used.
        notes: What else one should know, such as a second source that was passed over.
    """

    dataset: str
    split: str
    expected: int
    enough: int
    found: int
    sources: tuple[str, ...]
    broken: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.found >= self.enough


@dataclass(frozen=True)
class BuildReport:
    """A build.

    Attributes:
        benchmark: Its name.
        splits: Each split, in the order of the benchmark.
        also_found: Sets of the catalog that lie in the raw folder and are no part of the benchmark.
        strangers: Places with pictures that belong to no known set.
        problems: Archives and annotations that could not be used.
    """

    benchmark: str
    splits: tuple[SplitReport, ...]
    also_found: tuple[str, ...]
    strangers: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every split is."""
        return all(split.complete for split in self.splits)

    @property
    def found(self) -> int:
        """Pairs assembled."""
        return sum(split.found for split in self.splits)

    @property
    def expected(self) -> int:
        """Official pairs of all splits."""
        return sum(split.expected for split in self.splits)


def build_benchmark(
    benchmark: Benchmark,
    raw: Sequence[Path],
    out: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> BuildReport:
    """Assembles what the raw folders hold of a benchmark.

    Args:
        benchmark: What to build.
        raw: Folders with archives and folders as downloaded.
        out: Gets ``<set>/`` for each set found, and the manifest.
        workers: Threads.
        progress: Told about each pair.

    Returns:
        What was found and what is missing; broken pairs are skipped and told.

    Raises:
        DataError: Nothing of the benchmark was recognised, or a folder cannot be read or written.
    """
    opened = open_raw(raw, skip=[out])
    known = recognise(opened.trees)
    choices = choose(known.parts, benchmark)
    problems = (*opened.refused, *known.problems)
    if not any(choice.pairs for choice in choices):
        raise _nothing(benchmark, raw, (*problems, *known.strangers))
    check_writable(out / MANIFEST)
    done, total = 0, sum(len(choice.pairs) for choice in choices)
    splits: list[SplitReport] = []
    files: dict[str, list[Assembled]] = {}
    for choice in choices:

        def tell(count: int, name: str = choice.dataset, before: int = done) -> None:
            if progress is not None:
                progress(before + count, total, name)

        report, entries = _build_split(choice, out, workers, tell)
        splits.append(report)
        files.setdefault(choice.dataset, []).extend(entries)
        done += len(choice.pairs)
    others = sorted({part.dataset for part in known.parts if part.pairs} - set(benchmark.parts))
    built = BuildReport(benchmark.name, tuple(splits), tuple(others), known.strangers, problems)
    write_json(out / MANIFEST, _manifest(built, raw, files))
    return built


def _build_split(
    choice: Choice, out: Path, workers: int, tell: Callable[[int], None]
) -> tuple[SplitReport, list[Assembled]]:
    """Assembles one split and writes its list."""
    folder = out / choice.dataset
    entries: list[Assembled] = []
    broken = [f"{stem}: no mask" for stem in choice.lonely]
    staging = out / STAGING

    def attempt(found: Found) -> Assembled | str:
        try:
            return assemble(folder, found, choice.split)
        except DataError as error:
            return f"{found.stem}: {error.message}"

    try:
        pairs = _staged(choice.pairs, folder, staging)
        with ThreadPoolExecutor(workers) as pool:
            for count, outcome in enumerate(pool.map(attempt, pairs), 1):
                if isinstance(outcome, str):
                    broken.append(outcome)
                else:
                    entries.append(outcome)
                tell(count)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if choice.split != UNSPLIT:
        (folder / f"{UNSPLIT}.txt").unlink(missing_ok=True)  # an earlier build may not have known the split
    if entries:
        write_text(folder / f"{choice.split}.txt", "".join(f"{entry.stem}\n" for entry in entries))
    notes = choice.notes
    if choice.split != UNSPLIT and len(entries) > choice.expected:
        notes = (*notes, f"{len(entries)} pairs are more than the official {choice.expected}: is the split another?")
    report = SplitReport(
        choice.dataset,
        choice.split,
        choice.expected,
        choice.enough,
        len(entries),
        choice.sources,
        tuple(broken),
        notes,
    )
    return report, entries


def _staged(pairs: Sequence[Found], folder: Path, staging: Path) -> list[Found]:
    """The pairs, with what is still needed from tar archives unpacked."""
    wanted: dict[Tree, set[Member]] = {}
    for pair in pairs:
        if not is_done(folder, pair):
            for member in _members(pair):
                if isinstance(member.tree, TarTree):
                    wanted.setdefault(member.tree, set()).add(member)
    unpacked = {
        tree: tree.stage({member.name for member in members}, staging / str(number))
        for number, (tree, members) in enumerate(wanted.items())
    }

    def move(member: Member) -> Member:
        return replace(member, tree=unpacked.get(member.tree, member.tree))

    return [
        replace(pair, image=move(pair.image), mask=move(pair.mask) if isinstance(pair.mask, Member) else pair.mask)
        for pair in pairs
    ]


def _members(pair: Found) -> Iterable[Member]:
    return (pair.image, pair.mask) if isinstance(pair.mask, Member) else (pair.image,)


def _manifest(report: BuildReport, raw: Sequence[Path], files: dict[str, list[Assembled]]) -> dict[str, Any]:
    sets = {}
    for name in dict.fromkeys(split.dataset for split in report.splits):
        facts = catalog()[name]
        own = [split for split in report.splits if split.dataset == name]
        sets[name] = {
            "title": facts.title,
            "licence": facts.licence,
            "home": facts.home,
            "get": facts.get,
            "splits": {
                split.split: {
                    "expected": split.expected,
                    "found": split.found,
                    "complete": split.complete,
                    "sources": split.sources,
                    "broken": split.broken,
                    "notes": split.notes,
                }
                for split in own
            },
            "files": [asdict(entry) for entry in files.get(name, [])],
        }
    return {
        "benchmark": report.benchmark,
        "vns_sam": version("vns-sam"),
        "options": {"raw": [str(path) for path in raw]},
        "complete": report.complete,
        "found": report.found,
        "expected": report.expected,
        "sets": sets,
        "also_found": report.also_found,
        "strangers": report.strangers,
        "problems": report.problems,
    }


def _nothing(benchmark: Benchmark, raw: Sequence[Path], lines: Sequence[str]) -> DataError:
    where = ", ".join(str(path) for path in raw)
    seen = f"; found {lines[0]}" + (f" and {len(lines) - 1} more" if len(lines) > 1 else "") if lines else ""
    return DataError(
        f"expected sets of {benchmark.name} in {where}, recognised none{seen}",
        hint="vns-sam data list NAME tells a set's folders and how to get it",
    )
