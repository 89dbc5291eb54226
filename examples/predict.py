"""A box, clicks, and both at once, on one encoded picture."""

from pathlib import Path

import vns_sam

picture = Path(vns_sam.__file__).parent / "assets" / "demo.jpg"
predictor = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny"))
predictor.set_image(picture)

by_box = predictor.predict(boxes=[[198, 98, 449, 311]])
by_clicks = predictor.predict(points=[[[320, 210], [220, 300]]], labels=[[1, 0]])  # 1 object, 0 background
by_both = predictor.predict(boxes=[[198, 98, 449, 311]], points=[[[320, 210]]])

for name, result in {"box": by_box, "clicks": by_clicks, "both": by_both}.items():
    print(f"{name}: {int(result.masks[0].sum())} pixels, predicted IoU {result.scores[0]:.2f}")
