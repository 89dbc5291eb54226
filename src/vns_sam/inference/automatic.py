"""All objects of a picture without a prompt: a grid of clicks, filters, and non-maximum suppression.

As Kirillov et al. 2023, section 5 and appendix B ("automatic mask generation"), for any promptable model: each click of
the grid gives the model's candidates, those that the model trusts and that hardly depend on the threshold stay, and of
several masks of one object the best. Pictures larger than the model's input are looked at in tiles as well, huge ones
in tiles of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from vns_sam.data.vns_score import vns_score
from vns_sam.errors import UsageError
from vns_sam.images.read import ImageLike, read_image
from vns_sam.images.windows import Window, grid, whole
from vns_sam.inference.regions import Region, enlarged, make_region, suppress, without_specks
from vns_sam.types import Answers, ImageFeatures, Piece, PromptableModel, Prompts, piece_boxes

BLOCK = 16
"""Prompts that are decoded together, always: a row's last digits depend on how many are, and masks must not."""
SMALL_SIDE = 256
"""Longest side in pixels of the maps on which stability is judged."""
SMALL = 0.01
"""Share of what is looked at, below which a click says too little: a small object is what its box gives, if the model
is surer of that. Of larger ones the box may mean another thing than the click, so that both are kept.
"""
HUGE = 4
"""Times a tile's side up to which the whole picture shows well what no tile holds whole; longer ones need tiles of
more sizes.
"""
LARGEST_SIDE = 4096
"""Longest side in pixels at which a whole mask is held; the masks of larger pictures are enlarged where they are."""

Progress = Callable[[int, int], None]
"""Called with (prompts decoded, prompts in all)."""


@dataclass(frozen=True)
class AutomaticOptions:
    """How everything in a picture is looked for.

    Attributes:
        points_per_side: Clicks along the longer side of the picture and of each tile; the grid is square.
        score: Least predicted IoU; the model's own limit when None, see ``ModelInfo``.
        stability: Least IoU between the masks at logits above ``offset`` and above ``-offset``; likewise.
        offset: See there.
        box_iou: Boxes that overlap more are of one object.
        mask_iou: So are masks that overlap more.
        least_area: Islands, holes and objects of fewer pixels are left out.
        largest: A mask that covers more of the picture than this share is background.
        boxes: Whether each object that was found is asked about once more with its box.
        tile: Side in pixels of the tiles of a picture whose longer side is above it by half; 0 takes no tiles. A
            picture of more than four times this side is looked at in tiles of twice, four times ... the side as well.
        shared: Share of its side that a tile has in common with its neighbour.
        rank: "score" puts what the model is surest of first, "vns" what hardly stands out (VNS-score).

    Raises:
        UsageError: A value is outside of its range.
    """

    points_per_side: int = 32
    score: float | None = None
    stability: float | None = None
    offset: float = 1.0
    box_iou: float = 0.9
    mask_iou: float = 0.85
    least_area: int = 16
    largest: float = 0.95
    boxes: bool = True
    tile: int = 1024
    shared: float = 0.25
    rank: Literal["score", "vns"] = "score"

    def __post_init__(self) -> None:
        if self.points_per_side < 1:
            raise UsageError(f"points_per_side must be 1 or more, got {self.points_per_side}")
        for name in ("score", "stability", "box_iou", "mask_iou", "largest"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} must be 0 to 1, got {value}")
        if not 0 <= self.shared < 1:
            raise UsageError(f"shared must be at least 0 and below 1, got {self.shared}")
        if self.tile < 0 or self.least_area < 0 or self.offset < 0:
            raise UsageError("tile, least_area and offset must not be negative")


@dataclass(frozen=True)
class AutomaticMasks:
    """What was found in one picture.

    Attributes:
        height, width: Of the picture in pixels.
        regions: The objects, the highest rank first.
    """

    height: int
    width: int
    regions: tuple[Region, ...] = field(default=())

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.regions)

    @property
    def masks(self) -> np.ndarray:
        """(P, H, W) bool; of many objects on a huge picture rather take the regions one at a time."""
        size = (self.height, self.width)
        return np.stack([region.full(size) for region in self.regions]) if self.regions else np.zeros((0, *size), bool)

    @property
    def scores(self) -> np.ndarray:
        """(P,) float32 predicted IoU."""
        return np.array([region.score for region in self.regions], np.float32)

    @property
    def boxes(self) -> np.ndarray:
        """(P, 4) float32 XYXY, right and bottom exclusive."""
        return piece_boxes(self.regions)


