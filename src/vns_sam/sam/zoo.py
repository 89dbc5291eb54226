"""SAM itself by name: as it is, or below a model that stands on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from vns_sam.errors import CheckpointError, UsageError
from vns_sam.sam import registry
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.checkpoints import KeyReport, read_state
from vns_sam.sam.config import VitConfig
from vns_sam.sam.folder import read_config
from vns_sam.sam.foundations.names import named_config
from vns_sam.sam.keys import hf_key_to_own
from vns_sam.sam.meta import build_vit_sam
from vns_sam.sam.model import SamModel
from vns_sam.sam.transformers_folder import as_processed

_HF_ENCODER = "vision_encoder."


def load_sam(name: str | os.PathLike[str], *, beside: str | Path | None = None) -> SamModel:
    """Loads a SAM for inference, on the CPU.

    Args:
        name: As :func:`vns_sam.sam.registry.load` takes it. Of a model that stands on a SAM, such as an HQ-SAM in
            transformers' form, that SAM is taken.
        beside: See there.

    Raises:
        CheckpointError: There is no such model, its weights are not here and cannot be fetched, or they are
            damaged or of another architecture.
    """
    model = registry.load(name, beside=beside)
    sam = model.foundation if isinstance(model, SamBasedNetwork) else None
    if not isinstance(sam, SamModel):
        raise CheckpointError(f"'{name}' is a {_title(model)}, expected a SAM", hint="name the SAM below it")
    sam.prompt_encoder.mask_prompt = sam.config.mask_prompt
    return sam


def blank_sam(foundation: str) -> SamModel:
    """A SAM with random weights, by a name in :data:`vns_sam.sam.foundations.names.CONFIGS`.

    Raises:
        UsageError: It is another name.
    """
    return SamModel(named_config(foundation)).eval()


def load_folder(folder: str | Path, origin: str = "") -> SamModel:
    """Loads a folder of ours or of transformers' ``SamModel``; ``origin`` is not needed.

    Raises:
        CheckpointError: The folder is missing or damaged, or of another architecture.
    """
    if "vision_config" not in read_config(folder):
        return SamModel.from_pretrained(folder)
    return as_processed(_load_hf(read_state(folder), Path(folder)), folder)


def convert_sam(path: str | Path, out: str | Path, **given: Any) -> KeyReport:
    """Writes a file of SAM's, SAM 2's, SAM 3's or MobileSAM's authors as a folder that :func:`load_sam` reads.

    Args:
        path: The file.
        out: The folder.
        given: How pictures entered where the weights were tuned, which a file does not tell, see :func:`with_input`.

    Returns:
        The tensors in the folder.

    Raises:
        CheckpointError: The file is missing, damaged or of another model.
        UsageError: The encoder cannot have such an input.
    """
    model = with_input(load_sam(path), **given)
    model.save_pretrained(out)
    return KeyReport(tuple(model.state_dict()), (), ())


def with_input(
    model: SamModel,
    *,
    image_size: int | None = None,
    fit: Literal["pad", "stretch"] | None = None,
    unit_pixels: bool = False,
) -> SamModel:
    """The same weights on another input.

    Args:
        model: The SAM; its tensors are shared.
        image_size: Side of the square input in pixels, a multiple of twice the stride. No tensor of a TinyViT, a Hiera
            or a SAM 3 tells it.
        fit: Whether a picture is padded to the square or stretched over it; None as it is.
        unit_pixels: Whether pixels enter as 0 .. 1, as in MedSAM, instead of by SAM's mean and deviation.

    Raises:
        UsageError: A ViT's positions are bound to its own input, or ``image_size`` is no such multiple.
    """
    config = model.config
    if isinstance(config.backbone, VitConfig) and image_size not in (None, config.image_size):
        raise UsageError(
            f"the positions of {model.name} are for {config.image_size} pixels, {image_size} are not possible",
            hint="MobileSAM, SAM 2 and SAM 3 can have another input",
        )
    changed = replace(config, image_size=image_size or config.image_size, fit=fit or config.fit)
    if unit_pixels:
        changed = replace(changed, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
    return model.with_config(changed)


def _title(model: object) -> str:
    return str(getattr(getattr(model, "config", None), "title", type(model).__name__))


def _holds_hf(state: Mapping[str, torch.Tensor]) -> bool:
    return any(key.startswith(_HF_ENCODER) for key in state)


def _load_hf(state: Mapping[str, torch.Tensor], path: Path) -> SamModel:
    return build_vit_sam({hf_key_to_own(key): value for key, value in state.items()}, path)[0]


LAYOUT = registry.Layout("SAM's weights in transformers' form", _holds_hf, _load_hf)
