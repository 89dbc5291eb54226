"""A pair of graphs as AnyLabeling and X-AnyLabeling load them: their names of tensors, and their canvas.

Both bring a picture onto a canvas of fixed size (AnyLabeling 684 x 1024, X-AnyLabeling what the model's file says) and
give points in pixels of a picture whose longer side is 1024. They know one output of an encoder, so all that decoding
needs is packed into it. And they always add "not a point", which SAM wants only where there is no box, SAM 2 always.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vns_sam.errors import UsageError
from vns_sam.export.graphs import DecoderGraph, EncoderGraph
from vns_sam.export.record import OPSET, Recorder
from vns_sam.export.store import Precision, store
from vns_sam.images.write import remove_file, write_text
from vns_sam.inference.onnx.promptable import NOT_A_POINT, RIGHT_BOTTOM
from vns_sam.sam.based import SamBasedNetwork
from vns_sam.sam.checkpoints import remove_graphs
from vns_sam.sam.preprocessing import Preprocessing
from vns_sam.sam.promptable import PromptableNetwork
from vns_sam.types import Geometry

CONFIG = "config.yaml"
CANVAS = (684, 1024)
"""AnyLabeling's, height and width."""
LONGER_SIDE = 1024
LOW_RESOLUTION = 256
"""Side of the mask input, which both leave empty."""


