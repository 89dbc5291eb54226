"""A machine learning backend for Label Studio: ``/setup``, ``/predict``, ``/webhook``, beside ``/health``.

Label Studio sends the address of a picture, not the picture. No address of a client is fetched: pictures come from
the one Label Studio that the server was started for, from the folder it labels, or inside the task as a data URI.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any
from xml.etree import ElementTree

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from vns_sam.formats.brush import encode_brush
from vns_sam.serving.folder import Project
from vns_sam.serving.plugs import ask_once, listed, objects_of, outlines
from vns_sam.serving.problems import DOCUMENTED, unusable
from vns_sam.serving.schemas import Ask, ObjectPrompts
from vns_sam.serving.service import Service
from vns_sam.serving.studio import TaskPictures

CONTROLS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
TOLERANCE = 0.001


class Predict(BaseModel):
    """What Label Studio sends; other fields are passed over.

    Attributes:
        tasks: With ``id`` and ``data``.
        label_config: The labelling interface.
        params: ``context.result`` holds the key points and rectangles that were just drawn.
    """

    tasks: Annotated[list[dict[str, Any]], Field(max_length=64)]
    label_config: Annotated[str, Field(max_length=200_000)] | None = ""
    params: dict[str, Any] | None = None


@dataclass(frozen=True)
class Control:
    """Where a result goes in the labelling interface.

    Attributes:
        kind: ``brushlabels`` or ``polygonlabels``.
        name: Of the control.
        to_name: Of the picture.
        labels: Its classes.
        value: The field of a task's data that names the picture.
    """

    kind: str
    name: str
    to_name: str
    labels: tuple[str, ...]
    value: str


def build_router(service: Service, project: Project | None) -> APIRouter:
    """The routes of the plug."""
    router = APIRouter(responses=DOCUMENTED, tags=["Label Studio"])
    pictures = TaskPictures(service, project)

    @router.post("/setup")
    async def setup() -> dict[str, str]:
        """Label Studio introduces itself; what it says of itself is not used."""
        return {"model_version": service.engine.names[0]}

    @router.post("/webhook")
    async def webhook() -> dict[str, str]:
        """Label Studio tells what happened; nothing is learnt from it."""
        return {"status": "ok"}

    @router.post("/predict")
    async def predict(request: Request, body: Predict) -> dict[str, Any]:
        """Regions for key points and rectangles."""
        control = control_of(body.label_config or "")
        drawn = regions_of(body.params)
        results = [await _answer(service, pictures, request, task, control, drawn) for task in body.tasks]
        return {"results": results, "model_version": service.engine.names[0]}

    return router


async def _answer(
    service: Service,
    pictures: TaskPictures,
    request: Request,
    task: dict[str, Any],
    control: Control,
    drawn: list[dict[str, Any]],
) -> dict[str, Any]:
    name = service.engine.names[0]
    if not drawn and (await service.info(name)).prompts:
        return {"result": [], "score": 0.0, "model_version": name}
    picture = await pictures.open(request, task, control.value)
    objects = prompts_of(drawn, picture.size) if drawn else []
    answer, masks = await ask_once(service, request, picture, Ask(objects=objects))
    label = label_of(drawn, control)
    result = []
    for found, mask in zip(answer.objects, masks, strict=True):
        values = values_of(mask, control.kind)
        result += [_region(value, control, label, picture.size, found.score) for value in values]
    scores = [found.score for found in answer.objects]
    return {"result": result, "score": round(sum(scores) / max(1, len(scores)), 4), "model_version": name}


def control_of(label_config: str) -> Control:
    """The control that masks are given to: the first of brush or polygon labels.

    Raises:
        Problem: The labelling interface cannot be read or has none.
    """
    try:
        if re.search(r"<!(DOCTYPE|ENTITY)", label_config, re.IGNORECASE):
            raise ElementTree.ParseError
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError:
        raise unusable("the labelling interface is no XML that can be read") from None
    for tag, kind in CONTROLS.items():
        found = root.find(f".//{tag}")
        if found is not None:
            to_name = found.get("toName", "image")
            image = next((one for one in root.iter() if one.get("name") == to_name), None)
            labels = tuple(label.get("value", "") for label in found.iter("Label"))
            value = "$image" if image is None else image.get("value", "$image")
            return Control(kind, found.get("name", kind), to_name, labels, value.lstrip("$"))
    raise unusable("the labelling interface has no place for masks", hint="add <BrushLabels> or <PolygonLabels>")


def regions_of(params: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The key points and rectangles of a request.

    Raises:
        Problem: What should list them does not.
    """
    context = (params or {}).get("context")
    regions = context.get("result") if isinstance(context, dict) else None
    usable = [one for one in listed(regions, "regions") if isinstance(one, dict) and isinstance(one.get("value"), dict)]
    return [one for one in usable if str(one.get("type", "")).startswith(("keypoint", "rectangle"))]


def prompts_of(regions: list[dict[str, Any]], size: tuple[int, int]) -> list[ObjectPrompts]:
    """What was drawn, in percent of the picture, as prompts, see :func:`vns_sam.serving.plugs.objects_of`.

    Raises:
        Problem: A region has no place, or they do not go together.
    """
    height, width = size
    boxes, points, labels = [], [], []
    for region in regions:
        value = region["value"]
        try:
            x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
            if str(region["type"]).startswith("rectangle"):
                boxes.append([x, y, x + float(value["width"]) * width / 100, y + float(value["height"]) * height / 100])
            else:
                points.append([min(max(x, 0), width - 0.01), min(max(y, 0), height - 0.01)])
                positive = region.get("is_positive", value.get("is_positive", True))
                labels.append(int(positive not in (False, 0, "0", "false")))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise unusable("a region has no x, y, width and height in percent") from None
    return objects_of(boxes, points, labels)


def label_of(regions: list[dict[str, Any]], control: Control) -> str:
    """The class that was chosen when drawing, if the control has it, else its first."""
    for region in reversed(regions):
        for given in (region["value"].get(str(region.get("type"))), region["value"].get("labels")):
            if isinstance(given, list) and given and given[0] in control.labels:
                return str(given[0])
    return control.labels[0] if control.labels else "object"


def values_of(mask: np.ndarray, kind: str) -> list[dict[str, Any]]:
    """A mask as brush run lengths, or as polygons in percent."""
    if not mask.any():
        return []
    if kind == "brushlabels":
        return [{"format": "rle", "rle": encode_brush(mask)}]
    scale = 100 / np.array([mask.shape[1], mask.shape[0]])
    rings = outlines(mask, TOLERANCE)
    return [{"points": (np.array(ring) * scale).round(4).tolist(), "closed": True} for ring in rings]


def _region(value: dict[str, Any], control: Control, label: str, size: tuple[int, int], score: float) -> dict[str, Any]:
    """A region with an id of its own: one that was accepted before would be replaced by a new one of the same id."""
    return {
        "id": secrets.token_hex(5),
        "from_name": control.name,
        "to_name": control.to_name,
        "type": control.kind,
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "score": score,
        "value": {**value, control.kind: [label]},
    }
