"""The picture of the README: the demo scene, its mask from a box, its mask from clicks."""

from pathlib import Path

import numpy as np

import vns_sam
from vns_sam.images.overlay import draw_overlay
from vns_sam.images.read import read_image
from vns_sam.images.write import write_image
from vns_sam.prompts.validate import make_prompts

image = read_image(Path(vns_sam.__file__).parent / "assets" / "demo.jpg")
predictor = vns_sam.Predictor("vns-sam-tiny")
predictor.set_image(image)

panels = [image]
for given in (
    {"boxes": [[198, 98, 449, 311]]},
    {"points": [[[320, 210], [250, 150], [400, 200], [350, 130]]], "labels": [[1, 1, 1, 0]]},
):
    prompts = make_prompts(*image.shape[:2], **given)
    panels.append(draw_overlay(image, predictor.predict_prompts(prompts).pieces, prompts))
gap = np.full((image.shape[0], 8, 3), 255, np.uint8)
figure = np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)
write_image(Path("moth_masks.jpg"), figure)
