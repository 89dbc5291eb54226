"""Pascal VOC: an XML file for each picture, with boxes; or with strokes, as ScribbleSup has them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import Contents, Described, Shape, box_of, numbered, size_of
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
        try:
            corners = [entry.findtext(f"bndbox/{side}", "") for side in ("xmin", "ymin", "xmax", "ymax")]
            shapes.append(Shape(entry.findtext("name", "").strip(), box=box_of(corners), mark=f"object {number}"))
        except ValueError as error:
            found.problems.append(f"{where}: object {number}: {error}")
    name = root.findtext("filename", "").strip() or where.rpartition("/")[2].removesuffix(".xml")
    for number, entry in enumerate(root.iter("polygon")):  # strokes, as ScribbleSup has them
        try:
            line = [[float(point.findtext(axis, "")) for axis in "XY"] for point in entry.iter("point")]
            shapes.append(Shape(entry.findtext("tag", "").strip(), lines=(np.array(line).reshape(-1, 2),)))
        except ValueError as error:
            found.problems.append(f"{where}: stroke {number}: {error}")
    size = size_of(root.findtext("size/height", ""), root.findtext("size/width", ""))
    path = root.findtext("path", "").strip().replace("\\", "/")
    found.pictures.append(Described(path if path.rpartition("/")[2] == name else name, size, tuple(shapes)))
    found.categories = numbered(shape.label for shape in shapes)
    return found


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
