"""Pictures of every format, damaged in every way by a seeded generator, and what a child process says of each.

``python damage.py FOLDER``: reads every file of a folder in a process whose memory is bounded, one JSON line each.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, features

GIB = 2**30
LIMIT = 3 * GIB
"""Address space that the child may add to what it has when it begins."""


def whole_pictures(rng: np.random.Generator) -> dict[str, bytes]:
    """A small picture in each format and in the colour modes that tools write."""
    pixels = rng.integers(0, 256, (37, 53, 3)).astype(np.uint8)
    rgb = Image.fromarray(pixels)
    kinds: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpg": (rgb, "JPEG", {}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "png": (rgb, "PNG", {}),
        "palette.png": (rgb.convert("P"), "PNG", {}),
        "alpha.png": (rgb.convert("RGBA"), "PNG", {}),
        "deep.png": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG", {}),
        "bmp": (rgb, "BMP", {}),
        "gif": (rgb.convert("P"), "GIF", {}),
        "webp": (rgb, "WEBP", {}),
        "lossless.webp": (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        "tif": (rgb, "TIFF", {}),
        "lzw.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": (rgb, "TIFF", {"compression": "jpeg"}),
        "ppm": (rgb, "PPM", {}),
        "pgm": (rgb.convert("L"), "PPM", {}),
        "tga": (rgb, "TGA", {"compression": "tga_rle"}),
        "ico": (rgb.resize((32, 32)), "ICO", {}),
        "pcx": (rgb, "PCX", {}),
    }
    if features.check("jpg_2000"):
        kinds["jp2"] = (rgb, "JPEG2000", {})
    if features.check("avif"):
        kinds["avif"] = (rgb, "AVIF", {})
    found = {}
    for name, (image, kind, options) in kinds.items():
        file = io.BytesIO()
        image.save(file, kind, **options)
        found[name] = file.getvalue()
    return found


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """A truncated file."""
    return content[: int(rng.integers(1, len(content)))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bits are others."""
    values = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(0, len(values), int(rng.integers(1, 12)))
    values[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return values.tobytes()


def flipped_head(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bits of the first 64 bytes are others: where formats say what they hold."""
    return flipped(content[:64], rng) + content[64:]


def blanked(content: bytes, rng: np.random.Generator) -> bytes:
    """A block is lost, as when a disk gives back zeros."""
    start = int(rng.integers(0, len(content)))
    length = int(rng.integers(1, 1 + len(content) // 2))
    return content[:start] + bytes(min(length, len(content) - start)) + content[start + length :]


def spliced(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece stands at another place too."""
    start, end = sorted(int(at) for at in rng.integers(0, len(content), 2))
    at = int(rng.integers(0, len(content)))
    return content[:at] + content[start:end] + content[at:]


def lying(content: bytes, rng: np.random.Generator) -> bytes:
    """The head speaks of a very large picture, with right checksums where there are some."""
    wide, high = (int(side) for side in rng.choice([0, 1, 9_000, 13_000, 30_000, 65_535, 2**31 - 1], 2))
    if content.startswith(b"\x89PNG"):
        head = b"IHDR" + struct.pack(">II", wide % 2**31, high % 2**31) + content[24:29]
        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    if content.startswith(b"BM"):
        return content[:18] + struct.pack("<ii", wide % 2**31, high % 2**31) + content[26:]
    if content.startswith(b"GIF8"):
        return content[:6] + struct.pack("<HH", wide % 65536, high % 65536) + content[10:]
    if content.startswith(b"\xff\xd8"):
        at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        return content[: at + 5] + struct.pack(">HH", high % 65536, wide % 65536) + content[at + 9 :]
    if content[:1] == b"P":
        return content.replace(b"53 37", f"{wide} {high}".encode(), 1)
    at = content.find(struct.pack("<H", 53))
    return content[:at] + struct.pack("<H", wide % 65536) + content[at + 2 :] if at >= 0 else flipped_head(content, rng)


def renamed(content: bytes, rng: np.random.Generator) -> bytes:
    """No picture at all."""
    kinds = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='x'/>",
        b"PK\x03\x04",
        b"\x7fELF",
        bytes(64),
        b"RIFF\0\0\0\0WEBP",
    )
    return kinds[int(rng.integers(len(kinds)))] + rng.bytes(int(rng.integers(0, 200)))


DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(cut, flipped, flipped_head, blanked, spliced, lying, renamed),
)


def corpus(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names that say what was done, and contents; the whole pictures come first."""
    rng = np.random.default_rng(seed)
    pictures = whole_pictures(rng)
    for name, content in pictures.items():
        yield f"{0:05d}-whole-{name}", content
    names = list(pictures)
    for number in range(1, count + 1):
        name = names[number % len(names)]
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        content = damage(pictures[name], rng)
        if rng.random() < 0.2:
            content = flipped(content, rng) if content else content
        yield f"{number:05d}-{damage.__name__}-{name}", content


def main() -> None:
    """Tells what the reader makes of each file."""
    from vns_sam.errors import DataError
    from vns_sam.images.read import read_image

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT, now + LIMIT))
    for path in sorted(Path(sys.argv[1]).iterdir()):
        start, error, size = time.perf_counter(), "", None
        print(json.dumps({"begun": path.name}), flush=True)
        try:
            size = read_image(path).shape
        except DataError as found:
            error = found.message
        except BaseException as found:
            error = f"RAISED {type(found).__name__}: {found}"
        line = {"name": path.name, "size": size, "error": error, "seconds": time.perf_counter() - start}
        print(json.dumps(line), flush=True)
    print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
