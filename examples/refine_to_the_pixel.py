"""A wheel in front of the moth: its mask from a box, and what dis-sam-tiny makes of it. Writes wheel_refined.jpg."""

from pathlib import Path

import numpy as np

import vns_sam
from vns_sam.data.synthesis.thin import lay_thin
from vns_sam.images.read import read_image
from vns_sam.images.write import write_image
from vns_sam.prompts.slots import tight_box

SEED = 2

moth = read_image(Path(vns_sam.__file__).parent / "assets" / "demo.jpg")
scene = lay_thin(moth, moth[::-1], np.random.default_rng(SEED))
if scene is None:
    raise SystemExit("nothing of that structure is visible, take another seed")
box = tight_box(scene.masks[0])[None]

coarse = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny"))
coarse.set_image(scene.image)
fine = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny+dis-sam-tiny"))
fine.set_image(scene.image)
refined = fine.predict(boxes=box)
assert refined.alpha is not None  # how much of each pixel is object, (P, H, W) in [0, 1]

x0, y0, x1, y1 = box[0].astype(int)
at = np.s_[max(0, y0 - 30) : y1 + 30, max(0, x0 - 30) : x1 + 30]
maps = [coarse.predict(boxes=box).masks[0], refined.masks[0], refined.alpha[0]]
greys = [np.repeat((np.asarray(m, np.float32) * 255).astype(np.uint8)[..., None], 3, axis=2) for m in maps]
gap = np.full((*scene.image[at].shape[:1], 8, 3), 255, np.uint8)
figure = np.concatenate([part for panel in (scene.image, *greys) for part in (gap, panel[at])][1:], axis=1)
write_image(Path("wheel_refined.jpg"), figure)
