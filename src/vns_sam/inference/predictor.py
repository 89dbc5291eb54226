"""One picture, any number of questions: the picture is encoded once, each prompt is decoded on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vns_sam.errors import PromptError, UsageError
from vns_sam.images.read import ImageLike, read_image
from vns_sam.inference.answers import Asker, predict
from vns_sam.inference.found import Found
from vns_sam.prompts.validate import make_prompts
from vns_sam.sam.second_look import wants_second_look
from vns_sam.types import SECOND_LOOK, Backend, ImageFeatures, PromptableModel, Prompts, SecondLook


class SetPicture(NamedTuple):
    """The picture that a predictor is asked about; what belongs together is replaced together.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        features: What the model made of it; None where the predictor encodes it when it is asked.
        name: Of its file, or "".
    """

    pixels: np.ndarray
    features: ImageFeatures | None
    name: str


class Predictor:
    """Masks from boxes, clicks and coarse masks, by any promptable model.

    Threads may share a predictor as far as they may share its model. Each call answers about the picture that was set
    when the call began, whatever is set meanwhile; the answer's own ``image`` and ``name`` say which that was. Threads
    that each have a picture of their own want a predictor each, over the same model.

    >>> predictor = Predictor("vns-sam-tiny")  # doctest: +SKIP
    >>> predictor.set_image("frog.jpg")  # doctest: +SKIP
    >>> predictor.predict(boxes=[[12, 30, 210, 180]]).masks  # doctest: +SKIP

    Args:
        model: What encodes and decodes, or its name, see :func:`vns_sam.inference.load.load_model`.
        second_look: Whether small objects are asked about once more in a cut-out of their surroundings and thin ones
            in windows along them, see :mod:`vns_sam.sam.second_look`; each cut-out costs an encoding of its own, a
            crack across the picture up to a dozen. Of a DIS-SAM the first stage does so, or IS-Net looks again along
            uncertain boundaries, as its configuration says. "auto" looks again with models whose input is small; an
            IS-Net does so only when it is "on".
        backend: What runs a model that is given by its name, see :func:`vns_sam.inference.load.load_model`.

    Attributes:
        model: What encodes and decodes.
        image: (H, W, 3) uint8 RGB, the picture that is set, or None.
        name: Of its file, or "".
        second_look: See above.

    Raises:
        UsageError: The name is no model's, or the model cannot look again.
        CheckpointError: The model cannot be loaded.
    """

    def __init__(
        self,
        model: PromptableModel | str | os.PathLike[str],
        *,
        second_look: SecondLook = SECOND_LOOK,
        backend: Backend = "auto",
    ) -> None:
        if isinstance(model, str | os.PathLike):
            from vns_sam.inference.load import load_model

            model = load_model(model, backend=backend)
        wants_second_look(model.info, second_look)  # before a picture is encoded in vain
        self.model: PromptableModel = model
        self.second_look: SecondLook = second_look
        self._picture: SetPicture | None = None

    @property
    def image(self) -> np.ndarray | None:
        """The picture that is set."""
        return None if self._picture is None else self._picture.pixels

    @property
    def name(self) -> str:
        """The name of its file."""
        return "" if self._picture is None else self._picture.name

    @property
    def looks_again(self) -> bool:
        """Whether this model, asked in this way, looks a second time."""
        return wants_second_look(self.model.info, self.second_look)

    @property
    def asks(self) -> Mapping[str, Any]:
        """How the model is asked: what, beside the model, its answers depend on."""
        return {"second_look": self.looks_again}

    def set_image(self, image: ImageLike) -> np.ndarray:
        """Reads and encodes a picture; everything predicted from now on is about it.

        Args:
            image: A path, a PIL image or (H, W, 3) uint8 RGB; see :func:`vns_sam.images.read.read_image`. An array is
                copied: it may be filled with the next picture at once.

        Returns:
            (H, W, 3) uint8 RGB: the picture as it was read, upright. It is what answers are made from, not to be
            written into.

        Raises:
            DataError: It is not a readable picture; the picture set before stays.
        """
        pixels = read_image(image)
        if isinstance(image, np.ndarray) and np.may_share_memory(pixels, image):
            pixels = pixels.copy()
        self.hold(pixels, Path(image).name if isinstance(image, str | os.PathLike) else "")
        return pixels

    def hold(self, pixels: np.ndarray, name: str = "") -> None:
        """Like :meth:`set_image`, of pixels (H, W, 3) uint8 RGB into which nobody writes: they are not copied."""
        self._picture = SetPicture(pixels, self._encode(pixels), name)

    def _encode(self, pixels: np.ndarray) -> ImageFeatures | None:
        return self.model.encode([pixels])

    def predict(
        self, boxes: Any = None, points: Any = None, labels: Any = None, masks: Any = None, *, multimask: bool = False
    ) -> Found:
        """Predicts one mask for each row of the prompts; row k of all that is given describes one object.

        A model that takes no prompt predicts one mask of all that it finds; nothing is given then.

        Args:
            boxes: (P, 4) XYXY in pixels of the original picture, right and bottom exclusive.
            points: (P, N, 2) XY in pixels of the original picture; rows may have different lengths.
            labels: (P, N) 1 object, 0 background; all 1 when omitted.
            masks: (P, H, W) coarse masks in [0, 1].
            multimask: Whether the result has ``candidates`` too: for each prompt all masks that the model offers, best
                first, as it first saw them. A click often leaves open whether a part is meant or the whole.

        Returns:
            Masks at the size of the original picture.

        Raises:
            UsageError: No picture is set.
            PromptError: A prompt makes no sense in this picture, see
                :func:`vns_sam.prompts.validate.make_prompts`, or the model does not take it.
        """
        picture = self._current()
        nothing = all(given is None for given in (boxes, points, labels, masks))
        if nothing and not self.model.info.prompts:
            return self._answer(picture, None, multimask=multimask)
        size = picture.pixels.shape[:2]
        prompts = make_prompts(*size, boxes=boxes, points=points, labels=labels, masks=masks)
        return self._answer(picture, prompts, multimask=multimask)

    def predict_prompts(self, prompts: Prompts | None, *, multimask: bool = False) -> Found:
        """Like :meth:`predict`, for prompts that have been checked already; None for a model that takes none."""
        return self._answer(self._current(), prompts, multimask=multimask)

    def _answer(self, picture: SetPicture, prompts: Prompts | None, *, multimask: bool) -> Found:
        """What is found in one picture, which is not looked up again."""
        info = self.model.info
        if prompts is not None and (unknown := sorted(prompts.kinds - info.prompts)):
            takes = f"takes {', '.join(sorted(info.prompts))}" if info.prompts else "takes no prompt"
            hint = "leave it out" if info.prompts else "leave the prompt out: it finds what there is"
            raise PromptError(f"'{info.name}' {takes}, found a {unknown[0]}", hint=hint)
        assert picture.features is not None
        asker = Asker.of(self.model, self.second_look)
        found = predict(asker, picture.pixels, picture.features, prompts, candidates=multimask)
        found.image, found.name = picture.pixels, picture.name
        if prompts is not None:
            found.classes = prompts.classes
        return found

    def _current(self) -> SetPicture:
        """The picture that is set, to be asked for once in each call.

        Raises:
            UsageError: None is.
        """
        picture = self._picture
        if picture is None:
            raise UsageError("predict was called before an image was set", hint="call set_image(path) first")
        return picture
