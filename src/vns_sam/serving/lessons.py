"""The routes of "Learn from these": pictures are given, a lesson is begun, looked after and stopped."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request

from vns_sam.serving.folder import Project
from vns_sam.serving.learning import Learning
from vns_sam.serving.lesson_schemas import LearnState, LessonOrder, LessonPicture
from vns_sam.serving.masks import read_masks
from vns_sam.serving.problems import DOCUMENTED, unusable
from vns_sam.serving.service import Service, keeper_of
from vns_sam.serving.settings import WITH_FOLDER

Key = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]


def build_router(service: Service, learning: Learning, project: Project | None) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/learn", responses=DOCUMENTED, tags=["learning"])

    @router.get("")
    async def state(request: Request) -> LearnState:
        """Whether it can be learned here, and the last lesson."""
        return await asyncio.to_thread(learning.state, keeper_of(request))

    @router.put("/pictures/{key}", status_code=HTTPStatus.NO_CONTENT)
    async def give(request: Request, key: Key, body: LessonPicture) -> None:
        """Gives a picture and its masks for the next lesson; they are written to the server's disk."""
        picture = service.picture(request, key)
        rles, name = [item.mask.model_dump() for item in body.objects], f"{picture.name}-{picture.key[:8]}"
        masks = read_masks(rles, picture.size, service.settings.memory)
        await asyncio.to_thread(lambda: learning.give(keeper_of(request), name, picture.pixels, list(masks)))

    @router.delete("/pictures", status_code=HTTPStatus.NO_CONTENT)
    async def clear(request: Request) -> None:
        """Forgets the pictures that were given for the next lesson."""
        await asyncio.to_thread(learning.clear, keeper_of(request))

    @router.post("", status_code=HTTPStatus.ACCEPTED)
    async def start(request: Request, body: LessonOrder) -> LearnState:
        """Begins a lesson, one at a time; or goes on with the last one."""
        owner, model = keeper_of(request), service.engine.resolve(body.model)
        if body.go_on:
            await asyncio.to_thread(learning.go_on, owner)
        else:
            if body.folder:
                await asyncio.to_thread(_from_folder, learning, project, owner, body.folder)
            await asyncio.to_thread(learning.start, owner, model, body.minutes)
        return await asyncio.to_thread(learning.state, owner)

    @router.delete("")
    async def stop(request: Request) -> LearnState:
        """Stops the lesson that runs; it can go on later."""
        await asyncio.to_thread(learning.stop, keeper_of(request))
        return await asyncio.to_thread(learning.state, keeper_of(request))

    return router


def _from_folder(learning: Learning, project: Project | None, owner: str, key: str) -> None:
    """Gives all annotated pictures of the server's folder.

    Raises:
        Problem: The server has no folder, or another one than that of the key.
    """
    if project is None:
        raise unusable("the server was started without a folder", hint=WITH_FOLDER)
    if project.key != key:
        raise unusable("another folder is served now", hint="reload the page, or serve the folder that it shows")
    learning.clear(owner)
    for index, name in enumerate(project.names):
        masks = project.masks(index)
        if masks:
            learning.give(owner, name, project.root / name, masks)