class CanvasEncoder(nn.Module):
    """A canvas (h, w, 3), RGB 0..255, to one map (1, K, g, g') that holds the embedding and all other maps."""

    def __init__(self, model: SamBasedNetwork, canvas: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.encoder, self.canvas = model, EncoderGraph(model), canvas

    def forward(self, input_image: torch.Tensor) -> torch.Tensor:
        """Scales the canvas into the input, pads it with the mean, encodes and packs."""
        place = placed(self.model.preprocessing, self.canvas)
        size = (place.fitted_height, place.fitted_width)
        pixels = F.interpolate(input_image.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)
        mean = torch.tensor(self.model.preprocessing.mean)[None, :, None, None]
        padded = F.pad(pixels - mean, (0, place.input_width - size[1], 0, place.input_height - size[0])) + mean
        return pack(self.encoder(padded))


class CanvasDecoder(nn.Module):
    """SAM's decoder as its authors export it, on what :class:`CanvasEncoder` packed.

    Args:
        model: Who decodes.
        maps: The encoder's outputs, for their shapes.
        mined: How many of them a method mined.
        canvas: Height and width.
    """

    def __init__(
        self, model: SamBasedNetwork, maps: tuple[torch.Tensor, ...], mined: int, canvas: tuple[int, int]
    ) -> None:
        super().__init__()
        self.model, self.decoder, self.canvas = model, DecoderGraph(model, mined), canvas
        self.closed = model.foundation.prompt_encoder.closed
        self.shapes = tuple(one.shape[1:] for one in maps)

    def forward(
        self,
        image_embeddings: torch.Tensor,
        point_coords: torch.Tensor,
        point_labels: torch.Tensor,
        mask_input: torch.Tensor,
        has_mask_input: torch.Tensor,
        orig_im_size: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decodes.

        Args:
            image_embeddings: (1, K, g, g').
            point_coords: (1, N, 2) XY in pixels of a picture whose longer side is 1024.
            point_labels: (1, N) float: 0, 1, 2 and 3 for a box's corners, -1 for "not a point".
            mask_input: (1, 1, 256, 256) logits; never given by these programs, and not looked at.
            has_mask_input: (1,).
            orig_im_size: (2,) of the canvas, which is fixed here.

        Returns:
            Logits (1, 1, h, w) on the canvas, predicted IoU (1, 1), and logits (1, 1, 4g, 4g') of the input.
        """
        preprocessing = self.model.preprocessing
        place = placed(preprocessing, self.canvas)
        embedding, *maps = unpack(image_embeddings, self.shapes)
        points, labels = point_coords * (preprocessing.image_size / LONGER_SIDE), point_labels.long()
        if not self.closed:
            boxed = (labels == RIGHT_BOTTOM).any()
            kept = ((labels[0] != NOT_A_POINT) | ~boxed).nonzero()[:, 0]
            points, labels = points[:, kept], labels[:, kept]
        unused = mask_input.sum() * 0 + has_mask_input.sum() * 0 + orig_im_size.sum() * 0
        masks = torch.zeros(1, 1, *preprocessing.cells(place, 4)) + unused
        logits, score, *_ = self.decoder(embedding, points, labels, masks, torch.zeros(1), *maps)
        whole = F.interpolate(logits, place.input, mode="bilinear", align_corners=False)
        fitted = whole[..., : place.fitted_height, : place.fitted_width]
        return F.interpolate(fitted, self.canvas, mode="bilinear", align_corners=False), score[:, None], logits


def placed(preprocessing: Preprocessing, canvas: tuple[int, int]) -> Geometry:
    """How the canvas lies in the model's input, its aspect kept."""
    return replace(preprocessing, fit="tight" if preprocessing.fit == "tight" else "pad").place(*canvas)


def pack(maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Maps (1, C_k, s * g, s * g'), the coarsest first, as one (1, sum of C_k * s * s, g, g')."""
    grid = maps[0].shape[-1]
    return torch.cat([F.pixel_unshuffle(one, one.shape[-1] // grid) for one in maps], dim=1)


def unpack(packed: torch.Tensor, shapes: tuple[torch.Size, ...]) -> list[torch.Tensor]:
    """Inverse of :func:`pack` for maps of these shapes (C_k, s * g, s * g')."""
    folds = [shape[-1] // packed.shape[-1] for shape in shapes]
    parts = packed.split([shape[0] * fold**2 for shape, fold in zip(shapes, folds, strict=True)], dim=1)
    return [F.pixel_shuffle(part, fold) if fold > 1 else part for part, fold in zip(parts, folds, strict=True)]


def write_anylabeling(
    model: PromptableNetwork,
    folder: Path,
    precision: Precision = "fp32",
    canvas: tuple[int, int] = CANVAS,
    opset: int = OPSET,
) -> None:
    """Writes ``encoder.onnx``, ``decoder.onnx`` and ``config.yaml``, the model's file of both programs.

    Args:
        model: One that takes prompts and does not refine its masks.
        folder: Where they go.
        precision: Of the weights on disk.
        canvas: Height and width; AnyLabeling has no other than its default.
        opset: Of ONNX.

    Raises:
        UsageError: The model is of another kind.
        OutputError: The place cannot be written.
    """
    if not isinstance(model, SamBasedNetwork):
        raise UsageError(f"expected a model with an encoder and a decoder, '{model.name}' is none", hint="vns-sam-tiny")
    recorder = Recorder(opset, named=precision == "fp16")
    picture = torch.rand(*canvas, 3) * 255
    encoder = CanvasEncoder(model.eval(), canvas)
    with torch.no_grad():
        pixels = torch.rand(1, 3, *placed(model.preprocessing, canvas).input)
        maps = encoder.encoder(pixels)
        mined = len(model.encode_pixels(pixels).mined)
    graphs = {"encoder": recorder(encoder, (picture,), ["input_image"], ["image_embeddings"])}
    example = (
        pack(maps),
        torch.rand(1, 4, 2) * LONGER_SIDE,
        torch.tensor([[1.0, 2.0, 3.0, -1.0]]),
        torch.zeros(1, 1, LOW_RESOLUTION, LOW_RESOLUTION),
        torch.zeros(1),
        torch.tensor([float(length) for length in canvas]),
    )
    points = {1: torch.export.Dim("N", min=2, max=4096)}
    inputs = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
    outputs = ["masks", "iou_predictions", "low_res_masks"]
    decoder = CanvasDecoder(model, maps, mined, canvas)
    graphs["decoder"] = recorder(decoder, example, inputs, outputs, ({}, points, points, {}, {}, {}))
    remove_graphs(folder)
    remove_file(folder / CONFIG)  # an export that fails leaves no pair of two models
    for name, one in graphs.items():
        store(one, folder / f"{name}.onnx", precision)
    write_text(folder / CONFIG, _config(model.name, canvas))


def _config(name: str, canvas: tuple[int, int]) -> str:
    """The model's file: AnyLabeling reads the paths, X-AnyLabeling the canvas as well."""
    height, width = canvas
    return (
        f"type: segment_anything\nname: {name}\ndisplay_name: {name}\n"
        f"encoder_model_path: encoder.onnx\ndecoder_model_path: decoder.onnx\n"
        f"input_size: {LONGER_SIDE}\nmax_width: {width}\nmax_height: {height}\n"
    )
