"""The REST interface under ``/api``, which the page uses too."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from vns_sam.errors import VnsSamError
from vns_sam.serving.folder import Project
from vns_sam.serving.pictures import cut, preview
from vns_sam.serving.problems import CLIENT_GONE, DOCUMENTED, Problem, problem_of, unknown_picture
from vns_sam.serving.schemas import (
    Annotations,
    Answer,
    Ask,
    Automatic,
    Batch,
    BatchRow,
    Folder,
    FolderPicture,
    ModelDetails,
    ModelRow,
    Opened,
    Question,
)
from vns_sam.serving.service import Service, owner_of
from vns_sam.serving.settings import WITH_FOLDER
from vns_sam.serving.shelf import Picture
from vns_sam.types import ModelInfo

BINARY = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}
THUMBNAIL = 168
"""Longer side in pixels of a picture in the row at the foot of the page."""
Key = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
ARCHIVE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ARCHIVED: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
Part = Annotated[list[Annotated[int, Field(ge=0, le=1_000_000)]] | None, Query(min_length=4, max_length=4)]
ModelName = Annotated[str | None, Query(max_length=200)]
Name = Annotated[str, Query(max_length=300)]


def build_router(service: Service, project: Project | None) -> APIRouter:
    """The routes over a service, and over the folder that is being labelled."""
    router = APIRouter(prefix="/api", responses=DOCUMENTED)
    _models(router, service)
    _pictures(router, service)
    _questions(router, service)
    _folder(router, service, project)
    return router


def _models(router: APIRouter, service: Service) -> None:
    @router.get("/models")
    async def models() -> list[ModelRow]:
        """The models on offer, the default first."""
        engine = service.engine
        return await service.worker.run(None, lambda: [_row(service, *card) for card in engine.cards().items()])

    @router.get("/model")
    async def model(name: Annotated[str, Query(max_length=200)] = "") -> ModelDetails:
        """All that is known of one model: what a program needs that stands on it."""
        served_as = service.engine.resolve(name or None)
        return await service.worker.run(None, lambda: _details(service, served_as))


def _pictures(router: APIRouter, service: Service) -> None:
    @router.post("/pictures", status_code=HTTPStatus.CREATED, openapi_extra=BINARY)
    async def add(request: Request, name: Name = "picture") -> Opened:
        """Takes a picture in: the body is its file. The id it gets is known to the one who sent it alone."""
        return opened(await service.open(request, await request.body(), name))

    @router.get("/pictures/{key}")
    async def describe(request: Request, key: Key) -> Opened:
        """Whether a picture is still here."""
        return opened(service.picture(request, key))

    @router.delete("/pictures/{key}", status_code=HTTPStatus.NO_CONTENT)
    async def forget(request: Request, key: Key) -> None:
        """Forgets a picture and all that was made of it."""
        service.shelf.remove(owner_of(request), key)

    @router.get("/pictures/{key}/preview", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    async def show(
        request: Request, key: Key, side: Annotated[int, Query(ge=16, le=4096)] = 2048, box: Part = None
    ) -> Response:
        """The picture for a screen, or the part X0 Y0 X1 Y1 of it, a JPEG; never enlarged."""
        picture = service.picture(request, key)
        data, kind = await asyncio.to_thread(preview, cut(picture.pixels, box), side)
        return Response(data, media_type=kind)


def _questions(router: APIRouter, service: Service) -> None:
    @router.post("/pictures/{key}/encode", status_code=HTTPStatus.NO_CONTENT)
    async def encode(request: Request, key: Key, model: ModelName = None) -> None:
        """Encodes a picture ahead of the first prompt."""
        await service.encode(request, service.picture(request, key), service.engine.resolve(model))

    @router.post("/pictures/{key}/maps", response_class=Response, openapi_extra=ARCHIVE, responses=ARCHIVED)
    async def maps(request: Request, key: Key, model: ModelName = None) -> Response:
        """A model's own answers, for a program that goes on by itself; prompts and answers are npz archives."""
        picture = service.picture(request, key)
        answers = await service.decode(request, picture, service.engine.resolve(model), await request.body())
        return Response(answers, media_type="application/octet-stream")

    @router.post("/pictures/{key}/masks")
    async def ask(request: Request, key: Key, body: Ask) -> Answer:
        """Masks for prompts; a client that hangs up while it waits is passed over."""
        return await service.ask(request, service.picture(request, key), body)

    @router.post("/pictures/{key}/automatic")
    async def automatic(request: Request, key: Key, body: Automatic) -> Answer:
        """All objects of a picture without a prompt, by a grid of clicks; of a model that takes clicks."""
        return await service.find_all(request, service.picture(request, key), body)

    @router.post("/batch")
    async def batch(request: Request, body: Batch) -> list[BatchRow]:
        """Several questions about any of one's pictures; each is answered or refused by itself."""
        return [await _row_of(service, request, question) for question in body.questions]