class AutomaticSegmenter:
    """Finds all objects of a picture.

    >>> AutomaticSegmenter(load_model("vns-sam-tiny"))("street.jpg").masks  # doctest: +SKIP

    Args:
        model: Any promptable model that takes clicks.
        options: How to look.
        proposals: A model without prompts; boxes around the parts of what it finds are asked about as well.

    Raises:
        UsageError: The model takes no clicks, or ``proposals`` takes prompts.
    """

    def __init__(
        self,
        model: PromptableModel,
        options: AutomaticOptions | None = None,
        *,
        proposals: PromptableModel | None = None,
    ) -> None:
        if "point" not in model.info.prompts:
            raise UsageError(
                f"'{model.info.name}' takes no clicks", hint="take a promptable model, such as vns-sam-tiny"
            )
        if proposals is not None and proposals.info.prompts:
            raise UsageError(f"'{proposals.info.name}' takes prompts", hint="take a WS-SAM, such as ws-sam-tiny")
        self.model = model
        self.options = _settled(options or AutomaticOptions(), model)
        self._score, self._stability = self.options.score or 0.0, self.options.stability or 0.0
        self.proposals = proposals

    def __call__(self, image: ImageLike, progress: Progress | None = None) -> AutomaticMasks:
        """Segments a picture; the result is the same for the same picture, model and options.

        Args:
            image: A path, a PIL image, or (H, W, 3) uint8 RGB.
            progress: Told how far it is.

        Raises:
            DataError: The picture cannot be read.
        """
        image = read_image(image)
        height, width = image.shape[:2]
        views = list(self._views(height, width))
        regions: list[Region] = []
        for number, view in enumerate(views):
            tell = None if progress is None else _part(progress, number, len(views))
            found = self._look(image[view.index], view, tell)
            regions += [r for r in found if not _is_cut(r, view, height, width)]
        ranked = [self._rank(image, region) for region in self._distinct(regions)]
        return AutomaticMasks(height, width, tuple(sorted(ranked, key=lambda region: -region.rank)))

    def _views(self, height: int, width: int) -> Iterator[Window]:
        """The tiles of a large picture, larger ones of a huge one, then the whole: of equal masks the finest stays."""
        side, longest = self.options.tile, max(height, width)
        huge = longest > HUGE * side
        while side and longest >= 1.5 * side:
            yield from grid(whole(height, width), side, self.options.shared)
            side = 2 * side if huge else 0
        yield whole(height, width)

    def _look(self, image: np.ndarray, view: Window, progress: Progress | None) -> list[Region]:
        """The objects of one part of the picture, each once."""
        features = self.model.encode([image])
        size = (image.shape[0], image.shape[1])
        prompts = [*self._clicks(size), *self._boxes(image)]
        found = self._distinct(region for _, region in self._asked(features, prompts, size, view, progress))
        if not self.options.boxes or "box" not in self.model.info.prompts:
            return found
        around = [Prompts(boxes=np.array([_inside(region, view)], np.float32)) for region in found]
        others = []
        for row, closer in self._asked(features, around, size, view):
            closer = replace(closer, point=found[row].point)
            if found[row].area >= SMALL * view.shape[0] * view.shape[1]:
                others.append(closer)
            elif closer.score > found[row].score:
                found[row] = closer
        return self._distinct([*found, *others])

    def _asked(
        self,
        features: ImageFeatures,
        prompts: Sequence[Prompts],
        size: tuple[int, int],
        view: Window,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Region]]:
        """What is found for each of some prompts, with the prompt's number."""
        for start in range(0, len(prompts), BLOCK):
            some = prompts[start : start + BLOCK]
            answers = self.model.decode(features, _padded(some), [0] * BLOCK, candidates=True)
            for row, prompt in enumerate(some):
                for region in self._accepted(answers, row, prompt, size, view):
                    yield start + row, replace(region, rank=region.score)
            if progress is not None:
                progress(start + len(some), len(prompts))

    def _accepted(
        self, answers: Answers, row: int, prompt: Prompts, size: tuple[int, int], view: Window
    ) -> Iterator[Region]:
        """The candidates of one prompt that pass the filters."""
        options = self.options
        small = _bounded(size, SMALL_SIDE)
        for number, score in enumerate(answers.candidate_scores(row)):
            if score < self._score:
                continue
            logits = answers.candidate(row, number, small)
            strict = np.count_nonzero(logits > options.offset)
            loose = np.count_nonzero(logits > -options.offset)
            if not loose or strict < self._stability * loose or np.mean(logits > 0) > options.largest:
                continue
            mask = answers.candidate(row, number, _bounded(size, LARGEST_SIDE)) > 0
            x, y = _about(prompt)
            region = make_region(mask, whole(*mask.shape), float(score), strict / loose, (x + view.left, y + view.top))
            if region is None:
                continue
            region = enlarged(region, mask.shape, view)
            if region.area >= options.least_area:
                yield region

    def _clicks(self, size: tuple[int, int]) -> Iterator[Prompts]:
        """One prompt for each click of the grid, row by row."""
        height, width = size
        step = max(height, width) / self.options.points_per_side
        rows, columns = (max(1, round(length / step)) for length in size)
        for y in (np.arange(rows) + 0.5) * height / rows - 0.5:
            for x in (np.arange(columns) + 0.5) * width / columns - 0.5:
                yield Prompts(points=np.array([[[x, y]]], np.float32), labels=np.ones((1, 1), np.int64))

    def _boxes(self, image: np.ndarray) -> Iterator[Prompts]:
        """One prompt for each part of what the model without prompts finds."""
        if self.proposals is None:
            return
        mask = self.proposals.decode(self.proposals.encode([image])).logits(0) > 0
        for part in _parts(mask, self.options.least_area):
            yield Prompts(boxes=np.array([part], np.float32))

    def _rank(self, image: np.ndarray, region: Region) -> Region:
        if self.options.rank == "score":
            return replace(region, rank=region.score)
        view = _around(region.window, *image.shape[:2])
        inside = Piece(region.top - view.top, region.left - view.left, region.mask)
        return replace(region, rank=vns_score(image[view.index], inside.full(view.shape)).score)

    def _distinct(self, regions: Iterable[Region]) -> list[Region]:
        """Each object once, without specks."""
        options = self.options
        kept = suppress(list(regions), box_iou=options.box_iou, mask_iou=options.mask_iou)
        clean = [without_specks(region, options.least_area) for region in kept]
        return [region for region in clean if region is not None]


