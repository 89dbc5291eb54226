"""What a frozen encoder makes of views that are the same in every epoch, kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.images.write import atomic_path
from vns_sam.sam.checkpoints import model_digest, save_tensors
from vns_sam.sam.frozen import FrozenSamNetwork
from vns_sam.types import ImageFeatures


class KeptFeatures:
    """Encodes each view once: from then on its features are read, the same to the last bit.

    A file for each view, named by its pixels, in a folder for each encoder. One that is damaged is made again.

    Args:
        folder: Where they are kept, for any number of runs.
        model: Whose frozen part encodes.

    Raises:
        UsageError: A part of the model's encoder learns, so that its features change.
    """

    def __init__(self, folder: Path, model: FrozenSamNetwork) -> None:
        parts = nn.ModuleList(part for part in (model.sam.image_encoder, model.adapter) if part is not None)
        if any(weight.requires_grad for weight in parts.parameters()):
            raise UsageError(
                "features of an encoder whose adapter learns change with every step and cannot be kept",
                hint="adapter_rate: 0, or leave features out",
            )
        self.folder, self.model = folder / model_digest(parts), model

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> ImageFeatures:
        """See :meth:`FrozenSamNetwork.encode_frozen`; pixels (I, 3, S, S') normalised."""
        files = [self.folder / f"{_name(view)}.safetensors" for view in pixels]
        found = [_read(file) for file in files]
        missing = [number for number, arrays in enumerate(found) if arrays is None]
        if missing:
            made = _named(self.model.encode_frozen(pixels[missing]))
            for row, number in enumerate(missing):
                view = found[number] = {name: value[row].cpu().contiguous().clone() for name, value in made.items()}
                with atomic_path(files[number]) as part:
                    save_tensors(view, part)
        views = [arrays for arrays in found if arrays is not None]
        whole = {name: torch.stack([view[name] for view in views]).to(pixels.device) for name in views[0]}

        def several(kind: str) -> tuple[torch.Tensor, ...]:
            return tuple(whole[name] for name in sorted(whole) if name.startswith(kind))

        return ImageFeatures(whole["embedding"], several("level"), (), finer=several("finer"))


def _named(features: ImageFeatures) -> dict[str, torch.Tensor]:
    levels = {f"level{k}": level for k, level in enumerate(features.levels)}
    return {"embedding": features.embedding, **levels, **{f"finer{k}": one for k, one in enumerate(features.finer)}}


def _name(view: torch.Tensor) -> str:
    """Tells views apart, and what they are encoded in: another device or precision has other last bits."""
    where = view.device.type
    precision = torch.get_autocast_dtype(where) if torch.is_autocast_enabled(where) else view.dtype
    digest = hashlib.blake2b(f"{tuple(view.shape)} {where} {precision}".encode(), digest_size=16)
    digest.update(view.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path) -> dict[str, torch.Tensor] | None:
    try:
        return load_file(file) if file.exists() else None
    except (SafetensorError, OSError):
        return None
