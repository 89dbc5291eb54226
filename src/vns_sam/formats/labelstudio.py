"""Label Studio: tasks with predictions, as its import takes them; its exports are read."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlparse

import numpy as np

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
    turned,
    turned_box,
)
from vns_sam.formats.brush import decode_brush, encode_brush
from vns_sam.formats.polygons import join_rings
from vns_sam.formats.result import Files, Result, each_object
from vns_sam.formats.rle import encode_rle
from vns_sam.formats.text import attribute, decode, parse_json
from vns_sam.images.find import EXTENSIONS

NAME = "labelstudio"
ENDING = "_task.json"
SET = "labelstudio.json"
CONFIG = "labelstudio.xml"
LOCAL = "/data/local-files/?d="
MODEL_VERSION = "vns-sam"

_UPLOADS = "/data/upload/"
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_PART = re.compile(r"(object-\d+)-\d+")  # what a part of an object is called by this package
_PLACE = frozenset({"rle", "points", "x"})  # one of them tells where a region lies
_SIDES = frozenset({"y", "width", "height", "rotation", "radiusX", "radiusY"})  # and these, beside "x"
_WORDS = frozenset({"choices", "datetime", "number", "pairwise", "ranker", "rating", "taxonomy", "textarea"})
_EXPORTED = frozenset({"annotation_id", "lead_time"})  # what each record of JSON-MIN has
_CONTROLS = (("BrushLabels", "brush"), ("PolygonLabels", "polygon"), ("RectangleLabels", "box"))


def to_regions(result: Result) -> list[dict[str, Any]]:
    """The regions of one picture: exact brush strokes, or polygons in percent where outlines are simplified."""
    height, width = result.size
    found = []
    for index, piece in enumerate(result.prediction.pieces):
        if result.simplify > 0:
            scale = 100 / np.array([width, height])
            drawn = [
                ("polygon", {"points": (join_rings(part) * scale).round(4).tolist(), "closed": True})
                for part in result.parts[index]
            ]
        else:
            drawn = [("brush", {"format": "rle", "rle": encode_brush(piece.full(result.size))})] if piece.area else []
        for number, (control, value) in enumerate(drawn):
            found.append(
                {
                    "id": f"object-{index}-{number}",
                    "from_name": control,
                    "to_name": "image",
                    "type": f"{control}labels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": round(float(result.prediction.scores[index]), 4),
                    "value": {**value, f"{control}labels": [result.labels[index]]},
                }
            )
    return found


def to_task(result: Result) -> dict[str, Any]:
    """One task with one prediction; its picture is served from Label Studio's local files."""
    scores = result.prediction.scores
    prediction = {
        "model_version": MODEL_VERSION,
        "score": round(float(scores.mean()), 4) if len(scores) else 0.0,
        "result": to_regions(result),
    }
    return {"data": {"image": LOCAL + quote(os.fsencode(result.name))}, "predictions": [prediction]}


def encode(result: Result, paths: Sequence[str]) -> Files:
    """A list of one task."""
    return {paths[0]: (json.dumps([to_task(result)], allow_nan=False) + "\n").encode()}


def plan(stem: str, name: str, objects: int) -> list[str]:
    """Names of the files of one picture."""
    return each_object(stem, ENDING, 1)


def set_files(categories: Mapping[int, str]) -> list[str]:
    """Names of the files of a whole run."""
    return [SET, CONFIG]


def merge(pictures: Sequence[bytes], categories: Mapping[int, str]) -> Files:
    """All tasks in one file, and the labelling interface that shows them."""
    tasks = [task for content in pictures for task in json.loads(content)]
    return {SET: (json.dumps(tasks, allow_nan=False) + "\n").encode(), CONFIG: to_config(categories).encode()}


def to_config(categories: Mapping[int, str]) -> str:
    """The labelling interface for these classes."""
    labels = "".join(f"    <Label value={attribute(name)}/>\n" for name in categories.values())
    controls = "".join(f'  <{tag} name="{name}" toName="image">\n{labels}  </{tag}>\n' for tag, name in _CONTROLS)
    return f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n{controls}</View>\n'


def looks_like(raw: Any) -> bool:
    """Whether a JSON value is a list of tasks; in JSON-MIN those on which nobody drew have no regions."""
    tasks = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(task, dict) for task in tasks):
        return False
    drawn = [isinstance(task.get("data"), dict) or _short(task) for task in tasks]
    return any(drawn) and all(known or _EXPORTED & set(task) for known, task in zip(drawn, tasks, strict=True))


def read(content: bytes, where: str) -> Contents:
    """Reads an export, JSON or JSON-MIN: of each task the last annotation, in JSON-MIN the one that was changed last,
    else the first prediction.

    Polygons that :func:`to_regions` made of one object are one object, as long as they keep their names and class.

    Raises:
        DataError: It is no list of tasks.
    """
    raw = parse_json(decode(content, where), where)
    if not looks_like(raw):
        raise DataError(f"expected tasks of Label Studio at {where}, found other JSON")
    found = Contents("Label Studio file")
    for number, task in _newest(raw if isinstance(raw, list) else [raw]):
        name = _picture(task)
        parts: list[tuple[Shape, str]] = []
        size: tuple[int, int] | None = None
        for region in _regions(task):
            try:
                drawn = next((one for one in region if not _PLACE.isdisjoint(one["value"])), None)
                if drawn is None:
                    _check_words(region)
                    continue
                size = int(drawn["original_height"]), int(drawn["original_width"])
                label = next(filter(None, (_label(one["value"]) for one in region)), "")
                shape = _shape(drawn, label, f"task {number}, region {drawn.get('id', len(parts))}", size)
                parts.append((shape, _group(drawn)))
            except MALFORMED as error:
                found.problems.append(f"{where}: task {number}: {type(error).__name__} {error}")
        if name:
            found.pictures.append(Described(name, size, join_groups(parts)))
        else:
            found.problems.append(f"{where}: task {number} names no picture")
    found.categories = numbered(shape.label for picture in found.pictures for shape in picture.shapes)
    return found


