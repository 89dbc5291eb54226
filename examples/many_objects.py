"""Several objects, a different number of clicks for each, in one call; then the outlines as GeoJSON."""

from pathlib import Path

import vns_sam
from vns_sam.formats.registry import save

picture = Path(vns_sam.__file__).parent / "assets" / "demo.jpg"
predictor = vns_sam.Predictor(vns_sam.load_model("vns-sam-tiny"))
predictor.set_image(picture)

result = predictor.predict(points=[[[320, 210]], [[100, 100], [110, 90]]])
assert result.masks.shape == (2, 420, 560)
for path in save(result, "objects.geojson", name=picture.name):
    print(path)
