"""What a model that takes no prompt is asked, and how sure it is, whoever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vns_sam.errors import PromptError
from vns_sam.sam.answers import probability
from vns_sam.sam.prompt_rows import check_index
from vns_sam.types import ImageFeatures, Prompts

if TYPE_CHECKING:
    from vns_sam.types.features import Map

UNPROMPTED = ("ws-sam", "is-net")
"""The ``model_type`` of models that take no prompt."""


def asked_pictures(
    name: str, features: ImageFeatures, prompts: Sequence[Prompts], image_index: Sequence[int]
) -> list[int]:
    """The pictures of ``image_index``, or all that there are features of.

    Raises:
        PromptError: A prompt is given, or an index names no picture.
    """
    if prompts:
        raise PromptError(f"'{name}' takes no prompt: it finds what there is", hint="leave the prompt out")
    asked = list(image_index) or list(range(len(features)))
    check_index(asked, len(features.geometry))
    return asked


def expected_iou(logits: Map) -> Map:
    """The IoU that answers (I, 1, S, S) float32 lead one to expect of themselves, (I,)."""
    sure, found = probability(logits), logits > 0
    hit = (sure * found).sum((1, 2, 3))
    either = (sure * ~found + found).sum((1, 2, 3))
    return hit / either.clip(1e-6)
