"""GeoJSON: a MultiPolygon for each object, in pixels with y downwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vns_sam.errors import DataError
from vns_sam.formats.annotation import MALFORMED, Contents, Described, Shape, corners_of, numbered
from vns_sam.formats.polygons import Ring, join_rings, split_at_touches
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.text import decode, parse_json

NAME = "geojson"
ENDING = "_mask.geojson"


def to_dict(result: Result) -> dict[str, Any]:
    """A feature for each object that is not empty; its polygons are valid by the rules of GIS tools."""
    features = []
    for index, traced in enumerate(result.parts):
        parts = [[_closed(ring) for ring in split_at_touches(part)] for part in traced]
        if parts:
            properties = {
                "image": result.name,
                "object": index,
                "score": round(float(result.prediction.scores[index]), 4),
            }
            if result.classes[index]:
                properties["class"] = result.classes[index]
            geometry = {"type": "MultiPolygon", "coordinates": parts}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def encode(result: Result, paths: Sequence[str]) -> Files:
    """One file for the picture."""
    return {paths[0]: (json.dumps(to_dict(result), allow_nan=False) + "\n").encode()}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)


def read(content: bytes, where: str) -> Contents:
    """Reads polygons in pixels, of one picture or of those that ``properties.image`` names.

    Raises:
        DataError: It is no collection of features.
    """
    raw = parse_json(decode(content, where), where)
    if not looks_like(raw):
        raise DataError(f"expected a GeoJSON FeatureCollection at {where}, found other JSON")
    found = Contents("GeoJSON file")
    shapes: dict[str, list[Shape]] = {}
    for number, feature in enumerate(raw["features"]):
        try:
            properties = feature.get("properties") or {}
            shape = Shape(_label(properties), outline=_rings(feature["geometry"]), mark=f"feature {number}")
            shapes.setdefault(str(properties.get("image", "")), []).append(shape)
        except MALFORMED as error:
            found.problems.append(f"{where}: feature {number}: {error}")
    found.pictures = [Described(name, None, tuple(some)) for name, some in shapes.items()]
    found.categories = numbered(shape.label for some in shapes.values() for shape in some)
    return found


def looks_like(raw: Any) -> bool:
    """Whether a JSON value is a GeoJSON collection."""
    return isinstance(raw, dict) and raw.get("type") == "FeatureCollection" and isinstance(raw.get("features"), list)


def _label(properties: dict[str, Any]) -> str:
    """The class of an object; QuPath's ``classification`` where no other is given."""
    given = properties.get("classification")
    named = given.get("name") if isinstance(given, dict) else None
    return str(properties.get("class") or properties.get("label") or named or "")


def _rings(geometry: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """A polygon with its holes tied in for each part."""
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"expected a Polygon or MultiPolygon, found {geometry['type']}")
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return tuple(join_rings([corners_of(ring)[:-1] for ring in part]) for part in parts)


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = np.concatenate([ring, ring[:1]]).tolist()
    return corners
