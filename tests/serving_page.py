"""What tests of the page do in a browser: find places, click, draw, wait."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vns_sam.formats.rle import encode_rle
from vns_sam.serving.schemas import Annotations

try:
    from playwright.sync_api import expect as expect
except ModuleNotFoundError:
    expect: Any = None  # type: ignore[no-redef]

BINARY = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 30_000  # milliseconds
CHROMIUM = [
    pytest.mark.skipif(BINARY is None, reason="no Chromium: apt-get install chromium, or name it in CHROMIUM"),
    pytest.mark.xdist_group("chromium"),
]
HAND_OVER = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
  window.dispatchEvent(kind === "drop" ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })); }"""


def visit(page: Any, address: str) -> None:
    page.goto(address)
    page.locator("html[data-ready]").wait_for(timeout=WAIT)


def visit_with(page: Any, address: str, pictures: Path | Sequence[Path]) -> None:
    """Opens the page, and pictures from files, the first of which is shown then."""
    visit(page, address)
    page.set_input_files("#files", pictures)
    settled(page)


def reload(page: Any) -> None:
    page.reload()
    page.locator("html[data-ready]").wait_for(timeout=WAIT)


def settled(page: Any) -> None:
    """Waits until nothing is being asked, and all is saved."""
    expect(page.locator("#status")).to_have_attribute("data-busy", "false", timeout=WAIT)
    expect(page.locator("#saved")).not_to_have_text("Saving", timeout=WAIT)


def saved(page: Any) -> None:
    """Waits until nothing is being asked, and all is kept where it belongs."""
    settled(page)
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)


def hold(page: Any, pattern: str) -> Callable[[], None]:
    """Holds the answers to requests back until what is given is called."""
    held: list[Any] = []
    free = Event()
    page.route(pattern, lambda route: route.continue_() if free.is_set() else held.append(route))

    def release() -> None:
        free.set()
        for route in held:
            route.continue_()

    return release


def spot(page: Any, x: float, y: float, size: tuple[int, int] = (160, 120)) -> tuple[float, float]:
    """Where a pixel of the picture is on the screen."""
    canvas = page.locator("#canvas").bounding_box()
    assert canvas is not None
    margin = min(64, canvas["width"] / 12)
    scale = min((canvas["width"] - margin) / size[0], (canvas["height"] - 2 * margin) / size[1], 8)
    left, top = (canvas["width"] - size[0] * scale) / 2, (canvas["height"] - size[1] * scale) / 2
    return canvas["x"] + left + x * scale, canvas["y"] + top + y * scale


def drag(page: Any, *places: tuple[float, float]) -> None:
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=4)
    page.mouse.up()
    settled(page)


def objects(page: Any) -> Any:
    return page.locator("#objects li")


def score(page: Any) -> Any:
    return page.locator("#objects li[aria-current=true] .percent-score")


def area(page: Any) -> int:
    """Pixels of the canvas that show the mask of the first colour, which the grey pictures do not have."""
    shot = np.asarray(Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB")).astype(int)
    red, _, blue = shot[70:-70, 10:-10].transpose(2, 0, 1)
    return int((blue - red > 60).sum())


def export(page: Any, name: str) -> bytes:
    """What a format's download holds."""
    page.keyboard.press("Control+s")
    page.locator(f'#exports[open] input[value="{name}"]').check(force=True)
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_role("button", name="Download").click()
    return Path(download.value.path()).read_bytes()


def hand_over(page: Any, kind: str, content: bytes) -> None:
    """Drops or pastes a picture, which is called ``drop.png`` or ``paste.png``."""
    page.evaluate(HAND_OVER, [kind, base64.b64encode(content).decode()])


def marked(*tops: int, saved_at: float = 17.0) -> Annotations:
    """An object of 20 pixels square for each of some tops."""
    found = []
    for top in tops:
        mask = np.zeros((120, 160), bool)
        mask[top : top + 20, 100:120] = True
        found.append({"label": "frog", "mask": encode_rle(mask)})
    return Annotations.model_validate({"objects": found, "saved_at": saved_at})
