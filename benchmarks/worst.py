"""Where the bundled models fail, as pictures for their cards: painted scenes with exact masks, since the research
pictures that the models are judged on are not ours to show.

python benchmarks/worst.py --save results/painted.json      writes docs/images/worst_MODEL.jpg as well

Eight scenes of each of eight kinds are painted by program, the same on every run; nothing was trained on them. Asked is
with the tight box of the object, one look; shown is the worst of each kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from measured import save_rows
from PIL import Image

from vns_sam.data.synthesis.defects import crack, scar
from vns_sam.data.synthesis.demo_scene import paint_scene
from vns_sam.data.synthesis.scenes import Scene, camouflage, patchwork
from vns_sam.data.synthesis.thin import lay_thin
from vns_sam.evaluation.figures import Case, worst_cases
from vns_sam.evaluation.protocol import Protocol, draw_prompt
from vns_sam.evaluation.results import ResultRow, mean_score
from vns_sam.inference.answers import Asker, predict
from vns_sam.inference.load import load_model
from vns_sam.lowlight.camera import draw_shot, take
from vns_sam.metrics.iou import iou
from vns_sam.types import PromptableModel

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MODELS = ("sam-tiny", "vns-sam-tiny", "vns-sam-tiny+dis-sam-tiny", "ws-sam-tiny")
COUNT = 8
"""Scenes of each kind."""
WIDTH = 1200
"""Of the figures, in pixels."""
TITLE = "Painted scenes, box prompt, one look"


def as_it_is(scene: Scene, rng: np.random.Generator) -> Scene:
    """The moth on its litter."""
    return scene


def small(scene: Scene, rng: np.random.Generator) -> Scene:
    """The moth's picture at a third of its size, among eight of litter alone."""
    tile, mask = scene.image[::3, ::3], scene.masks[0][::3, ::3]
    empty = np.where(mask[..., None], np.roll(tile, tile.shape[1] // 2, 1), tile)
    image, masks = np.tile(empty, (3, 3, 1)), np.zeros((1, 3 * mask.shape[0], 3 * mask.shape[1]), bool)
    row, column = (int(rng.integers(3)) * side for side in mask.shape)
    place = np.s_[row : row + mask.shape[0], column : column + mask.shape[1]]
    image[place], masks[0][place] = tile, mask
    return Scene(image, masks)


def refilled(scene: Scene, rng: np.random.Generator) -> Scene:
    """The moth in the texture of its own ground."""
    return camouflage(scene, 0, rng)


def of_materials(scene: Scene, rng: np.random.Generator) -> Scene:
    """The moth in several materials side by side."""
    return patchwork(scene, 0, Scene(scene.image[::-1], scene.masks[:, ::-1]), rng)


def at_night(scene: Scene, rng: np.random.Generator) -> Scene:
    """The moth's picture taken in the dark."""
    return Scene(take(scene.image, draw_shot(scene.image, rng), rng), scene.masks)


def behind_wires(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """Wheels, fences, branches or wires before the moth; they are what is asked for."""
    return lay_thin(scene.image, np.ascontiguousarray(scene.image[::-1]), rng)


def marked(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """A mark on a surface made of the picture."""
    return scar(scene.image, rng)


def cracked(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """Fine cracks across rough ground made of the picture."""
    return crack(scene.image, rng)


KINDS: dict[str, Callable[[Scene, np.random.Generator], Scene | None]] = {
    "moth": as_it_is,
    "small moth": small,
    "texture of its ground": refilled,
    "several materials": of_materials,
    "night": at_night,
    "thin structure": behind_wires,
    "mark on a surface": marked,
    "fine cracks": cracked,
}


def main() -> None:
    """Paints, asks, draws, prints, and saves where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"({', '.join(MODELS)})")
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    scenes = {kind: list(paint(kind)) for kind in KINDS}
    rows = []
    for name in args.models:
        model = load_model(name)
        cases = {kind: ask(model, kind, scenes[kind]) for kind in KINDS}
        for kind, found in cases.items():
            ious = [case.scores[model.info.name] for case in found]
            score = mean_score(fmean(ious), ious)
            rows.append(ResultRow(name, kind, "box", {"iou": score}, len(ious)))
            print(f"{name:<28}{kind:<24}IoU {score.mean:.3f}, worst {min(ious):.3f}")
        draw(name, model.info.name, cases.values())
    if args.save:
        save_rows(args.save, rows, TITLE)


def paint(kind: str) -> Iterator[Scene]:
    """The scenes of a kind: moths on litter, each of another seed, cut and mirrored, then what makes the kind."""
    rng = np.random.default_rng([*kind.encode()])
    found = 0
    while found < COUNT:
        image, mask, _ = paint_scene(int(rng.integers(2**31)))
        top, left = (int(rng.integers(side // 4)) for side in mask.shape)
        step = int(rng.choice([-1, 1]))
        image, mask = (np.ascontiguousarray(part[top:, left:][:, ::step]) for part in (image, mask))
        scene = KINDS[kind](Scene(image, mask[None]), rng)
        if scene is not None and scene.masks[0].any():
            found += 1
            yield scene


def ask(model: PromptableModel, kind: str, scenes: Sequence[Scene]) -> list[Case]:
    """What a model finds in scenes, from the true box where it takes one."""
    asker = Asker.of(model, "off")
    cases = []
    for number, scene in enumerate(scenes, start=1):
        truth = scene.masks[0]
        prompt = draw_prompt(truth, Protocol("box"), kind)
        asked = prompt if model.info.prompts else None  # drawn it is all the same: it says which object is meant
        mask = predict(asker, scene.image, model.encode([scene.image]), asked).masks[0]
        label = model.info.name
        scores = {label: iou(mask, truth)}
        cases.append(Case(f"{kind} {number}", scene.image, truth, prompt, {label: mask}, scores=scores))
    return cases


def draw(name: str, label: str, kinds: Iterable[Sequence[Case]]) -> None:
    """Writes the figure of a model, whose masks and scores are under ``label``: the worst of each kind, the lowest IoU
    first.
    """
    cases = [min(kind, key=lambda case: case.scores[label]) for kind in kinds]
    figure = Image.fromarray(worst_cases(cases, label))
    size = (WIDTH, round(figure.height * WIDTH / figure.width))
    path = IMAGES / f"worst_{name.rpartition('+')[2]}.jpg"
    figure.resize(size, Image.Resampling.LANCZOS).save(path, quality=82, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
