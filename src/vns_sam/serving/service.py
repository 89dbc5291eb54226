"""What can be asked of the service, apart from how it is asked: the core of the page, of REST and of every plug."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from fastapi import Request

from vns_sam.formats.rle import encode_rle
from vns_sam.inference import wire
from vns_sam.inference.answers import weight_of_answers
from vns_sam.inference.automatic import AutomaticOptions, AutomaticSegmenter
from vns_sam.prompts.validate import make_prompts
from vns_sam.serving import masks as forms
from vns_sam.serving.engine import Engine
from vns_sam.serving.learning import Learning
from vns_sam.serving.metrics import Metrics
from vns_sam.serving.pictures import decode_picture
from vns_sam.serving.problems import media_type, unusable
from vns_sam.serving.schemas import Answer, Ask, Automatic, Found, Mask, ObjectPrompts, Rle
from vns_sam.serving.settings import Settings
from vns_sam.serving.shelf import Picture, Shelf
from vns_sam.serving.worker import Turns, Worker
from vns_sam.types import ImageFeatures, ModelInfo, Piece, Prediction, Prompts, Size

EDGE_SIDE = 1024
"""Longer side of an edge map in pixels at most."""
SENT_ALONG = ""
"""Owner of pictures that come with each request; no session has this name."""


class Service:
    """Pictures in, masks out.

    Args:
        settings: See there.
        engine: The models; those of the settings when left out.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.learning = Learning(settings.learn, settings.device)
        more = self.learning.models
        self.engine = engine or Engine(settings.models, settings.device, settings.refiner, settings.backend, more)
        self.shelf = Shelf(settings.memory)
        self.worker = Worker(settings.limits.queue)
        self.metrics = Metrics()
        self._infos: dict[str, ModelInfo] = {}

    def counts(self) -> dict[str, Any]:
        """What was counted since the start, and what is now, as JSON has it."""
        gauges = {
            "pictures": len(self.shelf),
            "held_bytes": self.shelf.nbytes,
            "ceiling_bytes": self.shelf.ceiling,
            "evicted_pictures": self.shelf.evicted,
            "waiting_requests": self.worker.waiting,
        }
        return {**self.metrics.counts(), "gauges": gauges}

    async def info(self, name: str) -> ModelInfo:
        """What a model on offer is; it is loaded first if need be."""
        if name not in self._infos:
            self._infos[name] = await self.worker.run(None, lambda: self.engine.info(name))
        return self._infos[name]

    async def cards(self) -> dict[str, ModelInfo]:
        """What a list says of the models on offer, the default first, see :meth:`Engine.cards`."""
        return await self.worker.run(None, self.engine.cards)

    async def open(self, request: Request, data: bytes, name: str) -> Picture:
        """Takes a picture in for whoever asks.

        Raises:
            Problem: It is none, is damaged or too large.
        """
        work = partial(decode_picture, data, self.settings.limits, media_type(request))
        pixels = await self.worker.run(request, work)
        return self.shelf.add(owner_of(request), name, pixels)

    async def open_once(self, request: Request, data: bytes) -> Picture:
        """Takes in a picture that comes with each request about it. Who sends the same bytes again finds it there,
        whatever the session: clients of this kind keep none, and to find it is to have it.

        Raises:
            Problem: It is none, is damaged or too large.
        """
        digest = hashlib.sha256(data).hexdigest()
        known = self.shelf.find(SENT_ALONG, digest)
        if known is not None:
            return known
        return await self.worker.run_once(
            request,
            digest,
            lambda: decode_picture(data, self.settings.limits),
            lambda pixels: self.shelf.add(SENT_ALONG, digest, pixels),
        )

    def picture(self, request: Request, key: str) -> Picture:
        """A picture of whoever asks.

        Raises:
            Problem: There is no such picture of theirs.
        """
        return self.shelf.get(owner_of(request), key)

    async def encode(self, request: Request | None, picture: Picture, model: str) -> tuple[ImageFeatures, float]:
        """A picture's encoding, and the seconds that it takes now. It is made once: who asks while it is being made
        waits for it, and it is kept even where all of them have gone.
        """
        known = picture.features.get(model)
        if known is not None:
            return known, 0.0

        def keep(made: tuple[ImageFeatures, float]) -> tuple[ImageFeatures, float]:
            self.shelf.keep(picture, model, made[0])
            return made

        work = partial(timed, self.engine.encode, model, picture.pixels)
        return await self.worker.run_once(request, (picture.key, model), work, keep)

    async def ask(self, request: Request, picture: Picture, ask: Ask) -> Answer:
        """Masks for prompts.

        Raises:
            Problem: Too many objects or points, no such mask, or answers that would take too much memory.
            VnsSamError: A prompt makes no sense in the picture, or the model does not take it.
        """
        self._check_objects(ask.objects)
        model = self.engine.resolve(ask.model)
        if ask.refine:
            model = self.engine.refined(model, await self.info(model))
        if ask.objects:
            masks = any(given.mask is not None for given in ask.objects)
            asked = {"masks": masks, "candidates": ask.candidates, "edges": ask.edges}
            self._check_weight(await self.info(model), picture.size, len(ask.objects), **asked)
        prompts = rows_of(picture.size, ask.objects, self.settings.memory) if ask.objects else None
        features, encoded = await self.encode(request, picture, model)

        def work() -> tuple[list[Found], float]:
            answer = partial(self.engine.answer, second_look=ask.second_look, candidates=ask.candidates)
            prediction, seconds = timed(answer, model, features, picture.pixels, prompts)
            return [_found(prediction, row, piece, ask) for row, piece in enumerate(prediction.pieces)], seconds

        objects, decoded = await self.worker.run(request, work)
        return Answer(model=model, objects=objects, encode_ms=1000 * encoded, decode_ms=1000 * decoded)

    async def find_all(self, request: Request, picture: Picture, ask: Automatic) -> Answer:
        """All objects of a picture; short requests of others are answered meanwhile.

        Raises:
            Problem: The model takes no clicks.
        """
        name = self.engine.resolve(ask.model)
        if "point" not in (await self.info(name)).prompts:
            raise unusable(f"'{name}' takes no clicks", hint="it is asked without objects: POST /masks")
        limits = ask.model_dump(include={"points_per_side", "score", "stability", "least_area", "rank"})
        options = AutomaticOptions(**limits)

        def work(turns: Turns) -> tuple[list[Found], float]:
            model = turns.model(turns.take(lambda: self.engine.model(name)))
            everything, seconds = timed(AutomaticSegmenter(model, options), picture.pixels)
            first = everything.regions[: ask.most]
            rows = ((region.full(picture.size), region.score) for region in first)
            return [Found(**mask_of(mask, score, ask.output).model_dump()) for mask, score in rows], seconds

        objects, seconds = await self.worker.run_long(request, work)
        return Answer(model=name, objects=objects, encode_ms=0.0, decode_ms=1000 * seconds)

    async def decode(self, request: Request, picture: Picture, model: str, question: bytes) -> bytes:
        """A model's own answers, see :mod:`vns_sam.inference.wire`.

        Raises:
            DataError: It is no question, or too large.
            Problem: Too many prompts or points, or answers that would take too much memory.
        """
        height, width = picture.size
        limits = self.settings.limits
        ceiling = limits.objects * (height * width * 4 + limits.points * 32) + 100_000
        prompts, candidates, look_again = wire.unpack_prompts(question, min(ceiling, self.settings.memory))
        if prompts is not None:
            self._check_arrays(prompts, picture.size)
            info = await self.info(model)
            if info.alpha:  # the answers of others are no larger than the model's maps
                self._check_weight(info, picture.size, len(prompts))
        features, _ = await self.encode(request, picture, model)

        def work() -> bytes:
            options = {"candidates": candidates, "look_again": look_again}
            return wire.pack_answers(self.engine.decode(model, features, prompts, **options))

        return await self.worker.run(request, work)

    def _check_weight(self, info: ModelInfo, size: Size, objects: int, **asked: bool) -> None:
        """Checks that the answers about several objects take no more than the server holds; one is always answered.

        Raises:
            Problem: They would (413).
        """
        if objects > 1:
            nbytes = weight_of_answers(info, size[0] * size[1], objects, **asked)
            what = f"answers about {objects} objects of {size[1]} x {size[0]} pixels"
            forms.check_memory(what, nbytes, self.settings.memory)

    def _check_arrays(self, prompts: Prompts, size: tuple[int, int]) -> None:
        limits = self.settings.limits
        if len(prompts) > limits.objects:
            raise unusable(f"{len(prompts)} objects in one request", hint=f"at most {limits.objects}")
        if prompts.points is not None and prompts.points.shape[1] > limits.points:
            raise unusable(f"{prompts.points.shape[1]} points of one object", hint=f"at most {limits.points}")
        if prompts.masks is not None and prompts.masks.shape[1:] != size:
            raise unusable(f"a mask must have the size {list(size)} of its picture, got {prompts.masks.shape[1:]}")

    def _check_objects(self, objects: Sequence[ObjectPrompts]) -> None:
        """Checks how many objects and points a request has.

        Raises:
            Problem: Too many.
        """
        limits = self.settings.limits
        if len(objects) > limits.objects:
            raise unusable(f"{len(objects)} objects in one request", hint=f"at most {limits.objects}")
        for given in objects:
            if len(given.points or ()) > limits.points:
                raise unusable(f"{len(given.points or ())} points of one object", hint=f"at most {limits.points}")


