"""A server without weights: its one model marks the box, a disc around the last click on an object, or the mask."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from vns_sam.errors import PromptError
from vns_sam.images.geometry import fit, resize_image
from vns_sam.sam.answers import MapAnswers
from vns_sam.serving.app import create_app
from vns_sam.serving.engine import Engine
from vns_sam.serving.settings import Settings
from vns_sam.types import Candidates, ImageFeatures, ModelInfo, Prediction, Prompts, SecondLook

RADIUS = 6
FEATURE_BYTES = 1_000_000


class StubEngine(Engine):
    """Answers at once, or after ``seconds``."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.first, self.refiner, self.more = ("stub", "finder"), "stub-refiner", dict
        self.seconds = seconds
        self.encoded: list[str] = []
        self.answered = 0

    def info(self, name: str) -> ModelInfo:
        return ModelInfo(name, "0", frozenset() if name == "finder" else ModelInfo.prompts, candidates=2, edges=True)

    def encode(self, name: str, pixels: np.ndarray) -> ImageFeatures:
        self.encoded.append(name)
        return ImageFeatures(np.zeros((1, FEATURE_BYTES), np.uint8), (), ())

    def answer(
        self,
        name: str,
        features: ImageFeatures,
        pixels: np.ndarray,
        prompts: Prompts | None,
        *,
        second_look: SecondLook,
        candidates: bool,
    ) -> Prediction:
        time.sleep(self.seconds)
        self.answered += 1
        if (prompts is None) != (name == "finder"):
            raise PromptError("this model is asked otherwise")
        size = pixels.shape[:2]
        masks = np.stack([mark(prompts, k, size) for k in range(len(prompts) if prompts else 1)])
        scores = np.linspace(0.9, 0.8, len(masks), dtype=np.float32)
        logits = np.where(masks, 5, -5).astype(np.float32)
        offered = tuple(Candidates(np.stack([mask, ~mask]), np.array([0.9, 0.1], np.float32)) for mask in masks)
        edges = masks.astype(np.float32)
        return Prediction(
            masks, logits, scores, edges, np.zeros((len(masks), 4)), None, offered if candidates else None
        )


def mark(prompts: Prompts | None, row: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool."""
    mask = np.zeros(size, bool)
    if prompts is None:
        mask[1:3, 1:3] = True
    elif prompts.masks is not None:
        return prompts.masks[row] > 0.5
    elif prompts.boxes is not None:
        x0, y0, x1, y1 = prompts.boxes[row].round().astype(int)
        mask[y0:y1, x0:x1] = True
    elif prompts.points is not None and prompts.labels is not None:
        ys, xs = np.mgrid[: size[0], : size[1]]
        for (x, y), label in zip(prompts.points[row], prompts.labels[row], strict=True):
            if label >= 0:
                mask[(xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2 < RADIUS**2] = label == 1
    return mask


def serve(engine: Engine | None = None, **settings: Any) -> TestClient:
    """A client of a server of its own, as from this machine."""
    app = create_app(Settings(**settings), engine or StubEngine())
    return TestClient(app, base_url="http://127.0.0.1")


def picture_file(width: int = 40, height: int = 30, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture."""
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind, **options)
    return out.getvalue()


def send_picture(client: TestClient, data: bytes | None = None, **headers: str) -> str:
    """Sends a picture and gives its id."""
    response = client.post("/api/pictures?name=frog.png", content=data or picture_file(), headers=headers)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def keys_of(client: TestClient) -> list[str]:
    """Of the pictures of the server's folder."""
    return [row["key"] for row in client.get("/api/folder").json()["pictures"]]


def ask(client: TestClient, key: str, **body: Any) -> Any:
    """Asks for masks."""
    return client.post(f"/api/pictures/{key}/masks", content=json.dumps(body), headers=JSON)


JSON = {"content-type": "application/json"}


SIDE = 64


class SmallModel:
    """A model without weights whose maps depend on picture and prompts, as a network's do."""

    def __init__(self, seed: int = 0) -> None:
        self.info = ModelInfo("small", f"small-{seed}", input_side=SIDE, candidates=3, edges=True)

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        fitted = [fit(*image.shape[:2], SIDE) for image in images]
        maps = np.zeros((len(images), 1, SIDE, SIDE), np.float32)
        for room, image, geometry in zip(maps, images, fitted, strict=True):
            grey = resize_image(image, geometry).mean(axis=2) / 255
            room[0, : grey.shape[0], : grey.shape[1]] = grey
        return ImageFeatures(maps, (), tuple(fitted), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MapAnswers:
        features.check_owner(self.info)
        rows = [
            (given, row, image) for given, image in zip(prompts, image_index, strict=True) for row in range(len(given))
        ]
        geometry = tuple(features.geometry[image] for _, _, image in rows)
        ys, xs = np.mgrid[:SIDE, :SIDE]
        maps = np.zeros((len(rows), 1, SIDE, SIDE), np.float32)
        for room, (given, row, image), place in zip(maps, rows, geometry, strict=True):
            x, y = _centre(given, row) * place.scale_xy
            room[0] = 9 - np.hypot(xs - x, ys - y) + features.embedding[image, 0]
        scores = 1 / (1 + maps.var(axis=(1, 2, 3)))
        offered = np.concatenate([maps, maps + 2, maps - 2], axis=1) if candidates else None
        iou = np.stack([scores, scores / 2, scores / 3], axis=1) if candidates else None
        return MapAnswers(maps, scores, geometry, maps / 2, offered, iou)


def _centre(given: Prompts, row: int) -> np.ndarray:
    if given.boxes is not None:
        return np.array([given.boxes[row, ::2].mean(), given.boxes[row, 1::2].mean()])
    assert given.points is not None
    return np.array(given.points[row, 0])


class SmallEngine(Engine):
    """An engine of the small model alone."""

    def __init__(self, seed: int = 0) -> None:
        self.first, self.refiner, self.more = ("small",), None, dict
        self._load = {"small": SmallModel(seed)}.__getitem__