async def _row_of(service: Service, request: Request, question: Question) -> BatchRow:
    ask = Ask(**question.model_dump(exclude={"picture"}))
    try:
        answer = await service.ask(request, service.picture(request, question.picture), ask)
    except (Problem, VnsSamError) as error:
        problem = error if isinstance(error, Problem) else problem_of(error)
        if problem.status_code in (CLIENT_GONE, HTTPStatus.TOO_MANY_REQUESTS):
            raise
        return BatchRow(status=problem.status_code, error=str(problem.detail), hint=problem.hint)
    return BatchRow(status=HTTPStatus.OK, answer=answer)


def _folder(router: APIRouter, service: Service, project: Project | None) -> None:
    def named() -> Project:
        if project is None:
            raise Problem(HTTPStatus.NOT_FOUND, "the server was started without a folder", hint=WITH_FOLDER)
        return project

    @router.get("/folder")
    async def listing() -> Folder:
        """The folder that is being labelled."""
        return Folder() if project is None else await asyncio.to_thread(project.listing)

    @router.post("/folder/{key}")
    async def open_(request: Request, key: Key) -> FolderPicture:
        """Opens a picture of the folder, with what was done on it before."""
        folder = named()
        index = folder.index(key)
        pixels = await service.worker.run(request, lambda: folder.read(index))
        picture = service.shelf.add(owner_of(request), folder.names[index], pixels)
        saved = await asyncio.to_thread(folder.annotations, index)
        return FolderPicture(**opened(picture).model_dump(), annotations=saved)

    @router.get("/folder/{key}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    async def thumbnail(key: Key) -> Response:
        """A small JPEG of a picture of the folder."""
        folder = named()
        index = folder.index(key)
        data, kind = await asyncio.to_thread(lambda: preview(folder.read(index), THUMBNAIL))
        return Response(data, media_type=kind)

    @router.get("/folder/{key}/annotations")
    async def saved(key: Key) -> Annotations:
        """What was done on a picture of the folder."""
        folder = named()
        return await asyncio.to_thread(folder.annotations, folder.index(key))

    @router.put("/folder/{key}/annotations", status_code=HTTPStatus.NO_CONTENT)
    async def save(
        request: Request,
        key: Key,
        picture: Annotated[str, Query(max_length=64)],
        body: Annotations,
        base: Annotated[float | None, Query(ge=0)] = None,
    ) -> None:
        """Saves what was done on a picture of the folder, and its mask; refused where somebody has saved since
        ``base``, the ``saved_at`` that the client went on from.
        """
        folder = named()
        index, opened = folder.index(key), service.picture(request, picture)
        if opened.name != folder.names[index]:
            raise unknown_picture(picture)
        await asyncio.to_thread(folder.save, index, body, opened.size, base)


def _details(service: Service, name: str) -> ModelDetails:
    info = service.engine.info(name)
    values = {
        field: getattr(info, field) for field in ModelDetails.model_fields if field not in ("served_as", "prompts")
    }
    return ModelDetails(served_as=name, prompts=sorted(info.prompts), **values)


def _row(service: Service, name: str, info: ModelInfo) -> ModelRow:
    return ModelRow(
        name=name,
        prompts=sorted(info.prompts),
        candidates=info.candidates,
        edges=info.edges,
        adapted_from=service.engine.start_of(name),
        refinable=service.engine.refinable(info),
        looks_again=info.look_again != "never",
    )


def opened(picture: Picture) -> Opened:
    """What a client is told of its picture."""
    height, width = picture.size
    return Opened(id=picture.key, name=picture.name, width=width, height=height)
