"""Fused maps on disk: for each picture one 8-bit PNG and one line of JSON.

::

    <root>/maps/<name>.png   the fused map times 255
    <root>/labels.jsonl      what was asked, what each view said, and how uncertain the map is

Weights and the choice of pictures are made from these when they are read, so limits change without a model.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from vns_sam.errors import DataError
from vns_sam.labelling.fusion import Selection, pixel_weights
from vns_sam.labelling.maps import decode_map, read_bytes
from vns_sam.labelling.published import published_records
from vns_sam.labelling.records import LINES, Record, read_records


class LabelStore:
    """Reads what a labelling run has written.

    Args:
        root: Folder of the store.
        records: Its lines by picture; those of the last question in ``labels.jsonl`` when omitted. A folder without
            that file is one of somebody else's pseudo-masks, see
            :func:`vns_sam.labelling.published.published_records`.

    Raises:
        DataError: There is no store at ``root``, and no pseudo-mask.
    """

    def __init__(self, root: Path, records: dict[str, Record] | None = None) -> None:
        self.root = root
        if records is None and not (root / LINES).is_file():
            records = published_records(root)
        self.records = read_records(root / LINES) if records is None else records

    def find(self, image: str) -> Record | None:
        """The record of a picture by its name, or by its stem where the store names no endings."""
        return self.records.get(image) or self.records.get(PurePosixPath(image).stem)

    def kept(self, selection: Selection) -> list[Record]:
        """The records that a selection keeps, in order."""
        return [record for record in self.records.values() if record.is_kept(selection)]

    def fused(self, record: Record) -> np.ndarray:
        """The fused map (H, W) float32 in [0, 1]; votes are exact.

        Raises:
            DataError: The map is missing, damaged, or of another size.
        """
        path = self.root / record.map
        bytes_ = read_bytes(path, published=not record.key)
        if bytes_.shape != (record.height, record.width):
            found = " x ".join(map(str, bytes_.shape[::-1]))
            raise DataError(f"expected a map of {record.width} x {record.height} at {path}, found {found}")
        return decode_map(bytes_, record.levels if record.vote else None)

    def training_target(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Target M and weight W = 1 - E of each pixel, both (H, W) float32 in [0, 1]."""
        fused = self.fused(record)
        return fused, pixel_weights(fused)
