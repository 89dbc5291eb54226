"""Rounds the weights of a bundled model to fewer bits, so that the wheel stays as small as it should.

python benchmarks/shorten.py src/vns_sam/weights/ws-sam-tiny

Float16 has ten bits of mantissa, which a wheel's compression cannot shrink; a bit less saves an eighth of a byte for
each weight. Export the graphs and measure again afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

WEIGHTS = "model.safetensors"


def main() -> None:
    """Rounds in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model's folder")
    parser.add_argument("--bits", type=int, choices=range(4, 10), default=9, help="of mantissa that stay (9)")
    args = parser.parse_args()
    file = args.folder / WEIGHTS
    found = load_file(file)
    save_file({name: shorten(value, args.bits) for name, value in found.items()}, file)


def shorten(values: np.ndarray, bits: int) -> np.ndarray:
    """Float16 values rounded to that many bits of mantissa, half away from zero; others as they are."""
    if values.dtype != np.float16:
        return values
    dropped = 10 - bits
    whole = values.view(np.uint16).astype(np.uint32) + (1 << dropped >> 1)  # a mantissa that overflows goes on above
    return (whole >> dropped << dropped).astype(np.uint16).view(np.float16)


if __name__ == "__main__":
    main()
