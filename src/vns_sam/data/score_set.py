"""The VNS-scores of whole sets, and what is written about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from typing_extensions import override

from vns_sam.data.pairs import Pair, check_same_size, read_mask
from vns_sam.data.vns_score import VnsScore, vns_score
from vns_sam.errors import DataError
from vns_sam.images.charts import histogram
from vns_sam.images.read import file_digest, read_image
from vns_sam.images.write import write_image, write_json, write_text
from vns_sam.runs.job import Job, Result, told
from vns_sam.runs.manifest import digest

COLUMNS = ("set", "stem", "color", "texture", "c_fb", "b_blur", "score")
CSV, SUMMARY, HISTOGRAM = "scores.csv", "summary.json", "histogram.png"
SPLITS = ("ns.txt", "s.txt")
"""Lists of the stems that are non-salient (from the threshold on) and salient."""

_BINS = np.linspace(0, 1, 41)


@dataclass(frozen=True)
class ScoredPair:
    """What became of one pair: its score, or None and one line that says why."""

    dataset: str
    stem: str
    score: VnsScore | None
    error: str = ""


@dataclass(frozen=True)
class SetSummary:
    """Scores of one set.

    Attributes:
        dataset: Its name.
        pictures: How many have a score.
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
    """

    folder: Path | None
    sets: Sequence[str]
    pairs: Sequence[Pair]
    broken: Mapping[str, str]
    threshold: float

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
        return [CSV, SUMMARY]

    @override
    def key(self, item: Pair) -> str:
        return digest([file_digest(item.image), file_digest(item.mask)])

    @override
    def read(self, item: Pair) -> tuple[np.ndarray, np.ndarray]:
        image, mask = read_image(item.image), read_mask(item.mask)
        check_same_size(item, image, mask)
        if not mask.any() or mask.all():
            raise DataError(f"{item.mask}: expected an object and its surroundings, found one of them only")
        return image, mask

    @override
    def work(self, item: Pair, content: tuple[np.ndarray, np.ndarray]) -> VnsScore:
        return vns_score(*content)

    @override
    def encode(self, item: Pair, answer: VnsScore) -> Result:
        return Result({}, {"score": asdict(answer)})

    @override
    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        rows = scored_rows(done, failed)
        write_scores(self.out, rows, [summarise_set(name, rows, self.threshold) for name in self.sets], self.threshold)

    @override
    def portable(self, device: str = "") -> Self:
        pairs = [replace(pair, image=pair.image.resolve(), mask=pair.mask.resolve()) for pair in self.pairs]
        return replace(self, pairs=pairs)


def scored_rows(done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> list[ScoredPair]:
    """What lines of the manifest and failures say of the pairs, those without a score first."""
    broken = [_row(name, None, why.removeprefix(f"{name}: ")) for name, why in failed.items()]
    return broken + [_row(line["pair"], VnsScore(**line["score"])) for line in done]


def _row(name: str, score: VnsScore | None, error: str = "") -> ScoredPair:
    dataset, stem = name.split("/", 1)
    return ScoredPair(dataset, stem, score, error)


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
    """Writes the table, the summary, and for each set a histogram and the two lists of stems.

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
            stems = [row.stem for row in own if row.score and (row.score.score >= threshold) is wanted]
            write_text(folder / name, "".join(f"{stem}\n" for stem in stems))


def _table(rows: Sequence[ScoredPair]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        if row.score:
            s = row.score
            values = (s.color, s.texture, s.contrast, s.blur, s.score)
            table.writerow([row.dataset, row.stem, *(f"{value:.6f}" for value in values)])
    return text.getvalue()


def _write_histogram(folder: Path, rows: Sequence[ScoredPair], threshold: float) -> None:
    scores = np.array([row.score.score for row in rows if row.score])
    if len(scores):
        shown = np.clip(scores, 0, 1)  # scores below 0 stand in the first bar
        write_image(folder / HISTOGRAM, histogram(shown, bins=_BINS.tolist(), x="VNS-score", threshold=threshold))