def rows_of(size: tuple[int, int], objects: Sequence[ObjectPrompts], memory: int) -> Prompts:
    """Prompts of several objects, which must give the same kinds: each field is whole.

    Args:
        size: (H, W) of the picture.
        objects: At least one.
        memory: Bytes that their masks may take, a byte a pixel.

    Raises:
        Problem: One has a box or a mask and another has none, or the masks take more.
        PromptError: One makes no sense in a picture of this size (H, W).
    """
    fields: dict[str, Any] = {}
    for name in ("box", "points", "mask"):
        given = [getattr(entry, name) for entry in objects]
        if all(value is None for value in given):
            continue
        if any(value is None for value in given):
            raise unusable(f"some objects have '{name}' and some have not", hint="one request for each kind")
        fields[name] = given
    labels = None
    if "points" in fields:
        labels = [entry.labels or [1] * len(entry.points or ()) for entry in objects]
    masks = list(forms.read_masks([rle.model_dump() for rle in fields.get("mask", ())], size, memory))
    return make_prompts(
        *size,
        boxes=fields.get("box"),
        points=fields.get("points"),
        labels=labels,
        masks=np.stack(masks) if masks else None,
    )


def owner_of(request: Request) -> str:
    """Who asks, as the guard found."""
    return str(request.state.owner)


