"""Interactive segmentation: click, look, correct. Here the true mask plays the user."""

from pathlib import Path

import vns_sam
from vns_sam.data.pairs import read_mask
from vns_sam.metrics.iou import iou
from vns_sam.prompts.clicks import next_click

assets = Path(vns_sam.__file__).parent / "assets"
truth = read_mask(assets / "demo_truth.png")
predictor = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny"))
predictor.set_image(assets / "demo.jpg")

mask, points, labels = truth & False, [], []
for number in range(1, 6):
    click = next_click(mask, truth)  # centre of the largest mistake
    if click is None:
        break
    points.append([click.x, click.y])
    labels.append(click.label)
    mask = predictor.predict(points=[points], labels=[labels]).masks[0]
    print(f"{number} click{'s' if number > 1 else ''}: IoU {iou(mask, truth):.3f}")
