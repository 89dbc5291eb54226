from __future__ import annotations

import io
import logging
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vns_sam.errors import DataError
from vns_sam.images.read import PIXELS_AT_ONCE, read_image, stored_size, turn_upright, upright_size

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "YCbCr", "HSV"])
def test_every_colour_mode_becomes_rgb_bytes(mode: str) -> None:
    source = Image.fromarray(RAMP)
    source = Image.fromarray(np.full((4, 4), 30000, np.uint16)) if mode == "I;16" else source.convert(mode)
    image = read_image(source)
    assert image.shape == (4, 4, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_sixteen_bit_files_are_scaled_by_their_range(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    image = read_image(save(tmp_path / "deep.png", Image.fromarray(values)))
    np.testing.assert_array_equal(image[..., 0], [[0, 100], [200, 255]])


def test_transparent_pixels_lie_over_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    np.testing.assert_allclose(read_image(rgba)[0, :, 0], [255, 127, 0], atol=1)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.info["transparency"] = 0
    np.testing.assert_array_equal(read_image(palette), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied_and_sizes_know_it(tmp_path: Path, kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = np.full((16, 40, 3), 200, np.uint8)
    stored[:8, :20] = 0  # the first quarter
    path = save(tmp_path / f"turned.{kind}", Image.fromarray(stored), exif=exif)
    image = read_image(path)
    assert image.shape == ((16, 40, 3) if turn < 5 else (40, 16, 3))
    assert upright_size(path) == image.shape[:2]
    assert stored_size(path) == (16, 40)
    turned = turn_upright(stored[..., 0] < 100, path)
    assert ((image[..., 0] < 100) == turned).mean() > 0.95
    place = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left"}
    place |= {5: "top left", 6: "top right", 7: "bottom right", 8: "bottom left"}
    assert place[turn].split() == ["top" if turned[0].any() else "bottom", "left" if turned[:, 0].any() else "right"]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiffs_on_their_side_are_turned_whoever_decodes_them(tmp_path: Path, mode: str, compression: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 40, 4), dtype=np.uint8)
    deep = mode == "I;16"
    source = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if deep else Image.fromarray(values).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "scan.tif", source, exif=exif, compression=compression)
    plain = save(tmp_path / "plain.tif", source, compression=compression)
    np.testing.assert_array_equal(read_image(path), np.rot90(read_image(plain), -1))
    assert (stored_size(path), upright_size(path)) == ((16, 40), (40, 16))


def test_the_first_frame_of_an_animation_is_taken_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING, "vns_sam"):
        np.testing.assert_array_equal(read_image(path)[0, 0], [255, 0, 0])
        assert "2 frames, only the first" in caplog.text
        caplog.clear()
        with Image.open(path) as moving:
            moving.seek(1)
            np.testing.assert_array_equal(read_image(moving)[0, 0], [0, 0, 255])
    assert caplog.text == ""


WARNED = """
import sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor
from vns_sam.images.read import read_image
read_image(sys.argv[1])
before = list(warnings.filters)
with ThreadPoolExecutor(8) as threads:
    assert {image.shape for image in threads.map(read_image, [sys.argv[1]] * 200)} == {(4, 4, 3)}
assert warnings.filters == before
warnings.warn("of somebody else")
"""


def test_what_pillow_notes_is_kept_quiet_and_what_others_warn_of_is_not(tmp_path: Path) -> None:
    cut = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12"  # says that it has five tags
    path = save(tmp_path / "a.jpg", Image.fromarray(RAMP), exif=cut)
    with warnings.catch_warnings(record=True) as noted, Image.open(path) as opened:
        warnings.simplefilter("always")
        opened.getexif()
    assert "EXIF" in str(noted[0].message)
    done = subprocess.run([sys.executable, "-c", WARNED, str(path)], capture_output=True, text=True, check=True)
    assert "of somebody else" in done.stderr
    assert "EXIF" not in done.stderr


BOMBS = """
import sys, warnings
from PIL import Image
with warnings.catch_warnings():
    from vns_sam.images.read import read_image
    read_image(sys.argv[1])
Image.MAX_IMAGE_PIXELS = 10
assert read_image(sys.argv[1]).shape == (4, 4, 3)
print("read", file=sys.stderr)
Image.open(sys.argv[1])
warnings.warn_explicit("of a plugin", DeprecationWarning, "a.py", 1, "PIL.JpegImagePlugin")
"""


def test_an_application_sees_what_pillow_warns_of_its_own_files(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(RAMP), exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12")
    python = [sys.executable, "-W", "default", "-c", BOMBS, str(path)]
    reading, own = subprocess.run(python, capture_output=True, text=True, check=True).stderr.split("read\n")
    assert reading == ""
    assert "DecompressionBombWarning" in own
    assert "of a plugin" in own


@pytest.mark.parametrize(
    ("highest", "told"), [(0, False), (1, True), (255, True), (4095, True), (16383, True), (16384, False)]
)
def test_few_values_in_sixteen_bits_are_told_since_they_read_dark(
    highest: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "vns_sam"):
        read_image(np.array([[0, highest]], np.uint16))
    assert ("stretch it to 65535" in caplog.text) == told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([[0, 0.5, 1]]), [0, 128, 255]),
        (np.array([[False, True, True]]), [0, 255, 255]),
        (np.uint16([[0, 32768, 65535]]), [0, 128, 255]),
        (np.array([[0, 32768, 65535]], ">u2"), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], ">f4"), [0, 128, 255]),
        (np.uint8([[[1], [2], [3]]]), [1, 2, 3]),
    ],
)
def test_arrays(values: np.ndarray, expected: list[int]) -> None:
    np.testing.assert_array_equal(read_image(values)[0, :, 1], expected)


