"""The page in a real Chromium, over a server whose model answers at once."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from serving_site import free_port, start

from vns_sam.serving.schemas import Annotations

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
Browser, Page, expect = sync_api.Browser, sync_api.Page, sync_api.expect
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 30_000  # milliseconds

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or name it in CHROMIUM"),
    pytest.mark.xdist_group("chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    port = free_port()
    process = start(port)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    assert process.wait(20) in (0, -signal.SIGTERM)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    page = context.new_page()
    faults: list[str] = []
    hosts: set[str | None] = set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield page
    context.close()
    assert faults == []
    assert hosts <= {"127.0.0.1", None, ""}  # data: and blob: have no host


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / f"{name}.png" for name in ("ant", "bee", "cat", "dog", "elk")]
    paths[0].parent.mkdir()
    for k, path in enumerate(paths):
        values = np.random.default_rng(k).integers(90, 130, (120, 160), np.uint8)
        Image.fromarray(values).save(path)
    return paths


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("html[data-ready]").wait_for(timeout=WAIT)


def settled(page: Page) -> None:
    """Waits until nothing is being asked, and all is saved."""
    expect(page.locator("#status")).to_have_attribute("data-busy", "false", timeout=WAIT)
    expect(page.locator("#saved")).not_to_have_text("Saving", timeout=WAIT)


def spot(page: Page, x: float, y: float, size: tuple[int, int] = (160, 120)) -> tuple[float, float]:
    """Where a pixel of the picture is on the screen."""
    canvas = page.locator("#canvas").bounding_box()
    assert canvas is not None
    margin = min(64, canvas["width"] / 12)
    scale = min((canvas["width"] - margin) / size[0], (canvas["height"] - 2 * margin) / size[1], 8)
    left, top = (canvas["width"] - size[0] * scale) / 2, (canvas["height"] - size[1] * scale) / 2
    return canvas["x"] + left + x * scale, canvas["y"] + top + y * scale


def drag(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=4)
    page.mouse.up()
    settled(page)


def objects(page: Page) -> sync_api.Locator:
    return page.locator("#objects li")


def score(page: Page) -> sync_api.Locator:
    return page.locator("#objects li[aria-current=true] .percent-score")


def area(page: Page) -> int:
    """Pixels of the canvas that show the mask of the first colour, which the grey pictures do not have."""
    shot = np.asarray(Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("RGB")).astype(int)
    red, _, blue = shot[70:-70, 10:-10].transpose(2, 0, 1)
    return int((blue - red > 60).sum())


def test_five_pictures_and_every_tool(page: Page, site: str, photos: list[Path]) -> None:
    visit(page, site)
    expect(page.get_by_role("heading", name="Drop pictures here")).to_be_visible()
    page.set_input_files("#files", photos)
    expect(page.locator("#strip button")).to_have_count(5, timeout=WAIT)
    expect(page.locator("#where")).to_contain_text("ant.png")
    settled(page)

    page.mouse.click(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    one = area(page)
    page.keyboard.down("Shift")
    page.mouse.click(*spot(page, 43, 40))
    page.keyboard.up("Shift")
    settled(page)
    assert 0 < area(page) < one
    page.keyboard.press("Control+z")
    settled(page)
    assert area(page) == pytest.approx(one, rel=0.05)
    expect(page.locator("#candidates button")).to_have_count(2)

    page.keyboard.press("n")
    page.keyboard.press("b")
    drag(page, (80, 20), (140, 90))
    expect(objects(page)).to_have_count(2)
    page.keyboard.press("n")
    page.keyboard.press("s")
    drag(page, (20, 90), (40, 95), (60, 90))
    page.keyboard.press("n")
    page.keyboard.press("l")
    drag(page, (90, 95), (120, 95), (120, 115), (90, 115), (90, 95))
    expect(objects(page)).to_have_count(4)
    expect(score(page)).to_have_text("0.90", timeout=WAIT)

    page.keyboard.press("PageDown")
    expect(page.locator("#where")).to_contain_text("bee.png")
    expect(objects(page)).to_have_count(0)
    page.keyboard.press("PageUp")
    expect(objects(page)).to_have_count(4, timeout=WAIT)


def test_brush_and_eraser_and_undo_of_everything(page: Page, site: str, photos: list[Path]) -> None:
    visit(page, site)
    page.set_input_files("#files", photos[0])
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    before = area(page)
    page.keyboard.press("p")
    drag(page, (40, 40), (90, 40))
    expect(score(page)).to_have_text("drawn")
    assert area(page) > 1.5 * before
    page.keyboard.press("e")
    for _ in range(6):
        page.keyboard.press("]")
    drag(page, (20, 40), (140, 40))
    assert area(page) < before
    label = page.get_by_label("Class of object 1")
    label.fill("frog")
    label.press("Enter")
    page.keyboard.press("Delete")
    expect(objects(page)).to_have_count(0)
    for _ in range(3):
        page.keyboard.press("Control+z")
    settled(page)
    expect(label).to_have_value("object")
    assert area(page) > 1.5 * before
    page.keyboard.press("Control+Shift+z")
    assert area(page) < before


def test_with_keys_alone(page: Page, site: str, photos: list[Path]) -> None:
    visit(page, site)
    page.set_input_files("#files", photos[0])
    settled(page)
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)
    first = area(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Enter")
    settled(page)
    assert area(page) != first
    page.keyboard.press("n")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(objects(page)).to_have_count(2, timeout=WAIT)
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)
    page.keyboard.press("k")
    expect(page.locator("#candidates button").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    expect(page.locator("#candidates button").nth(0)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()


def test_with_fingers(browser: Browser, site: str, photos: list[Path]) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True, color_scheme="dark")
    page = context.new_page()
    visit(page, site)
    page.set_input_files("#files", photos[0])
    settled(page)
    page.touchscreen.tap(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)
    before = area(page)
    page.get_by_role("button", name="Background", exact=True).tap()
    page.touchscreen.tap(*spot(page, 43, 40))
    settled(page)
    assert 0 < area(page) < before
    context.close()


def test_a_reload_loses_nothing(page: Page, site: str, photos: list[Path]) -> None:
    visit(page, site)
    page.set_input_files("#files", photos[:2])
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 100, 80))
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)
    settled(page)
    page.reload()
    page.locator("html[data-ready]").wait_for(timeout=WAIT)
    expect(objects(page)).to_have_count(2, timeout=WAIT)
    expect(page.locator("#strip button")).to_have_count(2)
    settled(page)
    page.keyboard.press("Control+z")
    expect(objects(page)).to_have_count(1)


def test_a_killed_server_loses_nothing(page: Page, photos: list[Path], tmp_path: Path) -> None:
    port, folders = free_port(), (str(photos[0].parent), str(tmp_path / "masks"))
    process = start(port, *folders)
    visit(page, f"http://127.0.0.1:{port}/")
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    page.mouse.click(*spot(page, 60, 40))
    expect(page.get_by_role("alert")).to_contain_text("does not answer", timeout=WAIT)
    process = start(port, *folders)
    page.mouse.click(*spot(page, 80, 40))
    settled(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)
    process.kill()
    process.wait()
    saved = Annotations.model_validate_json((tmp_path / "masks" / "ant.json").read_bytes())
    assert [len(item.page["clicks"]) for item in saved.objects] == [3]
    mask = np.asarray(Image.open(tmp_path / "masks" / "ant.png"))
    assert mask[40, 40] == mask[40, 60] == mask[40, 80] == 255
    assert mask[100, 40] == 0


def test_errors_say_what_to_try(page: Page, site: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    visit(page, site)
    page.set_input_files("#files", broken)
    expect(page.get_by_role("alert")).to_contain_text("picture", timeout=WAIT)
    expect(page.get_by_role("heading", name="Drop pictures here")).to_be_visible()
