"""The files a result becomes: PNG, COCO, YOLO, GeoJSON or SVG, always in pixels of the original picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from vns_sam.errors import UsageError
from vns_sam.formats.polygons import Ring, join_rings, trace
from vns_sam.formats.rle import encode_rle
from vns_sam.images.overlay import colour_of
from vns_sam.images.write import write_image, write_json, write_mask, write_text
from vns_sam.types import Prediction

Format = Literal["png", "coco", "yolo", "geojson", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIX: dict[Format, str] = {
    "png": ".png",
    "coco": ".json",
    "yolo": ".txt",
    "geojson": ".geojson",
    "svg": ".svg",
}
CATEGORY = "object"


def output_paths(path: Path, kind: Format, objects: int) -> list[Path]:
    """The files :func:`write_prediction` writes.

    Several objects become one PNG each, ``_0``, ``_1`` and so on; the other formats hold all in one file.
    """
    if kind != "png" or objects == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{index}{path.suffix}") for index in range(objects)]


def write_alpha(path: Path, prediction: Prediction) -> list[Path]:
    """Writes the alpha map of each object as a grey PNG, several as :func:`output_paths` names them.

    Raises:
        UsageError: The model has no alpha map.
        DataError: The place cannot be written.
    """
    if prediction.alpha is None:
        raise UsageError("this model gives masks without alpha", hint="add --refine runs/dis_sam_tiny/model")
    paths = output_paths(path, "png", len(prediction.alpha))
    for file, alpha in zip(paths, prediction.alpha, strict=True):
        write_image(file, (alpha * 255).astype(np.uint8))
    return paths


def write_prediction(path: Path, prediction: Prediction, kind: Format, *, image_name: str) -> list[Path]:
    """Writes a prediction, each file atomically.

    Args:
        path: The file, or the pattern of the files, see :func:`output_paths`.
        prediction: Masks of one picture.
        kind: The format.
        image_name: What COCO and GeoJSON call the picture.

    Returns:
        The files that were written.

    Raises:
        DataError: The place cannot be written.
    """
    paths = output_paths(path, kind, len(prediction.masks))
    if kind == "png":
        for file, mask in zip(paths, prediction.masks, strict=True):
            write_mask(file, mask)
    elif kind == "coco":
        write_json(path, to_coco(prediction, image_name))
    elif kind == "geojson":
        write_json(path, to_geojson(prediction, image_name))
    else:
        texts: dict[str, Callable[[Prediction], str]] = {"yolo": to_yolo, "svg": to_svg}
        write_text(path, texts[kind](prediction))
    return paths


def to_coco(prediction: Prediction, image_name: str) -> dict[str, Any]:
    """COCO instances with compressed run lengths; boxes as X Y WIDTH HEIGHT, as COCO has them."""
    height, width = prediction.masks.shape[1:]
    annotations = []
    for index, mask in enumerate(prediction.masks):
        x0, y0, x1, y1 = (float(value) for value in prediction.boxes[index])
        annotations.append(
            {
                "id": index + 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": encode_rle(mask),
                "area": int(mask.sum()),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "score": round(float(prediction.scores[index]), 4),
            }
        )
    images = [{"id": 1, "file_name": image_name, "width": width, "height": height}]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": CATEGORY}]}


def merge_coco(files: Sequence[Path]) -> dict[str, Any]:
    """One COCO set from the files of single pictures, with new ids."""
    merged: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": CATEGORY}]}
    for image_id, file in enumerate(files, start=1):
        single = json.loads(file.read_text(encoding="utf-8"))
        merged["images"].append({**single["images"][0], "id": image_id})
        for annotation in single["annotations"]:
            number = len(merged["annotations"]) + 1
            merged["annotations"].append({**annotation, "id": number, "image_id": image_id})
    return merged


def to_yolo(prediction: Prediction) -> str:
    """One line for each object that is not empty: class 0, then one polygon, X Y as fractions of the size.

    Parts and holes are tied into the one polygon by bridges of no width.
    """
    height, width = prediction.masks.shape[1:]
    lines = []
    for mask in prediction.masks:
        rings = [ring for part in trace(mask) for ring in part]
        if rings:
            corners = join_rings(rings) / [width, height]
            lines.append("0 " + " ".join(f"{value:.6f}" for value in corners.ravel()))
    return "".join(line + "\n" for line in lines)


def to_geojson(prediction: Prediction, image_name: str) -> dict[str, Any]:
    """A feature for each object that is not empty: corners in pixels, y downwards."""
    features = []
    for index, mask in enumerate(prediction.masks):
        parts = [[_closed(ring) for ring in part] for part in trace(mask)]
        if parts:
            properties = {
                "image": image_name,
                "object": index,
                "score": round(float(prediction.scores[index]), 4),
            }
            geometry = {"type": "MultiPolygon", "coordinates": parts}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def to_svg(prediction: Prediction) -> str:
    """A path for each object over a canvas of the picture's size."""
    height, width = prediction.masks.shape[1:]
    paths = []
    for index, mask in enumerate(prediction.masks):
        data = " ".join(f"M{' '.join(f'{x},{y}' for x, y in ring)}Z" for part in trace(mask) for ring in part)
        colour = "#{:02x}{:02x}{:02x}".format(*colour_of(index))
        paths.append(f'  <path id="object-{index}" fill="{colour}" fill-rule="evenodd" d="{data}"/>\n')
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{"".join(paths)}</svg>\n'


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = np.concatenate([ring, ring[:1]]).tolist()
    return corners
