"""SAM, VNS-SAM and HQ-SAM as two graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vns_sam.images.geometry import masks_to_model
from vns_sam.inference.onnx.folder import OnnxFolder
from vns_sam.sam.answers import MapAnswers
from vns_sam.sam.prompt_rows import CELLS_AT_ONCE, PromptRow, prompt_rows, row_geometry
from vns_sam.types import Geometry, ImageFeatures, ModelInfo, Prompts
from vns_sam.types.features import join_maps

NOT_A_POINT, LEFT_TOP, RIGHT_BOTTOM = -1, 2, 3
"""Labels of points beside 0 and 1, see :class:`vns_sam.export.graphs.DecoderGraph`."""


class OnnxPromptable:
    """A promptable model over an encoder and a decoder graph.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: OnnxFolder) -> None:
        self.folder = folder
        manifest = folder.manifest
        self.preprocessing = manifest.preprocessing
        self._info = ModelInfo(
            manifest.name,
            lambda: folder.digest,
            input_side=self.preprocessing.image_size,
            candidates=manifest.candidates,
            edges=manifest.edges,
            least_score=manifest.least_score,
            least_stability=manifest.least_stability,
            backend="onnx",
        )

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Encodes I pictures, each (H, W, 3) uint8 RGB of any size, one after the other."""
        self.folder.prepare("decoder")
        maps, geometry = [], []
        for image in images:
            pixels, place = self.preprocessing.padded(image)
            maps.append(self.folder.run("encoder", {"pixels": pixels[None]}))
            geometry.append(place)
        embedding, *others = (join_maps(given) for given in zip(*maps, strict=True))
        mined, finer = others[: self.folder.manifest.mined], others[self.folder.manifest.mined :]
        return ImageFeatures(embedding, (), tuple(geometry), tuple(mined), finer=tuple(finer), owner=self.info)

    def decode(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts] = (),
        image_index: Sequence[int] = (),
        *,
        candidates: bool = False,
        look_again: bool = False,
    ) -> MapAnswers:
        """Decodes ``prompts[k]`` on image ``image_index[k]``, see :meth:`vns_sam.types.PromptableModel.decode`.

        Raises:
            UsageError: Another model made the features.
            PromptError: A row holds no point, box or mask, or an index names no image.
        """
        features.check_owner(self.info)
        chunks = [*self._chunks(prompt_rows(prompts, image_index, features.geometry), features.geometry)]
        parts = self.folder.run_each("decoder", chunks, lambda rows: self._feed(features, rows))
        back = np.argsort([row.number for rows in chunks for row in rows])
        masks, scores, offered, offered_scores, *edges = zip(*parts, strict=True)
        return MapAnswers(
            join_maps(masks)[back],
            np.concatenate(scores)[back],
            row_geometry(features, prompts, image_index),
            join_maps(edges[0])[back] if edges else None,
            join_maps(offered)[back] if candidates else None,
            np.concatenate(offered_scores)[back] if candidates else None,
        )

    def _chunks(self, rows: Iterable[PromptRow], geometry: Sequence[Geometry]) -> Iterator[list[PromptRow]]:
        """Rows about one picture with as many points each and with or without a box: as many as are decoded at once,
        fewer where runs lie side by side.
        """
        alike: dict[tuple[int, bool, int], list[PromptRow]] = defaultdict(list)
        for row in rows:
            box, points, _ = row.kind
            alike[row.image, box, points].append(row)
        for members in alike.values():
            height, width = self.preprocessing.cells(geometry[members[0].image])
            at_once = max(1, CELLS_AT_ONCE // (height * width) // self.folder.at_a_time)
            for start in range(0, len(members), at_once):
                yield members[start : start + at_once]

    def _feed(self, features: ImageFeatures, rows: Sequence[PromptRow]) -> dict[str, np.ndarray]:
        """The decoder's inputs for rows about one picture."""
        one = features.select(rows[0].image)
        size = self.preprocessing.cells(one.geometry[0], 4)
        masks = np.zeros((len(rows), 1, *size), np.float32)
        for room, row in zip(masks, rows, strict=True):
            if row.mask is not None:
                room[:] = masks_to_model(row.mask[None], one.geometry[0], size)[0]
        points, labels = zip(*map(self._points, rows), strict=True)
        feed: dict[str, np.ndarray] = {
            "embedding": np.asarray(one.embedding),
            "points": np.stack(points),
            "labels": np.stack(labels),
            "masks": masks,
            "has_mask": np.array([row.mask is not None for row in rows], np.float32),
        }
        return feed | {f"maps.{number}": np.asarray(one_map) for number, one_map in enumerate((*one.mined, *one.finer))}

    def _points(self, row: PromptRow) -> tuple[np.ndarray, np.ndarray]:
        """What SAM's prompt encoder sees of a row: points (N, 2) and their labels (N,)."""
        places = [] if row.points is None else [*row.points]
        labels = [] if row.labels is None else [*row.labels]
        closed, nowhere = self.folder.manifest.closed_prompts, np.zeros(2, np.float32)
        if row.box is not None:
            places += [row.box[:2], row.box[2:]]
            labels += [LEFT_TOP, RIGHT_BOTTOM]
        closing = int(closed) if row.box is not None else 1 if row.points is not None else 2 * int(closed)
        places += [nowhere] * closing
        labels += [NOT_A_POINT] * closing
        return np.array(places, np.float32).reshape(-1, 2), np.array(labels, np.int64)
