"""Measures a model on pictures: whoever does the work, rows are kept here as they are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vns_sam.data.pairs import Pair, find_pairs
from vns_sam.data.splits import has_split
from vns_sam.errors import DataError
from vns_sam.evaluation.picture import Picture, PictureWork, Scored
from vns_sam.evaluation.protocol import Protocol
from vns_sam.evaluation.rows import RowStore
from vns_sam.evaluation.saved_maps import SavedMaps
from vns_sam.evaluation.settings import Clock, Settings
from vns_sam.images.write import write_bytes
from vns_sam.metrics.detection import check_precision
from vns_sam.metrics.scoring import check_installed
from vns_sam.runs.job import Done, Mapper
from vns_sam.runs.threads import overlapped
from vns_sam.types import PromptableModel


@dataclass(frozen=True)
class Outcome:
    """What became of one picture: nothing to say, done by an earlier run, or why it was passed over."""

    pair: Pair
    done_before: bool = False
    error: str = ""


def scored_pairs(
    folder: str | Path,
    split: str | None = None,
    broken: dict[str, str] | None = None,
    *,
    objects: bool = False,
) -> list[Pair]:
    """The pairs of a set that are scored.

    Args:
        folder: The set.
        split: The list to follow, "ns" reads ``ns.txt``; by default its split "test" (``test.txt``, ``list/test.txt``
            or ``images_test/``), or all pictures where it has none.
        broken: Receives pictures without mask and listed names without picture, by name with the reason; without it
            they are errors.
        objects: Whether each object is asked for by itself, so that a list may name single ones.

    Raises:
        DataError: The set or list is missing or empty, or ``broken`` is not given and something is missing.
    """
    if split is None and has_split(Path(folder), "test"):
        split = "test"
    return find_pairs(folder, split, broken=broken, objects=objects)


def evaluate(
    model: PromptableModel,
    pairs: Sequence[Pair],
    protocols: Sequence[Protocol],
    settings: Settings,
    store: RowStore,
    *,
    mapper: Mapper = overlapped,
    strict: bool = False,
    clock: Clock | None = None,
    skeletons: Path | None = None,
    maps: SavedMaps | None = None,
) -> Iterator[Outcome]:
    """Scores a model; rows go to the store, pictures whose rows are there already are passed over.

    Args:
        model: The model; picklable where others do the work.
        pairs: Pictures with their true masks.
        protocols: Prompts.
        settings: What is scored.
        store: Receives the rows.
        mapper: Who does the work: threads of this process, processes, or a cluster.
        strict: Whether a broken pair ends the run.
        clock: Receives the time split.
        skeletons: Folder that keeps the skeletons of true masks, which only HCE needs; None keeps none.
        maps: Receives the predictions; a picture whose maps are not there is asked about again.

    Yields:
        One outcome for each pair, as they are found.

    Raises:
        UsageError: A second look was asked for, and the model cannot be asked about one object.
        MissingExtraError: A metric needs a package that is not installed.
        DataError: ``strict``, and a picture or mask cannot be read, they differ in size, or a mask is empty.
    """
    check_installed(settings.metrics)
    if any(settings.keeps_masks(pair.dataset) for pair in pairs):
        check_precision()
    clock = clock or Clock()
    work = PictureWork(model, tuple(protocols), settings, skeletons, maps)
    known = store.known()
    pictures = [Picture(pair, known.get((pair.dataset, pair.stem), {})) for pair in pairs]
    by_name = {work.name(picture): picture.pair for picture in pictures}
    found = mapper(work, pictures)
    while True:
        with clock.spending("wait"):
            done = next(found, None)
        if done is None:
            return
        yield _kept(by_name[done.name], done, store, clock, strict=strict)


def _kept(pair: Pair, done: Done[Scored], store: RowStore, clock: Clock, *, strict: bool) -> Outcome:
    """Writes what a picture became: its maps, then its rows."""
    scored = done.result or Scored(errors=[done.error])
    clock.add(scored.clock)
    for path, content in scored.maps.items():
        write_bytes(path, content)
    for row in scored.rows:
        store.add(row)
    if not scored.errors:
        return Outcome(pair, done_before=not scored.rows)
    if strict:
        raise DataError(scored.errors[0], hint="without --strict it is told and passed over")
    store.skip(pair.dataset, pair.stem, scored.errors[0])
    return Outcome(pair, error=scored.errors[0])
