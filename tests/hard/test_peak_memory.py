"""Memory at its peak for large pictures, in a process of its own: so many bytes for each pixel, whatever is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workshop import narrow_sam

import vns_sam

READ = """
import sys
from vns_sam.images.read import read_image
print(read_image(sys.argv[1]).shape)
"""
SEGMENT = """
import sys
from vns_sam import Predictor
predictor = Predictor(sys.argv[2])
predictor.set_image(sys.argv[1])
print(predictor.predict(boxes=[[10, 10, 90, 70]]).masks.sum())
"""
PEAK = """
import pathlib
print([int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")][0])
"""


def peak_of(code: str, *arguments: str) -> int:
    """Bytes of a process at its peak."""
    environment = {**os.environ, "PYTHONPATH": str(Path(vns_sam.__path__[0]).parent), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code + PEAK, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return int(done.stdout.split()[-1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("side", "kind"),
    [(3000, "jpg"), *(pytest.param(9000, kind, marks=pytest.mark.hard) for kind in ("jpg", "png", "tif", "webp"))],
)
def test_a_large_picture_takes_so_much_for_each_pixel(tmp_path: Path, side: int, kind: str) -> None:
    narrow_sam().save_pretrained(tmp_path / "narrow")
    small, large = (tmp_path / f"{name}.{kind}" for name in ("small", "large"))
    shades = np.linspace(0, 255, side, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(shades[:, None], shades[None], np.uint8(90)), axis=2)
    Image.fromarray(pixels).save(large)
    Image.fromarray(pixels[::30, ::30]).save(small)
    more = {
        name: (peak_of(code, str(large), *given) - peak_of(code, str(small), *given)) / side**2
        for name, code, given in (("read", READ, ()), ("segment", SEGMENT, (str(tmp_path / "narrow"),)))
    }
    print({name: round(each, 1) for name, each in more.items()}, "bytes for each pixel")
    decoder = 18 if kind == "webp" else 15  # decoded 4, the result 3, once more while it is handed over, and its own
    assert more["read"] < decoder
    assert more["segment"] < 20
