"""The VNS-scores of whole sets, in several processes, and what is written about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vns_sam.data.pairs import Pair, check_same_size, read_mask
from vns_sam.data.vns_score import VnsScore, vns_score
from vns_sam.errors import DataError
from vns_sam.images.charts import histogram
from vns_sam.images.read import read_image
from vns_sam.images.write import write_image, write_json, write_text
from vns_sam.runs.processes import map_in_processes

COLUMNS = ("set", "stem", "color", "texture", "c_fb", "b_blur", "score")
CSV, SUMMARY, HISTOGRAM = "scores.csv", "summary.json", "histogram.png"
SPLITS = ("ns.txt", "s.txt")
"""Lists of the stems that are non-salient (from the threshold on) and salient."""

_CHUNK = 8
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


def score_pair(pair: Pair) -> ScoredPair:
    """Reads and scores one pair; a pair that cannot be scored raises nothing."""
    try:
        image, mask = read_image(pair.image), read_mask(pair.mask)
        check_same_size(pair, image, mask)
        if not mask.any() or mask.all():
            raise DataError(f"{pair.mask}: expected an object and its surroundings, found one of them only")
        return ScoredPair(pair.dataset, pair.stem, vns_score(image, mask))
    except DataError as error:
        return ScoredPair(pair.dataset, pair.stem, None, error.message)


def score_pairs(pairs: Sequence[Pair], workers: int) -> Iterator[ScoredPair]:
    """Scores pairs in their order, in ``workers`` processes; 0 scores in the caller.

    Raises:
        VnsSamError: A process has died.
    """
    return map_in_processes(score_pair, pairs, workers=workers, chunk=_CHUNK)


def summarise_set(dataset: str, rows: Sequence[ScoredPair], threshold: float) -> SetSummary:
    """Mean, spread and share of non-salient pictures (score >= threshold) of the rows given."""
    scores = np.array([row.score.score for row in rows if row.score])
    broken = len(rows) - len(scores)
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
