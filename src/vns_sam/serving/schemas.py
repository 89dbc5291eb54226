"""The bodies of the REST interface; what is not named here is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def spelt(text: str) -> str:
    """Text that JSON can hold: bytes of a file's name that are no UTF-8 are spelt ``%E9``, which keeps names apart."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)


Text = Annotated[str, BeforeValidator(spelt)]
"""What a client is told, and what may hold a file's name."""
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
Point = Annotated[list[Number], Field(min_length=2, max_length=2)]
Side = Annotated[int, Field(ge=1, le=1_000_000)]


class Strict(BaseModel):
    """Base: unknown fields are refused, and so are values of another type and numbers that JSON does not have."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Rle(Strict):
    """A mask as COCO stores it.

    Attributes:
        size: Height and width.
        counts: Run lengths down the columns, background first: numbers, or pycocotools' text.
    """

    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    counts: str | list[int]


class ObjectPrompts(Strict):
    """What is known of one object, in pixels of the picture; at least one of box, points and mask.

    Attributes:
        box: X0 Y0 X1 Y1.
        points: X Y of each click.
        labels: 1 object, 0 background, one for each point; all 1 when left out.
        mask: A coarse mask.
    """

    box: Box | None = None
    points: Annotated[list[Point], Field(min_length=1)] | None = None
    labels: list[Annotated[int, Field(ge=0, le=1)]] | None = None
    mask: Rle | None = None


class Ask(Strict):
    """A request for masks.

    Attributes:
        model: One of ``GET /api/models``; the first when left out.
        objects: One entry for each mask that is wanted; left out for a model that takes no prompt.
        candidates: Whether the other masks that the model has are wanted too.
        second_look: Whether small and thin objects are looked at again, closer.
        refine: Whether the masks are redrawn to the pixel.
        output: How masks come.
        edges: Whether the edge map is wanted, a PNG.
    """

    model: str | None = None
    objects: list[ObjectPrompts] = []
    candidates: bool = False
    second_look: Literal["auto", "on", "off"] = "auto"
    refine: bool = False
    output: Literal["rle", "png", "polygons"] = "rle"
    edges: bool = False


class Question(Ask):
    """A request for masks in a picture, one of several.

    Attributes:
        picture: Its id.
    """

    picture: Annotated[str, Field(max_length=64)]


class Batch(Strict):
    """Several requests for masks, answered in their order."""

    questions: Annotated[list[Question], Field(min_length=1, max_length=64)]


class Automatic(Strict):
    """A request for all objects of a picture.

    Attributes:
        model: One that takes clicks; the first when left out.
        points_per_side: Clicks along the longer side.
        score: Least predicted IoU; the model's own limit when left out.
        stability: Least stability of a mask, likewise.
        least_area: Smaller objects, in pixels, are left out.
        most: Objects at most, the first of the order.
        rank: What comes first: what the model is surest of, or what hardly stands out.
        output: How masks come.
    """

    model: str | None = None
    points_per_side: Annotated[int, Field(ge=1, le=64)] = 16
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    stability: Annotated[float, Field(ge=0, le=1)] | None = None
    least_area: Annotated[int, Field(ge=0, le=1_000_000_000)] = 16
    most: Annotated[int, Field(ge=1, le=1000)] = 100
    rank: Literal["score", "vns"] = "score"
    output: Literal["rle", "png", "polygons"] = "rle"


class Mask(BaseModel):
    """One mask; of ``rle``, ``png`` (base64) and ``polygons`` the one that was asked for.

    Attributes:
        score: Predicted IoU.
        area: Pixels.
        box: X0 Y0 X1 Y1 around it, right and bottom exclusive, or None where it is empty.
        polygons: For each part its rings, the outer one first.
    """

    score: float
    area: int
    box: list[float] | None
    rle: Rle | None = None
    png: str | None = None
    polygons: list[list[list[list[int]]]] | None = None


class Found(Mask):
    """The mask of one object.

    Attributes:
        candidates: The other masks that the model has, best first, where they were asked for.
        edges: The edge map as a PNG in base64, 1024 pixels at most, or None.
    """

    candidates: list[Mask] = []
    edges: str | None = None


class Answer(BaseModel):
    """Masks in the order of the request's objects.

    Attributes:
        model: What made them.
        encode_ms, decode_ms: What the models took.
    """

    model: str
    objects: list[Found]
    encode_ms: float
    decode_ms: float


class BatchRow(BaseModel):
    """The answer to one request of several, or why there is none.

    Attributes:
        status: The HTTP status that it would have had alone.
        answer: The masks, where the status is 200.
        error, hint: Else what is wrong, and what to try.
    """

    status: int
    answer: Answer | None = None
    error: Text = ""
    hint: Text = ""


class Opened(BaseModel):
    """A picture that was taken in."""

    id: str
    name: Text
    width: int
    height: int


class ModelRow(BaseModel):
    """A model on offer.

    Attributes:
        prompts: Kinds of prompts it takes; none: it finds what there is.
        candidates: Masks that it offers for one prompt.
        edges: Whether it predicts edges.
        refinable: Whether its masks can be redrawn.
        looks_again: Whether it can look a second time.
        adapted_from: What it was adapted from by a lesson, or "".
    """

    name: str
    prompts: list[str]
    candidates: int
    edges: bool
    refinable: bool
    looks_again: bool
    adapted_from: str = ""


class ModelDetails(BaseModel):
    """A model on offer, as :class:`vns_sam.types.ModelInfo` has it, and what it is called here."""

    served_as: str
    name: str
    digest: str
    prompts: list[str]
    input_side: int | None
    candidates: int
    edges: bool
    alpha: bool
    look_again: str
    least_score: float
    least_stability: float


class SavedObject(Strict):
    """One object of a picture that is being labelled.

    Attributes:
        label: Its class.
        colour: As ``#rrggbb``.
        score: Predicted IoU, or None for one that was drawn.
        mask: Its mask, or None where there is none yet.
        page: What the page itself needs to go on: prompts and settings.
    """

    label: Annotated[str, Field(max_length=200)] = "object"
    colour: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")] = "#00c8ff"
    score: float | None = None
    mask: Rle | None = None
    page: dict[str, Any] = {}


class Annotations(Strict):
    """All objects of one picture.

    Attributes:
        saved_at: When the page had them so, milliseconds since 1970.
        picture: Name of its file; the server writes it, whatever a client sends.
    """

    objects: Annotated[list[SavedObject], Field(max_length=1000)] = []
    saved_at: Annotated[float, Field(ge=0)] = 0
    picture: Annotated[str, Field(max_length=1000)] = ""


class FolderRow(BaseModel):
    """One picture of the folder that is being labelled.

    Attributes:
        key: What its routes call it; no picture of another folder, or with another output, has the same.
    """

    key: str
    name: Text
    objects: int


class Folder(BaseModel):
    """The folder that the server was started with; no pictures where there is none."""

    name: Text = ""
    key: str = ""
    pictures: list[FolderRow] = []


class FolderPicture(Opened):
    """A picture of the folder, and what was done on it before."""

    annotations: Annotations
