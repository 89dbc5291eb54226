"""Labels of other tools as label maps and a table of boxes, as :mod:`vns_sam.data.sparse` has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vns_sam.data.label_maps import Colours
from vns_sam.data.sparse import SparseLabels, write_boxes
from vns_sam.errors import DataError
from vns_sam.formats.registry import write_files
from vns_sam.images.find import find_images
from vns_sam.images.read import upright_size
from vns_sam.images.write import encode_image, write_text

BOXES = "boxes.csv"


@dataclass
class LabelImport:
    """What an import came to.

    Attributes:
        pictures: Number of pictures with a label.
        maps: Number of maps that were written.
        boxes: Number of boxes.
        unlabelled: Pictures that have no label.
        problems: One line for each thing that was left out.
    """

    pictures: int = 0
    maps: int = 0
    boxes: int = 0
    unlabelled: int = 0
    problems: list[str] = field(default_factory=list)


def import_labels(
    source: Path, images: Path, out: Path, colours: Colours | None = None
) -> Iterator[tuple[LabelImport, int]]:
    """Writes a map of codes for each picture that has strokes, points or areas, and a table of the boxes.

    Args:
        source: See :class:`vns_sam.data.sparse.SparseLabels`.
        images: The pictures.
        out: A new or empty folder.
        colours: What the colours of maps mean.

    Yields:
        After each picture, what it came to so far, and of how many pictures.

    Raises:
        DataError: Nothing can be read, no picture has a label, or ``out`` holds something.
    """
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"expected a new folder at {out}, found other files", hint="choose another with --out")
    names = find_images(images)
    labels = SparseLabels(source, colours)
    labels.follow(images, names)
    state = LabelImport(problems=labels.problems)
    maps: dict[str, str] = {}  # the picture of each
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for name in names:
        if name not in labels:
            state.unlabelled += 1
        else:
            try:
                _import(labels, images, name, out, boxes, maps, state)
            except DataError as error:
                state.problems.append(error.message if name in error.message else f"{name}: {error.message}")
        yield state, len(names)
    state.problems[:0] = labels.count.missing()
    if not state.pictures:
        more = f"; {state.problems[0]}" if state.problems else ""
        raise DataError(f"expected labels of pictures in {images} at {source}, found none{more}")
    if boxes:
        write_text(out / BOXES, write_boxes(boxes))


def _import(
    labels: SparseLabels,
    images: Path,
    name: str,
    out: Path,
    boxes: dict[str, list[tuple[float, ...]]],
    maps: dict[str, str],
    state: LabelImport,
) -> None:
    label = labels.read(name, upright_size(images / name), picture=images / name, outside=False)
    path = Path(name).with_suffix(".png").as_posix()
    if label.codes.any() and (first := maps.setdefault(path, name)) != name:
        raise DataError(f"{name}: expected a map of its own, found {path} of {first}")
    if len(label.boxes):
        boxes[name] = [tuple(map(float, box)) for box in label.boxes]
        state.boxes += len(label.boxes)
    if label.codes.any():
        write_files(out, {path: encode_image(label.codes)})
        state.maps += 1
    state.pictures += 1
