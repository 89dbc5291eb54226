"""The application: the page, REST, health and metrics behind one guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from vns_sam.errors import VnsSamError
from vns_sam.serving import anylabeling, exporting, labelstudio, lessons, osam
from vns_sam.serving.api import build_router
from vns_sam.serving.engine import Engine
from vns_sam.serving.folder import Project
from vns_sam.serving.guard import COUNTS, Guard
from vns_sam.serving.metrics import Metrics
from vns_sam.serving.problems import DOCUMENTED, on_http, on_invalid, on_ours
from vns_sam.serving.relay import Place, Relay, told_by
from vns_sam.serving.service import Service
from vns_sam.serving.settings import Settings
from vns_sam.serving.unread import ReadToTheEnd

PAGE = Path(__file__).parent / "page"


def create_app(settings: Settings, engine: Engine | None = None, place: Place | None = None) -> FastAPI:
    """The application that a server runs.

    Args:
        settings: See there.
        engine: The models; those of the settings when left out.
        place: Which of several workers this is, or None where it is alone.

    Raises:
        VnsSamError: A model is unknown, or the folder holds no picture.
    """
    service = Service(settings, engine)
    project = None
    if settings.folder is not None and settings.out is not None:
        project = Project(settings.folder, settings.out)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.learning.close)
        service.worker.close()

    app = FastAPI(title="vns-sam", version=version("vns-sam"), docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(VnsSamError, on_ours)
    app.include_router(build_router(service, project))
    app.include_router(lessons.build_router(service, service.learning, project))
    app.include_router(exporting.build_router(service, project))
    app.include_router(labelstudio.build_router(service, project))
    app.include_router(anylabeling.build_router(service))
    app.include_router(osam.build_router(service))
    _own_routes(app, service, place)

    @app.get("/page/demo.jpg", include_in_schema=False)
    async def demo() -> FileResponse:
        return FileResponse(PAGE.parents[1] / "assets" / "demo.jpg")

    app.mount("/page", StaticFiles(directory=PAGE))
    welcome = None if place is None else place.is_home
    app.add_middleware(Guard, settings=settings, metrics=service.metrics, welcome=welcome)
    if place is not None:
        app.add_middleware(Relay, place=place)
    app.add_middleware(ReadToTheEnd, seconds=settings.limits.body_seconds)
    return app


def _own_routes(app: FastAPI, service: Service, place: Place | None) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(PAGE / "icon.svg")

    @app.get("/health", responses=DOCUMENTED)
    async def health() -> dict[str, Any]:
        """Answers while the server lives; also what Label Studio asks."""
        return {"status": "UP", "model_class": service.engine.names[0], "version": app.version}

    @app.get("/metrics", response_class=PlainTextResponse, responses=DOCUMENTED)
    async def metrics() -> PlainTextResponse:
        """Counts and durations for Prometheus."""
        counted = [service.counts(), *(await told_by(place, COUNTS) if place else [])]
        return PlainTextResponse(Metrics.text(counted), media_type="text/plain; version=0.0.4")

    @app.get(COUNTS, include_in_schema=False)
    async def counts(request: Request) -> dict[str, Any]:
        if request.client is not None:  # only other workers come without an address
            raise HTTPException(404)
        return service.counts()
