"""X-AnyLabeling's remote server: ``GET /v1/models`` and ``POST /v1/predict``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from vns_sam.serving.plugs import ask_once, decode_base64, listed, numbers, objects_of, outlines
from vns_sam.serving.problems import DOCUMENTED, unusable
from vns_sam.serving.schemas import Ask, ObjectPrompts
from vns_sam.serving.service import Service
from vns_sam.types import ModelInfo

LABEL = "AUTOLABEL_OBJECT"
"""What X-AnyLabeling asks the user to name."""
WIDGETS = (
    *("button_add_point", "button_remove_point", "add_pos_rect"),
    *("button_run_rect", "button_clear", "button_finish_object"),
)
"""What its window shows, by the names that its client has for them."""
FINENESS = ("mask_fineness_slider", "mask_fineness_value_label")


class Predict(BaseModel):
    """What X-AnyLabeling sends.

    Attributes:
        model: One of ``GET /v1/models``.
        image: The picture as a data URI.
        params: ``marks``, each of ``type`` point or rectangle with its ``data`` in pixels and ``label`` 1 or 0;
            ``epsilon_factor``, how far outlines may leave the mask.
    """

    model: Annotated[str, Field(max_length=200)]
    image: str
    params: dict[str, Any] = {}


def build_router(service: Service) -> APIRouter:
    """The routes of the plug."""
    router = APIRouter(prefix="/v1", responses=DOCUMENTED, tags=["X-AnyLabeling"])

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The models on offer, as X-AnyLabeling lists them."""
        return {"success": True, "data": {name: _card(info) for name, info in (await service.cards()).items()}}

    @router.post("/predict")
    async def predict(request: Request, body: Predict) -> dict[str, Any]:
        """Outlines for marks."""
        prompts = prompts_of(body.params.get("marks"))
        if not prompts and (await service.info(service.engine.resolve(body.model))).prompts:
            return _reply([])
        picture = await service.open_once(request, decode_base64(body.image))
        answer, masks = await ask_once(service, request, picture, Ask(model=body.model, objects=prompts))
        fineness = body.params.get("epsilon_factor", 0.001)
        tolerance = float(fineness) if isinstance(fineness, int | float) and 0 <= fineness < 1 else 0.001
        shapes = []
        for number, (found, mask) in enumerate(zip(answer.objects, masks, strict=True)):
            parts = outlines(mask, tolerance)
            group = number if len(parts) > 1 else None
            shapes += [_shape(part, found.score, group) for part in parts]
        return _reply(shapes)

    return router


def prompts_of(marks: Any) -> list[ObjectPrompts]:
    """The objects that marks ask for, see :func:`vns_sam.serving.plugs.objects_of`.

    Raises:
        Problem: A mark is none, or they do not go together.
    """
    boxes: list[list[float]] = []
    points: list[list[float]] = []
    labels: list[int] = []
    for mark in listed(marks, "marks"):
        kind, data = (mark.get("type"), mark.get("data")) if isinstance(mark, dict) else (None, None)
        if kind == "point" and (place := numbers(data, 2)):
            points.append(place)
            labels.append(int(mark.get("label", 1) == 1))
        elif kind == "rectangle" and (box := numbers(data, 4)):
            if mark.get("label", 1) == 1:
                x0, y0, x1, y1 = box
                boxes.append([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)])
        else:
            raise unusable(f"expected marks of type point or rectangle, got {str(mark)[:60]}")
    return objects_of(boxes, points, labels)


def _card(info: ModelInfo) -> dict[str, Any]:
    names = (*WIDGETS, *FINENESS) if info.prompts else ("button_run", *FINENESS)
    widgets = [{"name": widget, "value": 10 if widget == FINENESS[0] else None} for widget in names]
    mode = None if info.prompts else "default"
    return {"display_name": info.name, "widgets": widgets, "params": {}, "batch_processing_mode": mode}


def _shape(points: list[list[float]], score: float, group: int | None) -> dict[str, Any]:
    return {
        "label": LABEL,
        "shape_type": "polygon",
        "points": [*points, points[0]],
        "score": score,
        "group_id": group,
        "attributes": {},
        "description": None,
        "difficult": False,
        "direction": 0,
        "flags": None,
        "kie_linking": [],
    }


def _reply(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"success": True, "data": {"shapes": shapes, "description": "", "replace": False}}
