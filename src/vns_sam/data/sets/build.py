"""Builds a benchmark in the layout of :mod:`vns_sam.data.pairs` from what was downloaded.

Every set gets ``images/``, ``masks/`` and a list for each split; ``manifest.json`` says where each file came from,
its hash, and what is missing. A build can be stopped at any point and started again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from typing_extensions import override

from vns_sam.data.sets.archives import READ_ERRORS, Member, TarTree, Tree, open_raw
from vns_sam.data.sets.assemble import Assembled, assemble, is_done
from vns_sam.data.sets.catalog import Benchmark, catalog
from vns_sam.data.sets.choose import Choice, choose
from vns_sam.data.sets.layouts import Found
from vns_sam.data.sets.recognise import UNSPLIT, recognise
from vns_sam.errors import DataError, OutputError
from vns_sam.images.opener import open_image
from vns_sam.images.read import DECODER_ERRORS
from vns_sam.images.write import check_writable, write_json, write_text
from vns_sam.runs.job import Mapper, Work
from vns_sam.runs.lock import locked, remove_parts_below
from vns_sam.runs.memory import BYTES_A_PIXEL
from vns_sam.runs.threads import in_line

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
    mapper: Mapper = in_line,
    progress: Progress | None = None,
) -> BuildReport:
    """Assembles what the raw folders hold of a benchmark.

    Args:
        benchmark: What to build.
        raw: Folders with archives and folders as downloaded.
        out: Gets ``<set>/`` for each set found, and the manifest.
        mapper: Who does the work: this process, several, or a cluster that has the folders at the same place.
        progress: Told about each pair.

    Returns:
        What was found and what is missing; broken pairs are skipped and told.

    Raises:
        UsageError: Another build is at work in ``out``.
        DataError: Nothing of the benchmark was recognised, or a folder cannot be read or written.
    """
    opened = open_raw(raw, skip=[out])
    known = recognise(opened.trees)
    choices = choose(known.parts, benchmark)
    problems = (*opened.refused, *known.problems)
    if not any(choice.pairs for choice in choices):
        raise _nothing(benchmark, raw, (*problems, *known.strangers))
    check_writable(out / MANIFEST)
    with locked(out, "data build"):
        remove_parts_below(out)
        splits, files = _build_splits(choices, out, mapper, progress)
        others = sorted({part.dataset for part in known.parts if part.pairs} - set(benchmark.parts))
        built = BuildReport(benchmark.name, splits, tuple(others), known.strangers, problems)
        write_json(out / MANIFEST, _manifest(built, raw, files))
    return built


@dataclass(frozen=True)
class _Assembling(Work[Found, Assembled | str]):
    """Puts the pairs of one split in their places; what comes back is what the manifest says, or why it failed."""

    folder: Path
    split: str

    @override
    def name(self, item: Found) -> str:
        return item.stem

    @override
    def weight(self, item: Found) -> int:
        """Of its picture; one that cannot be opened counts nothing and is told when it is assembled."""
        if is_done(self.folder, item):
            return 0
        picture = item.image
        with (
            suppress(*DECODER_ERRORS, *READ_ERRORS),
            picture.tree.open(picture.name) as file,
            open_image(file) as image,
        ):
            return image.height * image.width * BYTES_A_PIXEL
        return 0

    @override
    def work(self, item: Found, content: Any) -> Assembled | str:
        try:
            return assemble(self.folder, item, self.split)
        except OutputError:
            raise
        except DataError as error:
            return f"{item.stem}: {error.message}"

    @override
    def encode(self, item: Found, answer: Assembled | str) -> Assembled | str:
        return answer

    @override
    def portable(self, device: str = "") -> Self:
        return replace(self, folder=self.folder.resolve())


def _build_splits(
    choices: Sequence[Choice], out: Path, mapper: Mapper, progress: Progress | None
) -> tuple[tuple[SplitReport, ...], dict[str, list[Assembled]]]:
    """Assembles all splits; the report of each, and the files by set."""
    done, total = 0, sum(len(choice.pairs) for choice in choices)
    splits: list[SplitReport] = []
    files: dict[str, list[Assembled]] = {}
    for choice in choices:

        def tell(count: int, name: str = choice.dataset, before: int = done) -> None:
            if progress is not None:
                progress(before + count, total, name)

        report, entries = _build_split(choice, out, mapper, tell)
        splits.append(report)
        files.setdefault(choice.dataset, []).extend(entries)
        done += len(choice.pairs)
    return tuple(splits), files


def _build_split(
    choice: Choice, out: Path, mapper: Mapper, tell: Callable[[int], None]
) -> tuple[SplitReport, list[Assembled]]:
    """Assembles one split and writes its list."""
    folder, staging = out / choice.dataset, out / STAGING
    found: dict[str, Assembled | str] = {}
    try:
        pairs = _staged(choice.pairs, folder, staging)
        for count, done in enumerate(mapper(_Assembling(folder, choice.split), pairs), 1):
            found[done.name] = done.result or done.error
            tell(count)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    in_order = [found[pair.stem] for pair in choice.pairs]
    entries = [each for each in in_order if isinstance(each, Assembled)]
    broken = [f"{stem}: no mask" for stem in choice.lonely] + [each for each in in_order if isinstance(each, str)]
    if choice.split != UNSPLIT:
        (folder / f"{UNSPLIT}.txt").unlink(missing_ok=True)  # an earlier build may not have known the split
    if entries:
        write_text(folder / f"{choice.split}.txt", "".join(f"{entry.stem}\n" for entry in entries))
    elif choice.pairs:
        (folder / f"{choice.split}.txt").unlink(missing_ok=True)  # of an earlier build
    return _report(choice, len(entries), broken), entries


def _report(choice: Choice, found: int, broken: Sequence[str]) -> SplitReport:
    notes = choice.notes
    if choice.split != UNSPLIT and found > choice.expected:
        notes = (*notes, f"{found} pairs are more than the official {choice.expected}: is the split another?")
    known = (choice.dataset, choice.split, choice.expected, choice.enough, found, choice.sources)
    return SplitReport(*known, tuple(broken), notes)


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
        return replace(member, tree=unpacked[member.tree]) if member in wanted.get(member.tree, ()) else member

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
