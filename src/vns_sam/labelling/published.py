"""Pseudo-masks of somebody else, such as WS-SAM's authors publish theirs: a folder of pictures, one for each."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from vns_sam.errors import DataError
from vns_sam.images.find import EXTENSIONS
from vns_sam.labelling.fusion import HIGH, Uncertainty, measure
from vns_sam.labelling.maps import decode_map, read_bytes
from vns_sam.labelling.records import LINES, Record

logger = logging.getLogger(__name__)


def published_records(folder: Path) -> dict[str, Record]:
    """A line for each pseudo-mask of a folder, by stem: gray from 0 to 255 is how sure the object is, and 0 and 1 are
    masks. They count as one view that was believed, and are chosen by their uncertainty as any pseudo-label.

    Raises:
        DataError: There is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"expected pseudo-labels at {folder}, found no {LINES} and no pseudo-mask there",
            hint="vns-sam pseudo-label",
        )
    records: dict[str, Record] = {}
    for path in files:
        if path.stem in records:
            raise DataError(
                f"expected one pseudo-mask for '{path.stem}' in {folder}, found two", hint="name one folder"
            )
        try:
            records[path.stem] = _record(path, folder)
        except DataError as error:
            logger.warning("left out: %s", error.message)
    return records


def _record(path: Path, folder: Path) -> Record:
    bytes_ = read_bytes(path, published=True)
    found = Uncertainty(0.0, 0.0 if bytes_.any() else math.inf, 0.0)
    if not np.isin(bytes_, (0, 255)).all():
        found = measure(decode_map(bytes_, None), HIGH)
    relative, to_all = (value if math.isfinite(value) else None for value in (found.relative, found.relative_to_all))
    return Record(
        image=path.stem,
        key="",
        map=path.relative_to(folder).as_posix(),
        height=bytes_.shape[0],
        width=bytes_.shape[1],
        kind="published",
        levels=1,
        vote=False,
        views=1,
        believed=1,
        absolute=found.absolute,
        relative=relative,
        relative_to_all=to_all,
        area=float((bytes_ >= 128).mean()),
        score=1.0,
    )
