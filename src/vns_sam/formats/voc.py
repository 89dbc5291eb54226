"""Pascal VOC: an XML file for each picture, with boxes; with polygons of Roboflow or LabelMe on the web, too.

ScribbleSup's files are of this kind and hold strokes.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import Contents, Described, Shape, box_of, corners_of, numbered, size_of
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.text import decode, format_xml, parse_xml

NAME = "voc"
ENDING = ".xml"


def read(content: bytes, where: str) -> Contents:
    """Reads one file.

    Raises:
        DataError: It is no VOC file.
    """
    root = parse_xml(decode(content, where), where)
    if root.tag != "annotation":
        raise DataError(f"expected a VOC file at {where}, found XML of '{root.tag}'")
    found = Contents("VOC file")
    shapes = []
    for number, entry in enumerate(root.iter("object")):
        if entry.findtext("deleted", "").strip() == "1":  # LabelMe keeps what was deleted
            continue
        try:
            shapes.append(_object(entry, f"object {number}"))
        except ValueError as error:
            found.problems.append(f"{where}: object {number}: {error}")
    name = root.findtext("filename", "").strip() or where.rpartition("/")[2].removesuffix(".xml")
    outlines = set(root.iterfind(".//object//polygon"))
    strokes = (entry for entry in root.iter("polygon") if entry not in outlines)
    for number, entry in enumerate(strokes):  # as ScribbleSup has them
        try:
            line = [[float(point.findtext(axis, "")) for axis in "XY"] for point in entry.iter("point")]
            shapes.append(Shape(entry.findtext("tag", "").strip(), lines=(corners_of(line, 1),)))
        except ValueError as error:
            found.problems.append(f"{where}: stroke {number}: {error}")
    size = size_of(root.findtext("size/height", ""), root.findtext("size/width", ""))
    path = root.findtext("path", "").strip().replace("\\", "/")
    found.pictures.append(Described(path if path.rpartition("/")[2] == name else name, size, tuple(shapes)))
    found.categories = numbered(shape.label for shape in shapes)
    return found


def _object(entry: ElementTree.Element, mark: str) -> Shape:
    """An object with its box, its outline, or both; an outline that is broken is the fault of an object with a box.

    Raises:
        ValueError: It has neither.
    """
    label, polygons = entry.findtext("name", "").strip(), entry.findall("polygon")
    sides = [entry.findtext(f"bndbox/{side}", "") for side in ("xmin", "ymin", "xmax", "ymax")]
    box = box_of(sides) if entry.find("bndbox") is not None or not polygons else None
    try:
        return Shape(label, box=box, outline=tuple(map(_corners, polygons)) or None, mark=mark)
    except ValueError as error:
        if box is None:
            raise
        return Shape(label, box=box, mark=mark, fault=str(error))


def _corners(polygon: ElementTree.Element) -> np.ndarray:
    """Corners (N, 2) XY in pixels: ``x1``, ``y1``, ``x2``, ... as Roboflow has them, or a ``pt`` each, as LabelMe."""
    texts = {child.tag: child.text or "" for child in polygon}
    if "pt" in texts:
        return corners_of([[float(point.findtext(axis, "")) for axis in "xy"] for point in polygon.iter("pt")])
    numbers = range(1, len(texts) // 2 + 1)
    return corners_of([[float(texts.get(f"{axis}{number}", "")) for axis in "xy"] for number in numbers])


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture: the boxes around its masks."""
    height, width = result.size
    root = ElementTree.Element("annotation")
    folder, _, base = result.name.rpartition("/")
    for tag, text in (("folder", folder), ("filename", base)):
        ElementTree.SubElement(root, tag).text = text
    size = ElementTree.SubElement(root, "size")
    for tag, number in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(number)
    for index, box in enumerate(result.prediction.boxes):
        if box.any():
            entry = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(entry, "name").text = result.labels[index]
            bounds = ElementTree.SubElement(entry, "bndbox")
            for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), box.tolist(), strict=True):
                ElementTree.SubElement(bounds, tag).text = f"{side:g}"
    return {paths[0]: format_xml(root)}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)
