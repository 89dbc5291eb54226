"""The VNS-scores of whole sets, and what is written about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from vns_sam.data.pairs import OBJECT_MARK, Pair, check_same_size, pair_objects, read_mask
from vns_sam.data.vns_score import VnsScore, vns_score
from vns_sam.errors import DataError
from vns_sam.formats.text import format_table
from vns_sam.images.charts import histogram
from vns_sam.images.read import file_digest, read_image
from vns_sam.images.write import write_image, write_json, write_text
from vns_sam.runs.job import Job, Result, told
from vns_sam.runs.manifest import digest

COLUMNS = ("set", "stem", "color", "texture", "c_fb", "b_blur", "score")
OBJECT_COLUMN = "object"
"""Comes behind the stem where objects are scored one by one."""
CSV, SUMMARY, HISTOGRAM = "scores.csv", "summary.json", "histogram.png"
SPLITS = ("ns.txt", "s.txt")
"""Lists of what is non-salient (from the threshold on) and salient: stems, or objects as ``stem#2``."""

_BINS = np.linspace(0, 1, 41)


@dataclass(frozen=True)
class ScoredPair:
    """What became of one pair, or of one object of it: its score, or None and one line that says why.

    Attributes:
        dataset: Name of the set.
        stem: Of the picture.
        score: The score.
        error: Why there is none.
        target: Number of the object, "" where a score is of all objects together.
    """

    dataset: str
    stem: str
    score: VnsScore | None
    error: str = ""
    target: str = ""

    @property
    def entry(self) -> str:
        """What a list calls it."""
        return f"{self.stem}{OBJECT_MARK}{self.target}" if self.target else self.stem


@dataclass(frozen=True)
class SetSummary:
    """Scores of one set.

    Attributes:
        dataset: Its name.
        pictures: How many have a score; objects, where they are scored one by one.
        broken: How many have none.
        mean: Mean score, None where no picture has one, as the two below.
        sd: Standard deviation of the scores, divided by their number.
        share: Share of the pictures with a score that are non-salient.
    """

    dataset: str
    pictures: int
    broken: int
    mean: float | None
    sd: float | None
    share: float | None


@dataclass
class ScoreJob(Job[Pair]):
    """Scores sets; the line of a pair holds its score, files tell of all together.

    Attributes:
        folder: Where the manifest and, at the end, tables go; None for lines alone.
        sets: Names of the sets.
        pairs: The pairs of all sets.
        broken: Names of those that lack a picture or mask, with the reason.
        threshold: From this score on a picture is non-salient.
        instances: Whether each object is scored by itself, where a set tells them apart.
    """

    folder: Path | None
    sets: Sequence[str]
    pairs: Sequence[Pair]
    broken: Mapping[str, str]
    threshold: float
    instances: bool = False

    verb: ClassVar[str] = "data score"
    item_field: ClassVar[str] = "pair"
    shares_folder: ClassVar[bool] = True

    @property
    @override
    def out(self) -> Path:
        assert self.folder is not None
        return self.folder

    @property
    @override
    def items(self) -> Sequence[Pair]:
        return self.pairs

    @property
    @override
    def refused(self) -> Mapping[str, str]:
        return {name: told(name, reason) for name, reason in self.broken.items()}

    @override
    def name(self, item: Pair) -> str:
        return f"{item.dataset}/{item.stem}"

    @override
    def inputs(self, item: Pair) -> Sequence[Path]:
        return [item.image, item.mask]

    @override
    def closing(self) -> Sequence[str]:
        folders = [f"{name}/" for name in self.sets] if len(self.sets) > 1 else [""]
        own = (HISTOGRAM, *SPLITS)
        return [CSV, SUMMARY, *dict.fromkeys([HISTOGRAM, *(folder + name for folder in folders for name in own)])]

    @override
    def asked(self) -> Mapping[str, Any]:
        return {"instances": True} if self.instances else {}

    @override
    def key(self, item: Pair) -> str:
        more = [*(path for path in (item.instances, item.objects) if path), *item.listed] if self.instances else []
        files = [file_digest(part) if isinstance(part, Path) else part for part in (item.image, item.mask, *more)]
        return digest(files)

    @override
    def read(self, item: Pair) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        image = read_image(item.image)
        objects = {number: each.mask for number, each in pair_objects(item).items()} if self.instances else {}
        masks = objects or {"": read_mask(item.mask)}
        check_same_size(item, image, next(iter(masks.values())))
        usable = {number: mask for number, mask in masks.items() if mask.any() and not mask.all()}
        if not usable:
            raise DataError(f"{item.mask}: expected an object and its surroundings, found one of them only")
        return image, usable

    @override
    def work(self, item: Pair, content: tuple[np.ndarray, dict[str, np.ndarray]]) -> dict[str, VnsScore]:
        image, masks = content
        return {number: vns_score(image, mask) for number, mask in masks.items()}

    @override
    def encode(self, item: Pair, answer: dict[str, VnsScore]) -> Result:
        if "" in answer:
            return Result({}, {"score": asdict(answer[""])})
        return Result({}, {"scores": {number: asdict(score) for number, score in answer.items()}})

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        rows = scored_rows(done, failed)
        summaries = [summarise_set(name, rows, self.threshold) for name in self.sets]
        write_scores(self.out, rows, summaries, self.threshold)

    @override
    def portable(self, device: str = "") -> Self:
        return replace(self, pairs=[_settled(pair) for pair in self.pairs])


