"""Masks of the page in the formats of other tools, as one file to download."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator

from vns_sam.formats import registry
from vns_sam.formats.result import Files, Result, categories_for
from vns_sam.images.write import encode_archive
from vns_sam.inference.found import Found, LargePrediction
from vns_sam.serving.folder import Project
from vns_sam.serving.masks import check_memory, read_masks
from vns_sam.serving.pictures import too_many_pixels
from vns_sam.serving.problems import DOCUMENTED, not_in_folder, unusable
from vns_sam.serving.schemas import Rle, Side, Strict
from vns_sam.serving.service import Service
from vns_sam.types import Pieces, Prediction, Size, cut_out

NEEDS_MODEL = ("alpha", "candidates")
"""Formats of what a model said beside its masks, which the page does not keep."""
NEEDS_PICTURE = ("yolo", "cutout")
"""Formats that show the picture itself, not its masks alone."""
ABOUT = {
    "png": "A black and white mask for each object",
    "coco": "One JSON: run lengths, boxes, classes",
    "yolo": "Polygons, one line an object",
    "labelme": "One JSON a picture",
    "labelstudio": "Tasks with predictions",
    "cvat": "XML for images 1.1",
    "voc": "Boxes, one XML a picture",
    "geojson": "Polygons in pixels",
    "svg": "Paths over a canvas",
    "cutout": "Objects on a transparent ground",
    "indexed": "One PNG, a number an object",
    "npz": "Arrays for numpy",
}


class ExportObject(Strict):
    """One object: its class, score and mask."""

    label: Annotated[str, Field(max_length=200)] = ""
    score: float | None = None
    mask: Rle


class ExportPicture(Strict):
    """One picture, what it is called, and its objects.

    Attributes:
        id: Of a picture that the client has opened.
        key: Of one of the server's folder, instead of that.
        size: Height and width, instead of both; enough for a format that does not show the picture.
    """

    id: Annotated[str, Field(max_length=64)] | None = None
    key: Annotated[str, Field(max_length=64)] | None = None
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    name: Annotated[str, Field(max_length=300, min_length=1)]
    objects: Annotated[list[ExportObject], Field(max_length=1000, min_length=1)]

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if sum(given is not None for given in (self.id, self.key, self.size)) != 1:
            raise ValueError("expected the id of an opened picture, the key of one of the folder, or a size")
        return self


class FormatRow(BaseModel):
    """A format that can be downloaded.

    Attributes:
        title: A line about it.
        shows_picture: Whether it shows the picture itself, so that a size does not suffice.
    """

    name: str
    title: str
    shows_picture: bool


class Export(Strict):
    """What is to be written, and how."""

    format: Annotated[str, Field(max_length=40)]
    pictures: Annotated[list[ExportPicture], Field(max_length=2000, min_length=1)]


def build_router(service: Service, project: Project | None) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", responses=DOCUMENTED)

    @router.get("/formats")
    async def formats() -> list[FormatRow]:
        """What :func:`write` can write."""
        names = [name for name in registry.FORMATS if name not in NEEDS_MODEL]
        return [FormatRow(name=k, title=ABOUT.get(k, ""), shows_picture=k in NEEDS_PICTURE) for k in names]

    @router.post("/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
    async def export(request: Request, body: Export) -> Response:
        """The masks that the client sends, in a format: a file, or an archive where it takes several."""
        if body.format not in registry.FORMATS or body.format in NEEDS_MODEL:
            raise unusable(f"unknown format '{body.format}'", hint="see GET /api/formats")
        memory = service.settings.memory
        opened = {picture.id: 3 * math.prod(picture.objects[0].mask.size) for picture in body.pictures if picture.id}
        check_memory(f"{len(opened)} opened pictures", sum(opened.values()), memory)
        readers = [_reader(service, project, request, body.format, picture) for picture in body.pictures]
        files = await service.worker.run_long(request, lambda turns: write(body, readers, memory, turns.go_on))
        name, content = _one_file(files, body)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)

    return router


def write(
    export: Export,
    readers: Sequence[Callable[[], np.ndarray | None]],
    memory: int,
    go_on: Callable[[], object] = lambda: None,
) -> dict[str, bytes]:
    """The files of an export by name; a picture that takes one file of many beside others is in an archive.

    What the files say of a picture has its own name, and of several of one name that of its files.

    Args:
        export: What is wanted.
        readers: For each picture what gives its pixels (H, W, 3), or None where its size has to suffice; they are asked
            for one after the other.
        memory: Ceiling in bytes of the masks of each picture, a bit a pixel, and of all files together.
        go_on: Called before each picture; what it raises ends the work.

    Raises:
        Problem: A mask is not of the size of its picture, or it is more than the ceiling allows.
        DataError: A picture of the folder cannot be read.
    """
    named = [entry.name for entry in export.pictures]
    paths = safe_names(named)
    pictures = own_names(named, paths)
    categories = categories_for(item.label for entry in export.pictures for item in entry.objects)
    in_set = len(readers) > 1
    files: Files = {}
    firsts, nbytes = [], 0
    for entry, read, name, path in zip(export.pictures, readers, pictures, paths, strict=True):
        go_on()
        pixels = read()
        height, width = (entry.size or ()) if pixels is None else pixels.shape[:2]
        size = (height, width)
        result = Result(name, _prediction(entry, size, memory), categories, pixels=pixels)
        plan = registry.plan_outputs(path, [export.format], len(entry.objects), in_set=in_set)
        made = registry.encode(result, plan)
        files |= made
        nbytes += sum(len(_bytes(content)) for content in made.values())
        check_memory("the files", nbytes, memory)
        firsts += [made[first] for first in plan[export.format][:1] if first in made]
    if in_set and registry.merges(export.format):
        contents = [_bytes(content) for content in firsts]
        files |= registry.merge(export.format, contents, categories)
    return {name: _bytes(content) for name, content in files.items()}


def own_names(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """What files say of pictures: their names, and of several of one name the paths of their own files."""
    found: list[str] = []
    for name, path in zip(names, paths, strict=True):
        own = "".join(c for c in "/".join(_parts(name)) if c.isprintable()) or path
        found.append(path if own in found else own)
    return found


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]


def safe_names(names: Sequence[str]) -> list[str]:
    """Names of pictures as paths of files below a folder, each once whatever its suffix."""
    found: list[str] = []
    taken: set[str] = set()
    for given in names:
        parts = _parts(given)
        clean = PurePosixPath(
            *["".join(c for c in part if c.isprintable() and c not in ':*?"<>|') or "_" for part in parts]
        )
        first = clean if clean.name else PurePosixPath("picture")
        path, number = first, 1
        while path.with_suffix("").as_posix().lower() in taken:
            number += 1
            path = first.with_name(f"{first.stem}-{number}{first.suffix}")
        taken.add(path.with_suffix("").as_posix().lower())
        found.append(path.as_posix())
    return found


def _reader(
    service: Service, project: Project | None, request: Request, kind: str, picture: ExportPicture
) -> Callable[[], np.ndarray | None]:
    """What gives the pixels of a picture: one that the client has opened is there, one of the folder is read, of one
    whose size is given there are none.

    Raises:
        Problem: There is none, the format shows it and has a size alone, or the size is more than a picture may have.
    """
    if picture.size is not None:
        if kind in NEEDS_PICTURE:
            raise unusable(f"'{kind}' shows the picture, found its size alone", hint="give its id or its key")
        if math.prod(picture.size) > service.settings.limits.pixels:
            raise too_many_pixels(service.settings.limits)
        return lambda: None
    if picture.id is not None:
        opened = service.picture(request, picture.id)
        return lambda: opened.pixels
    if project is None or picture.key is None:
        raise not_in_folder()
    return partial(project.read, project.index(picture.key))


def _prediction(entry: ExportPicture, size: Size, memory: int) -> Prediction:
    """The objects of a picture of (H, W) pixels, a bit for each pixel; what a model thought of the others is not known,
    and no format asks for it.
    """
    rles = [item.mask.model_dump() for item in entry.objects]
    pieces = Pieces(cut_out(mask) for mask in read_masks(rles, size, memory, packed=True))
    scores = np.array([1.0 if item.score is None else item.score for item in entry.objects], np.float32)
    prediction = LargePrediction(pieces, size, scores, _unknown)
    prediction.classes = tuple(item.label for item in entry.objects)
    return prediction


def _unknown(found: Found) -> tuple[np.ndarray, None]:
    return np.broadcast_to(np.float32(0), (len(found), *found.size)), None


def _one_file(files: dict[str, bytes], export: Export) -> tuple[str, bytes]:
    if len(files) == 1:
        [(name, content)] = files.items()
        return _header_name(PurePosixPath(name).name), content
    stem = PurePosixPath(export.pictures[0].name).stem if len(export.pictures) == 1 else "masks"
    return _header_name(f"{stem}_{export.format}.zip"), encode_archive(sorted(files.items()))


def _header_name(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)


def _bytes(content: Any) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content
