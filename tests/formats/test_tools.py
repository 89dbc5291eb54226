"""What other tools write: each test holds a file as the tool leaves it, and what it means there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from vns_sam.formats import labelstudio
from vns_sam.formats.annotation import Contents

SIZE = {"original_width": 1000, "original_height": 500}


def read_task(*regions: dict[str, Any], **data: str) -> Contents:
    """A task of Label Studio with one annotation, read."""
    task = {"data": data or {"image": "a.jpg"}, "annotations": [{"result": list(regions)}]}
    return labelstudio.read(json.dumps([task]).encode(), "t.json")


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ({"x": 10, "y": 10, "width": 40, "height": 4, "rotation": 90}, (80, 50, 100, 450)),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 2, "rotation": 90}, (490, 150, 510, 350)),
        ({"x": 10, "y": 10, "width": 40, "height": 4, "rotation": 0}, (100, 50, 500, 70)),
    ],
)
def test_label_studio_turns_in_pixels(value: dict[str, Any], bounds: tuple[float, ...]) -> None:
    (shape,) = read_task({**SIZE, "value": value}).pictures[0].shapes
    np.testing.assert_allclose(shape.bounds() or (), bounds)