def keeper_of(request: Request) -> str:
    """Who asks by the key alone, whatever the session: lessons outlive that. Without keys all are one."""
    return str(request.state.keeper)


def timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    """What a call gives, and the seconds it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def _found(prediction: Prediction, row: int, piece: Piece, ask: Ask) -> Found:
    main = mask_of(piece.full(prediction.size), float(prediction.scores[row]), ask.output)
    edges = None
    if ask.edges and prediction.edges is not None:
        edges = forms.as_png(forms.reduced(prediction.edges[row], EDGE_SIDE))
    offered = None if prediction.candidates is None else prediction.candidates[row]
    pairs = () if offered is None or len(offered.scores) < 2 else zip(offered.masks, offered.scores, strict=True)
    candidates = [mask_of(mask, float(score), ask.output) for mask, score in pairs]
    return Found(**main.model_dump(), candidates=candidates, edges=edges)


def mask_of(mask: np.ndarray, score: float, output: str) -> Mask:
    """A mask (H, W) bool in the form that was asked for."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = None
    if len(rows):
        box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
    return Mask(
        score=round(score, 4),
        area=int(np.count_nonzero(mask)),
        box=box,
        rle=Rle(**encode_rle(mask)) if output == "rle" else None,
        png=forms.as_png(mask) if output == "png" else None,
        polygons=forms.as_polygons(mask) if output == "polygons" else None,
    )