def _settled(options: AutomaticOptions, model: PromptableModel) -> AutomaticOptions:
    """The options with the model's limits where none are given."""
    score = model.info.least_score if options.score is None else options.score
    stability = model.info.least_stability if options.stability is None else options.stability
    return replace(options, score=score, stability=stability)


def _padded(prompts: Sequence[Prompts]) -> list[Prompts]:
    """As many prompts as a block holds; the last is asked again in the places that are left."""
    return [*prompts, *[prompts[-1]] * (BLOCK - len(prompts))]


def _bounded(size: tuple[int, int], side: int) -> tuple[int, int]:
    """A height and width in the same proportion, neither above ``side``."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _inside(region: Region, view: Window) -> tuple[int, int, int, int]:
    """The box of a region in pixels of the part of the picture that it lies in."""
    x0, y0, x1, y1 = region.box
    return x0 - view.left, y0 - view.top, x1 - view.left, y1 - view.top


def _part(progress: Progress, number: int, count: int) -> Progress:
    return lambda done, total: progress(number * total + done, count * total)


def _about(prompt: Prompts) -> tuple[float, float]:
    """The click, or the middle of the box."""
    if prompt.points is not None:
        x, y = prompt.points[0, 0]
    else:
        assert prompt.boxes is not None
        x, y = (prompt.boxes[0, :2] + prompt.boxes[0, 2:]) / 2
    return float(x), float(y)


def _is_cut(region: Region, view: Window, height: int, width: int) -> bool:
    """Whether a view's border, where it is not the picture's, cuts a region."""
    at = region.window
    return (
        (at.top == view.top > 0)
        or (at.left == view.left > 0)
        or (at.bottom == view.bottom < height)
        or (at.right == view.right < width)
    )


def _parts(mask: np.ndarray, least: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of the connected parts of a mask (H, W) bool, right and bottom exclusive."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for x, y, width, height, area in stats[1:].tolist():
        if area >= least:
            yield x, y, x + width, y + height


def _around(window: Window, height: int, width: int) -> Window:
    """A part of the picture around a region, once more as large on each side: what it is compared with."""
    down, across = window.shape
    return Window(
        max(0, window.top - down),
        min(height, window.bottom + down),
        max(0, window.left - across),
        min(width, window.right + across),
    )
