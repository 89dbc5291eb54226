"""CVAT for images 1.1: one XML file for all pictures, with boxes, ellipses, polygons, polylines, points and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from vns_sam.errors import DataError
from vns_sam.formats.annotation import (
    MALFORMED,
    Contents,
    Described,
    Shape,
    box_of,
    corners_of,
    ellipse,
    join_groups,
    numbered,
    size_of,
    turned,
    turned_box,
)
from vns_sam.formats.polygons import join_rings
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.rle import decode_rle, encode_piece
from vns_sam.formats.text import decode, format_xml, parse_xml
from vns_sam.types import Piece

NAME = "cvat"
ENDING = "_cvat.xml"
SET = "annotations.xml"


def read(content: bytes, where: str) -> Contents:
    """Reads the file of a task. Polygons of one group and class are one object.

    Raises:
        DataError: It is no CVAT file.
    """
    root = parse_xml(decode(content, where), where)
    if root.tag != "annotations":
        raise DataError(f"expected a CVAT file at {where}, found XML of '{root.tag}'")
    found = Contents("CVAT file")
    for image in root.iter("image"):
        parts: list[tuple[Shape, str]] = []
        for entry in image:
            try:
                shape = _shape(entry, image)
                parts += [(shape, _group(entry))] if shape is not None else []
            except MALFORMED as error:
                found.problems.append(f"{where}: {image.get('name')}: {entry.tag}: {error}")
        found.pictures.append(Described(image.get("name", ""), _size(image), join_groups(parts)))
    if not found.pictures and root.find("track") is not None:
        raise DataError(f"{where} holds tracks of a video, expected pictures", hint="export as 'CVAT for images 1.1'")
    named = [text for label in root.findall("meta//label/name") if (text := (label.text or "").strip())]
    found.categories = dict(enumerate(named, 1))
    used = (shape.label for picture in found.pictures for shape in picture.shapes)
    if not set(used) <= set(named):
        found.categories = numbered(shape.label for picture in found.pictures for shape in picture.shapes)
    return found


def _group(entry: ElementTree.Element) -> str:
    """What a shape belongs to; CVAT's 0 is no group."""
    group = entry.get("group_id", "")
    return "" if group == "0" else group


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    return size_of(image.get("height", ""), image.get("width", ""))


def _shape(entry: ElementTree.Element, image: ElementTree.Element) -> Shape | None:
    label = entry.get("label", "")
    angle = float(entry.get("rotation", 0))  # about the middle
    if entry.tag == "box":
        x0, y0, x1, y1 = box = box_of([entry.attrib[side] for side in ("xtl", "ytl", "xbr", "ybr")])
        return Shape(label, box=turned_box(box, angle, ((x0 + x1) / 2, (y0 + y1) / 2)))
    if entry.tag == "ellipse":
        x, y, *radii = (float(entry.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return Shape(label, outline=(corners_of(turned(ellipse((x, y), radii), angle, (x, y))),))
    if entry.tag == "mask":
        return Shape(label, outline=_mask(entry.attrib, _size(image)))
    if entry.tag == "tag":  # a class of the whole picture
        return None
    if entry.tag not in ("polygon", "polyline", "points"):
        raise ValueError("a kind of shape that is not read")
    pairs = [[float(value) for value in pair.split(",")] for pair in entry.attrib["points"].split(";")]
    corners = corners_of(pairs, 3 if entry.tag == "polygon" else 1)
    if entry.tag == "polygon":
        return Shape(label, outline=(corners,))
    if entry.tag == "polyline":
        return Shape(label, lines=(corners,))
    points = tuple((float(x), float(y)) for x, y in corners)
    return Shape(label, points=points, point_labels=(1,) * len(points))


def _mask(attributes: Mapping[str, str], size: tuple[int, int] | None) -> dict[str, object]:
    """Run lengths, row by row, of a mask in its own window, as those of the whole picture."""
    if size is None:
        raise ValueError("a mask in a picture of unknown size")
    left, top, width, height = (int(float(attributes[key])) for key in ("left", "top", "width", "height"))
    counts = [int(count) for count in attributes["rle"].split(",")]
    across = decode_rle({"size": [width, height], "counts": counts})  # COCO's run down, CVAT's across
    return encode_piece(Piece(top, left, across.T).within(size), size)


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture: a polygon for each part, those of one object in one group."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    height, width = result.size
    image = ElementTree.SubElement(root, "image", id="0", name=result.name, width=str(width), height=str(height))
    for index, parts in enumerate(result.parts):
        group = {"group_id": str(index + 1)} if len(parts) > 1 else {}
        for part in parts:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in join_rings(part))
            more = {"label": result.labels[index], "source": "auto", "occluded": "0", "z_order": "0"}
            ElementTree.SubElement(image, "polygon", {**more, "points": points, **group})
    return {paths[0]: format_xml(root)}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)


def set_files(categories: Mapping[int, str]) -> list[str]:
    """Names of the files of a whole run."""
    return [SET]


def merge(pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
    """All pictures in one file."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, content in enumerate(pictures):
        for image in ElementTree.fromstring(content).iter("image"):
            image.set("id", str(number))
            root.append(image)
    return {SET: format_xml(root)}