def scored_rows(done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> list[ScoredPair]:
    """What lines of the manifest and failures say of the pairs, those without a score first."""
    broken = [_row(name, None, why.removeprefix(f"{name}: ")) for name, why in failed.items()]
    scored = []
    for line in done:
        scores = line["scores"] if "scores" in line else {"": line["score"]}
        scored += [replace(_row(line["pair"], VnsScore(**score)), target=number) for number, score in scores.items()]
    return broken + scored


def _row(name: str, score: VnsScore | None, error: str = "") -> ScoredPair:
    dataset, stem = name.split("/", 1)
    return ScoredPair(dataset, stem, score, error)


def _settled(pair: Pair) -> Pair:
    """The same with absolute paths."""
    paths: dict[str, Any] = {name: path.resolve() for name, path in vars(pair).items() if isinstance(path, Path)}
    return replace(pair, **paths)


def summarise_set(dataset: str, rows: Sequence[ScoredPair], threshold: float) -> SetSummary:
    """Mean, spread and share of non-salient pictures (score >= threshold) of a set's rows."""
    own = [row for row in rows if row.dataset == dataset]
    scores = np.array([row.score.score for row in own if row.score])
    broken = len(own) - len(scores)
    if not len(scores):
        return SetSummary(dataset, 0, broken, None, None, None)
    share = float((scores >= threshold).mean())
    return SetSummary(dataset, len(scores), broken, float(scores.mean()), float(scores.std()), share)


def write_scores(out: Path, rows: Sequence[ScoredPair], summaries: Sequence[SetSummary], threshold: float) -> None:
    """Writes the table, the summary, and for each set a histogram and the two lists.

    One set's histogram and lists stand in ``out`` itself, those of several in ``out/<set>``, and ``out`` then has
    the histogram of all.

    Args:
        out: Folder; each file in it is replaced as a whole.
        rows: All pairs; those without a score are named in the summary.
        summaries: Of each set.
        threshold: From this score on a picture is non-salient.

    Raises:
        DataError: A file cannot be written.
    """
    write_text(out / CSV, _table(rows))
    broken = [{"set": row.dataset, "stem": row.stem, "error": row.error} for row in rows if not row.score]
    sets = [asdict(summary) for summary in summaries]
    write_json(out / SUMMARY, {"threshold": threshold, "sets": sets, "broken": broken})
    _write_histogram(out, rows, threshold)
    for summary in summaries:
        own = [row for row in rows if row.dataset == summary.dataset]
        folder = out / summary.dataset if len(summaries) > 1 else out
        _write_histogram(folder, own, threshold)
        for name, wanted in zip(SPLITS, (True, False), strict=True):
            entries = [row.entry for row in own if row.score and (row.score.score >= threshold) is wanted]
            write_text(folder / name, "".join(f"{entry}\n" for entry in entries))


def _table(rows: Sequence[ScoredPair]) -> str:
    single = any(row.target for row in rows)
    lines = []
    for row in rows:
        if row.score:
            s = row.score
            values = (s.color, s.texture, s.contrast, s.blur, s.score)
            named = [row.dataset, row.stem, *([row.target] if single else [])]
            lines.append([*named, *(f"{value:.6f}" for value in values)])
    return format_table([*COLUMNS[:2], OBJECT_COLUMN, *COLUMNS[2:]] if single else COLUMNS, lines)


def _write_histogram(folder: Path, rows: Sequence[ScoredPair], threshold: float) -> None:
    scores = np.array([row.score.score for row in rows if row.score])
    if len(scores):
        shown = np.clip(scores, 0, 1)  # scores below 0 stand in the first bar
        write_image(folder / HISTOGRAM, histogram(shown, bins=_BINS.tolist(), x="VNS-score", threshold=threshold))
