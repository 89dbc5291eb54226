"""osam's interface, for clients of ``osam serve``: ``POST /api/generate``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from vns_sam.serving.masks import as_png
from vns_sam.serving.plugs import ask_once, decode_base64, objects_of
from vns_sam.serving.problems import DOCUMENTED, unusable
from vns_sam.serving.schemas import Ask, ObjectPrompts, Point
from vns_sam.serving.service import Service

BACKGROUND, OBJECT, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1


class Prompt(BaseModel):
    """Points and what each is: 0 background, 1 object, 2 and 3 the corners of a box, -1 nothing."""

    points: Annotated[list[Point], Field(max_length=512)] | None = None
    point_labels: Annotated[list[int], Field(max_length=512)] | None = None


class Generate(BaseModel):
    """What osam's clients send; fields that are of no use here are passed over.

    Attributes:
        model: A name of ours; any other, such as "sam:latest", means the default.
        image: The picture in base64.
    """

    model: Annotated[str, Field(max_length=200)] = ""
    image: str
    prompt: Prompt | None = None


def build_router(service: Service) -> APIRouter:
    """The route of the plug."""
    router = APIRouter(responses=DOCUMENTED, tags=["osam"])

    @router.post("/api/generate")
    async def generate(request: Request, body: Generate) -> dict[str, Any]:
        """The mask of one object, with its box and score."""
        objects = [] if body.prompt is None else prompts_of(body.prompt)
        name = body.model if body.model in service.engine.names else service.engine.names[0]
        picture = await service.open_once(request, decode_base64(body.image))
        answer, masks = await ask_once(service, request, picture, Ask(model=name, objects=objects))
        annotations = []
        for found, mask in zip(answer.objects, masks, strict=True):
            x0, y0, x1, y1 = found.box or [0, 0, 1, 1]
            box = {"xmin": int(x0), "ymin": int(y0), "xmax": int(x1) - 1, "ymax": int(y1) - 1}
            annotations.append({"bounding_box": box, "text": None, "score": found.score, "mask": as_png(mask)})
        return {"model": answer.model, "image_embedding": None, "annotations": annotations}

    return router


def prompts_of(prompt: Prompt) -> list[ObjectPrompts]:
    """Points with osam's labels as a box and clicks on one object; none where there are none.

    Raises:
        Problem: Points and labels do not belong together, or half a box is given.
    """
    points, labels = prompt.points or [], prompt.point_labels or []
    if len(points) != len(labels) or not set(labels) <= {BACKGROUND, OBJECT, TOP_LEFT, BOTTOM_RIGHT, PADDING}:
        raise unusable("expected one label of 0, 1, 2, 3 or -1 for each point")
    corners = [
        [p for p, label in zip(points, labels, strict=True) if label == kind] for kind in (TOP_LEFT, BOTTOM_RIGHT)
    ]
    clicks = [(p, label) for p, label in zip(points, labels, strict=True) if label in (BACKGROUND, OBJECT)]
    if len(corners[0]) != len(corners[1]) or len(corners[0]) > 1:
        raise unusable("expected one box: a point of label 2 and one of label 3")
    boxes = [[*first, *last] for first, last in zip(*corners, strict=True)]
    return objects_of(boxes, [place for place, _ in clicks], [label for _, label in clicks])
