"""A whole evaluation: sets, prompts and settings once, then any number of models, each resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vns_sam.data.pairs import Pair, is_set, pair_digest
from vns_sam.errors import DataError, UsageError
from vns_sam.evaluation.ablate import Ablation, ablated
from vns_sam.evaluation.measure import Measure
from vns_sam.evaluation.protocol import Protocol, parse_protocols
from vns_sam.evaluation.report import ModelResult, Report
from vns_sam.evaluation.rows import Key, Row, RowStore, Shard, Unscored
from vns_sam.evaluation.runner import Outcome, evaluate, scored_pairs
from vns_sam.evaluation.saved_maps import SavedMaps
from vns_sam.evaluation.settings import Choice, Clock, Settings
from vns_sam.images.find import folder_name
from vns_sam.images.write import check_writable, write_json, write_text
from vns_sam.runs.job import Mapper
from vns_sam.runs.threads import overlapped
from vns_sam.sam.second_look import wants_second_look
from vns_sam.types import PromptableModel

REPORT = "report"
ROWS = "rows"
SKELETONS = "skeletons"


@dataclass(frozen=True)
class Suite:
    """What every model is measured on.

    Attributes:
        pairs: Pictures of all sets, set by set.
        protocols: Prompts.
        measure: How.
        broken: Pairs that cannot even be opened, as set/stem with the reason.
    """

    pairs: Sequence[Pair]
    protocols: Sequence[Protocol]
    measure: Measure
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """What is scored of each object."""
        return self.measure.settings()

    @property
    def prompts(self) -> list[str]:
        """Names of the prompts, in order."""
        return [str(protocol) for protocol in self.protocols]

    @property
    def sets(self) -> list[str]:
        """Names of the sets, in order."""
        return list(dict.fromkeys(pair.dataset for pair in self.pairs))

    def run(
        self,
        model: PromptableModel,
        label: str,
        out: Path | None = None,
        *,
        mapper: Mapper = overlapped,
        strict: bool = False,
        retry_failed: bool = False,
        shard: Shard | None = None,
        maps: Path | None = None,
        choice: Choice = "own",
        part: Ablation | None = None,
        apart: bool = False,
    ) -> Run:
        """Prepares the evaluation of one model; nothing is measured before the result is iterated.

        Args:
            model: The model.
            label: What the report calls it.
            out: Folder that keeps the rows, so that a stopped run goes on; None keeps nothing.
            mapper: Who does the work: threads of this process, processes, or a cluster.
            strict: Whether a broken pair ends the run.
            retry_failed: Whether only pictures are measured that an earlier run could not.
            shard: This process's part.
            maps: Folder that receives the predictions as pictures, see :class:`SavedMaps`.
            choice: Which of the model's masks is scored.
            part: The part of the model that is switched off.
            apart: Whether rows of another configuration, other weights or settings under this label are left alone.

        Raises:
            UsageError: ``out`` holds such rows, and ``apart`` is not set; or ``maps`` holds maps of another question.
            DataError: ``out`` cannot be written.
        """
        return Run(self, model, label, out, mapper, strict, retry_failed, shard or Shard(), maps, choice, part, apart)

    def report(self, runs: Sequence[Run]) -> Report:
        """Gathers finished runs of this suite; rows that other processes wrote are read in."""
        settings = {**asdict(self.settings), "seed": self.measure.seed, "version": version("vns-sam")}
        columns = self.measure.metrics if self.measure.by_metric else ()
        digests = self.digests() if runs else {}
        return Report(settings, [run.result(digests) for run in runs], self.measure.groups, columns)

    def digests(self) -> dict[tuple[str, str], str]:
        """Digests of the files as they are now, by set and stem; a picture whose files cannot be read has none."""
        found = {}
        for pair in self.pairs:
            with suppress(DataError):
                found[pair.dataset, pair.stem] = pair_digest(pair)
        return found


@dataclass
class Run:
    """The evaluation of one model: iterate it to measure, then ask for its result."""

    suite: Suite
    model: PromptableModel
    label: str
    out: Path | None
    mapper: Mapper
    strict: bool
    retry_failed: bool
    shard: Shard
    maps: Path | None = None
    choice: Choice = "own"
    part: Ablation | None = None
    apart: bool = False
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.weights = self.model.info.digest
        self.settings = replace(self.suite.settings, choice=self.choice)
        looks_again = wants_second_look(self.model.info, self.settings.second_look)
        self.looks_again = looks_again and self.choice == "own"
        if self.out is not None:
            check_writable(self.out / f"{REPORT}.json")
        self.saved = None if self.maps is None else SavedMaps(self.maps, self.label)
        if self.saved is not None:
            self.saved.check(self._identity)
        self.store = self._store()
        pairs = self.suite.pairs[self.shard.index :: self.shard.count]
        failed = self.store.skipped
        self.pairs = [pair for pair in pairs if not self.retry_failed or (pair.dataset, pair.stem) in failed]

    def __len__(self) -> int:
        """Pictures of this process."""
        return len(self.pairs)

    def __iter__(self) -> Iterator[Outcome]:
        """Measures, with one outcome for each picture, as it is found."""
        if self.saved is not None:
            self.saved.mark(self._identity)
        with self.as_measured():
            yield from evaluate(
                self.model,
                self.pairs,
                self.suite.protocols,
                self.settings,
                self.store,
                mapper=self.mapper,
                strict=self.strict,
                clock=self.clock,
                skeletons=None if self.out is None else self.out / SKELETONS,
                maps=self.saved,
            )

    def as_measured(self) -> AbstractContextManager[None]:
        """While it lasts, the model answers as it is measured: without the part that is switched off."""
        return ablated(self.model, self.part)

    def result(self, digests: Mapping[tuple[str, str], str] | None = None) -> ModelResult:
        """Rows of this suite and of its files, in its order; and what has no row, with the reason.

        Args:
            digests: Of the files, see :meth:`Suite.digests`; rows of other files are left out. None takes the files as
                they are now.

        Raises:
            DataError: There is no row.
        """
        store = self.store if self.shard.count == 1 else self._store()
        found = [row for row in store.of(self.suite.digests() if digests is None else digests) if self._asks(row.key)]
        rows = [row for row in found if isinstance(row, Row)]
        pairs, prompts = self.suite.pairs, self.suite.prompts
        if not rows:
            raise DataError(f"{self.label}: none of {len(pairs)} pictures could be scored", hint="see the lines above")
        place = {(pair.dataset, pair.stem): i for i, pair in enumerate(pairs)}
        rows.sort(key=lambda row: (place[row.key[:2]], row.key.target, prompts.index(row.key.prompt)))
        scored = {row.key[:2] for row in rows}
        skipped = dict(self.suite.broken)
        skipped |= {"/".join(key): store.skipped.get(key, "not measured") for key in place if key not in scored}
        unscored = [row for row in found if isinstance(row, Unscored) and row.key[:2] in scored]
        unscored.sort(key=lambda row: (place[row.key[:2]], row.key.target, prompts.index(row.key.prompt)))
        seconds = {name: round(spent, 3) for name, spent in asdict(self.clock).items()}
        return ModelResult(
            self.label, self.weights, rows, skipped, seconds, second_look=self.looks_again, unscored=unscored
        )

    def _asks(self, key: Key) -> bool:
        """Whether it is a prompt of this suite, and an object that its list names."""
        listed = self._listed.get(key[:2])
        return key.prompt in self.suite.prompts and (not listed or key.target in listed)

    @cached_property
    def _listed(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {(pair.dataset, pair.stem): pair.listed for pair in self.suite.pairs}

    @property
    def _identity(self) -> Mapping[str, Any]:
        return self.suite.measure.identity(self.weights, looks_again=self.looks_again, choice=self.choice)

    def _store(self) -> RowStore:
        folder = None if self.out is None else self.out / ROWS
        return RowStore(folder, self.label, self._identity, self.shard, self.apart)


def make_suite(
    folders: Sequence[str | Path] | Mapping[str, str], measure: Measure | None = None, *, strict: bool = False
) -> Suite:
    """Opens the sets and judges every name before anything is measured.

    Args:
        folders: Sets, or folders of sets; ``data/coco@ns`` is the part of a set that ``ns.txt`` lists. A mapping gives
            sets by the name that the report calls them.
        measure: How they are measured; a box with IoU and boundary IoU without it.
        strict: Whether a picture without mask, or the reverse, is an error; else it counts as skipped.

    Raises:
        UsageError: A prompt, metric or set of a group is unknown, or two sets share a name.
        DataError: A set is missing or empty, or ``strict`` and broken.
    """
    measure = measure or Measure()
    if isinstance(folders, Mapping):
        sets = [replace(_choose(given)[0], called=name) for name, given in folders.items()]
    else:
        sets = [chosen for given in folders for chosen in _choose(str(given))]
    names = [chosen.name for chosen in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"two sets are called '{twice}'", hint="the folder's name is the name of the set")
    for group, members in measure.groups.items():
        for member in members:
            if member not in names:
                raise UsageError(f"group '{group}' names the set '{member}', which is not measured", hint="--data")
    settings = measure.settings()
    pairs: list[Pair] = []
    broken: dict[str, str] = {}
    for chosen in sets:
        missing: dict[str, str] = {}
        by_object = settings.by_object(chosen.name)
        found = scored_pairs(chosen.folder, chosen.split, None if strict else missing, objects=by_object)
        found = found[: measure.limit]
        pairs += [replace(pair, dataset=chosen.name) for pair in found]
        broken |= {f"{chosen.name}/{stem}": reason for stem, reason in missing.items()}
    return Suite(pairs, parse_protocols(measure.prompts, measure.seed), measure, broken)


@dataclass(frozen=True)
class _Chosen:
    """A set, the list of it that is followed, and what the report calls it if not by both."""

    folder: Path
    split: str | None
    called: str = ""

    @property
    def name(self) -> str:
        if self.called:
            return self.called
        name = folder_name(self.folder)
        return name if self.split is None else f"{name}@{self.split}"


def _choose(text: str) -> list[_Chosen]:
    """The set, or the sets in a folder of sets; ``SET@LIST`` follows a list where no folder is called so."""
    path, mark, split = text.rpartition("@")
    listed = bool(mark) and not Path(text).exists()
    folder = Path(path if listed else text)
    if (folder / "images").is_dir() or is_set(folder) or not folder.is_dir():
        inside = []
    else:
        inside = sorted(path for path in folder.iterdir() if is_set(path))
    return [_Chosen(each, split if listed else None) for each in inside or [folder]]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Writes ``report.md``, ``report.csv`` and ``report.json``.

    Raises:
        DataError: The folder cannot be written.
    """
    paths = [folder / f"{REPORT}.{suffix}" for suffix in ("md", "csv", "json")]
    write_text(paths[0], report.to_markdown())
    write_text(paths[1], report.to_csv())
    write_json(paths[2], report.to_json())
    return paths
