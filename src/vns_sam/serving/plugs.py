"""What the plugs for labelling tools have in common: pictures that come inside a request, what was drawn on them, and
outlines that go back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from fastapi import Request
from pydantic import ValidationError

from vns_sam.formats.polygons import trace
from vns_sam.serving.masks import read_mask
from vns_sam.serving.problems import first_fault, unusable
from vns_sam.serving.schemas import Answer, Ask, ObjectPrompts
from vns_sam.serving.service import Service
from vns_sam.serving.shelf import Picture


def decode_base64(text: str) -> bytes:
    """The bytes of a data URI or of plain base64; addresses and paths are refused, never fetched.

    Raises:
        Problem: It is neither.
    """
    data = text.partition(",")[2] if text[:5] == "data:" else text
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        hint = "addresses and paths are not fetched for a client"
        raise unusable("expected a picture in base64 or as a data URI", hint=hint) from None


async def ask_once(service: Service, request: Request, picture: Picture, ask: Ask) -> tuple[Answer, list[np.ndarray]]:
    """Asks about a picture that came with the request: the answer, and its masks (H, W) bool."""
    answer = await service.ask(request, picture, ask)
    rles = [found.rle.model_dump() for found in answer.objects if found.rle is not None]
    return answer, [read_mask(rle, picture.size) for rle in rles]


def outlines(mask: np.ndarray, tolerance: float) -> list[list[list[float]]]:
    """The outer outline of each part of a mask, in pixels.

    Args:
        mask: (H, W) bool.
        tolerance: Corners may leave the exact outline by so much, as a share of its length.
    """
    found = []
    for part in trace(mask):
        ring: np.ndarray = np.asarray(part[0], np.float32)
        if tolerance > 0:
            ring = np.asarray(cv2.approxPolyDP(ring, tolerance * cv2.arcLength(ring, True), True))[:, 0]
        if len(ring) > 2:
            found.append(ring.astype(float).tolist())
    return found


def objects_of(
    boxes: Sequence[Sequence[float]], points: Sequence[Sequence[float]], labels: Sequence[int]
) -> list[ObjectPrompts]:
    """The objects that were drawn: each rectangle is one, and all points belong to the only rectangle or to an object
    of their own.

    Args:
        boxes: X0 Y0 X1 Y1 in pixels.
        points: X Y in pixels.
        labels: 1 object, 0 background, one for each point.

    Raises:
        Problem: There are points beside several rectangles, or a coordinate is no number of a picture's size.
    """
    if points and len(boxes) > 1:
        raise unusable("points beside several rectangles", hint="one rectangle with points, or rectangles alone")
    drawn: list[dict[str, Any]] = [{"box": box} for box in boxes]
    if points:
        drawn = [{"box": boxes[0] if boxes else None, "points": points, "labels": labels}]
    try:
        return [ObjectPrompts.model_validate(given) for given in drawn]
    except ValidationError as error:
        raise unusable(first_fault(error)) from None


def listed(given: Any, what: str) -> list[Any]:
    """``given`` as a list, empty where it is None.

    Raises:
        Problem: It is something else; ``what`` says what it should list.
    """
    if given is None or isinstance(given, list):
        return given or []
    raise unusable(f"expected a list of {what}, found {str(given)[:60]}")


def numbers(given: Any, count: int) -> list[float] | None:
    """``given`` as so many numbers, or None."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != count:
        return None
    try:
        return [float(value) for value in given] if all(isinstance(v, int | float) for v in given) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None