def test_one_pixel_works(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "dot.png", Image.new("L", (1, 1), 7))).tolist() == [[[7, 7, 7]]]


def _noise_jpeg(path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return save(path, Image.fromarray(noise), format="JPEG").read_bytes()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no image at"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(_noise_jpeg(path)[:-500]), "truncated"),
        (lambda path: path.write_bytes(_noise_jpeg(path)[:20]), "not a picture|truncated"),
        (lambda path: path.write_text("I am a letter, not a picture"), "not a picture"),
    ],
    ids=["missing", "folder", "zero bytes", "truncated", "header cut", "text"],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "bad.jpg"
    make(path)  # type: ignore[operator]
    with pytest.raises(DataError, match=says) as caught:
        read_image(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF"])
def test_a_truncated_picture_that_pil_has_opened_is_one_clear_line(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content := io.BytesIO(), kind)
    half = content.getvalue()[: content.tell() // 2]
    with pytest.raises(DataError, match=r"^the picture is truncated or damaged \(.+\)$") as caught:
        read_image(Image.open(io.BytesIO(half)))
    assert caught.value.hint == "copy or download it again"


def test_a_file_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "closed.png", Image.new("RGB", (2, 2)))
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match="permission denied"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_jpeg_that_says_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "blank.jpg", Image.new("L", (1000, 2000)))  # nothing makes a smaller file of so many pixels
    assert read_image(path).shape == (2000, 1000, 3)
    content = path.read_bytes()
    at = content.find(b"\xff\xc0") + 5
    path.write_bytes(content[:at] + bytes([117, 48, 50, 200]) + content[at + 4 :])
    with pytest.raises(DataError, match="bytes cannot hold 13000 x 30000 pixels"):
        read_image(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "bomb.png", Image.new("1", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(DataError, match="more pixels than"):
        read_image(path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"shape .*\(3, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (Image.new("RGB", (0, 5)), "no pixels: it is 0 x 5"),
        (Image.new("RGB", (5, 0)), "no pixels: it is 5 x 0"),
        (Image.new("I;16", (0, 0)), "no pixels"),
        (np.full((2, 2), 7.0), "expected 0 to 1"),
        (np.full((2, 2), np.nan), "expected 0 to 1"),
        (np.zeros((2, 2), np.int64), "int64"),
        (None, "NoneType"),
        ("a\0b.png", "no image at|usable path"),
    ],
)
def test_bad_values_are_refused(value: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_image(value)  # type: ignore[arg-type]


def test_floats_of_bytes_are_not_told_to_stretch_each_picture_by_itself() -> None:
    with pytest.raises(DataError, match="floats from 9 to 201, expected 0 to 1") as caught:
        read_image(np.array([[9.0, 201.0]]))
    assert caught.value.hint == "divide by 255, or by what white is"


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "PA"])
def test_strips_do_not_show(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (13, 7, 4), dtype=np.uint8)
    source = Image.fromarray(values).convert("RGB" if mode in ("CMYK", "P", "PA") else mode)
    source = source.convert(mode)
    whole = read_image(source)
    monkeypatch.setattr("vns_sam.images.read.PIXELS_AT_ONCE", 20)
    np.testing.assert_array_equal(read_image(source), whole)


def test_a_large_picture_is_not_held_many_times(tmp_path: Path) -> None:
    """Beside what Pillow decodes, which is not counted here, there are the result and one strip."""
    path = save(tmp_path / "large.png", Image.new("L", (8000, 6000), 7))
    tracemalloc.start()
    pixels = read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    strip = 2 * 4 * PIXELS_AT_ONCE
    assert pixels.nbytes <= peak < pixels.nbytes + strip


def test_postscript_is_refused_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not a picture in a format that can be read"):
        read_image(path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "TGA"])
def test_formats_of_cameras_and_tools_are_read(tmp_path: Path, format: str) -> None:
    path = tmp_path / "picture.dat"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(path, format)
    assert np.abs(read_image(path)[0, 0].astype(int) - [255, 0, 0]).max() < 8
