"""Label Studio's run lengths of brush strokes: a stream of bits, four bytes (RGBA) for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CHANNELS = 4
_WORD = 8  # bits of a value
_LENGTHS = (3, 4, 8, 16)  # bits that a length may take
_LONGEST = 1 << _LENGTHS[-1]


def encode_brush(mask: np.ndarray) -> list[int]:
    """A mask (H, W) bool as Label Studio stores it: bytes, as whole numbers.

    The stream begins with the number of values (32 bits), the size of a value and the four sizes of lengths. Then
    come runs: a bit that says that one value is repeated, which size its length has, the length less one, the value.
    """
    flat = np.asarray(mask, bool).ravel()
    bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    bits = [f"{flat.size * _CHANNELS:032b}{_WORD - 1:05b}", *(f"{size - 1:04b}" for size in _LENGTHS)]
    for start, length in zip(bounds.tolist(), np.diff(bounds).tolist(), strict=False):
        value = f"{255 if flat[start] else 0:08b}"
        left = length * _CHANNELS
        while left:
            run = min(left, _LONGEST)
            which = next(index for index, size in enumerate(_LENGTHS) if run <= 1 << size)
            bits.append(f"1{which:02b}{run - 1:0{_LENGTHS[which]}b}{value}")
            left -= run
    stream = "".join(bits)
    stream += "0" * (8 - len(stream) % 8)
    return np.packbits(np.frombuffer(stream.encode(), np.uint8) - ord("0")).tolist()


def decode_brush(code: Sequence[int], height: int, width: int) -> np.ndarray:
    """The mask (H, W) bool of such a stream: pixels that are not fully transparent.

    Raises:
        ValueError: The stream ends too early, or is of another size.
    """
    stream = np.unpackbits(np.asarray(code, np.uint8)).tobytes().translate(_AS_TEXT).decode()
    count, word = int(stream[:32], 2), int(stream[32:37], 2) + 1
    if count != height * width * _CHANNELS:
        raise ValueError(f"brush strokes of {count} values, expected {height * width * _CHANNELS}")
    sizes = [int(stream[37 + 4 * index : 41 + 4 * index], 2) + 1 for index in range(4)]
    values = np.zeros(count, np.uint8)
    place, at = 53, 0
    while at < count:
        repeated = stream[place] == "1" if place < len(stream) else None
        if repeated is None:
            raise ValueError("brush strokes that end too early")
        size = sizes[int(stream[place + 1 : place + 3], 2)]
        length = int(stream[place + 3 : place + 3 + size], 2) + 1
        place += 3 + size
        words = 1 if repeated else length
        found = [int(stream[place + word * index : place + word * (index + 1)], 2) for index in range(words)]
        values[at : at + length] = found[0] if repeated else found
        place, at = place + word * words, at + length
    return values.reshape(height, width, _CHANNELS)[..., -1] > 0


_AS_TEXT = bytes([48, 49, *range(2, 256)])