def _newest(tasks: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The tasks with their numbers; of the records that JSON-MIN has of one task, the one that was changed last."""
    found: dict[Any, tuple[int, Mapping[str, Any]]] = {}
    for number, task in enumerate(tasks):
        key = ("id", str(task["id"])) if "data" not in task and "id" in task else number
        before = found.get(key)
        if before is None or str(task.get("updated_at", "")) >= str(before[1].get("updated_at", "")):
            found[key] = number, task
    return list(found.values())


def _group(region: Mapping[str, Any]) -> str:
    """The object that a region is a part of, "" where its name tells none."""
    part = _PART.fullmatch(str(region.get("id", "")))
    return part.group(1) if part else ""


def _short(task: Mapping[str, Any]) -> bool:
    """Whether it is a task of JSON-MIN: its regions are values of the task itself."""
    return any(isinstance(v, list) and v and isinstance(v[0], dict) and "original_width" in v[0] for v in task.values())


def _regions(task: Mapping[str, Any]) -> Iterable[list[Mapping[str, Any]]]:
    """The results of a task, those of one region together: each control that describes a region repeats its place.

    A region is known by its id, in JSON-MIN by its place; results without an id are regions of their own.
    """
    found: dict[str | int, list[Mapping[str, Any]]] = {}
    for number, (name, result) in enumerate(_results(task)):
        found.setdefault(name or number, []).append(result)
    return found.values()


def _results(task: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each result of a task, and what its region is known by, or ""."""
    if "data" not in task:
        for values in task.values():
            seen: Counter[str] = Counter()  # equal places of one control are several regions
            for value in _mappings(values):
                if "original_width" in value:
                    place = json.dumps([value.get(key) for key in sorted(_PLACE | _SIDES)])
                    seen[place] += 1
                    yield f"{seen[place]} {place}", {**value, "value": value}
        return
    drawn = [
        one for one in _mappings(task.get("annotations") or task.get("completions")) if not one.get("was_cancelled")
    ]
    for one in drawn[-1:] or _mappings(task.get("predictions"))[:1]:
        for result in _mappings(one.get("result")):
            if isinstance(result.get("value"), dict):
                yield str(result.get("id") or ""), result


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; none where it is something else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _picture(task: Mapping[str, Any]) -> str:
    """Name of a task's picture: of its texts that hold a dot the first that ends as pictures do, else the first."""
    texts = [v for v in task.get("data", task).values() if isinstance(v, str) and "." in v.rpartition("/")[2]]
    names = [name for name in map(_name, texts) if name]
    ending = (name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS)
    return next(ending, names[0] if names else "")


def _name(address: str) -> str:
    """What a picture is called without the server's address and the code that an upload gets; "" for no address."""
    try:
        url = urlparse(address)
    except ValueError:  # half of an address in brackets
        return ""
    local = parse_qs(url.query, errors="surrogateescape").get("d")
    if local:
        return local[0]
    path, base = unquote(url.path), unquote(url.path).rpartition("/")[2]
    if _UPLOADS in path:
        return _UPLOADED.sub("", base)
    return base if url.scheme else path


def _check_words(region: Sequence[Mapping[str, Any]]) -> None:
    """Takes results without a place for what they are: words about the whole picture.

    Raises:
        ValueError: They are a region of a kind that is not read.
    """
    kind = str(region[0].get("type", "unknown"))
    if kind not in _WORDS:
        raise ValueError(f"a region of the kind '{kind}', which is not read")


def _label(value: Mapping[str, Any]) -> str:
    return next((str(v[0]) for key, v in value.items() if key.endswith("labels") and v), "")


def _shape(region: Mapping[str, Any], label: str, mark: str, size: tuple[int, int]) -> Shape:
    height, width = size
    value = region["value"]
    scale = np.array([width, height]) / 100
    if "rle" in value:
        return Shape(label, outline=encode_rle(decode_brush(value["rle"], height, width)), mark=mark)
    if "points" in value:
        return Shape(label, outline=(corners_of(np.asarray(value["points"], float) * scale),), mark=mark)
    place = np.array([value["x"], value["y"]], float) * scale
    angle = float(value.get("rotation") or 0)
    if "radiusX" in value:
        rim = ellipse(place, np.array([value["radiusX"], value["radiusY"]], float) * scale)
        return Shape(label, outline=(corners_of(turned(rim, angle, place)),), mark=mark)
    if "height" in value:
        sides = np.array([value["width"], value["height"]], float) * scale
        return Shape(label, box=turned_box(box_of([*place, *sides], as_size=True), angle, place), mark=mark)
    point = (float(place[0]), float(place[1]))
    return Shape(label, points=(point,), point_labels=(int(region.get("is_positive", True)),), mark=mark)
