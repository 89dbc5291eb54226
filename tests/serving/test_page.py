"""The page in a real Chromium, over a server whose model answers at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_page import CHROMIUM, WAIT, area, drag, expect, objects, reload, score, settled, spot, visit, visit_with
from serving_site import free_port, start

from vns_sam.serving.schemas import Annotations

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


def test_five_pictures_and_every_tool(page: Any, site: str, photos: list[Path]) -> None:
    visit(page, site)
    expect(page.get_by_role("heading", name="Drop pictures here")).to_be_visible()
    page.set_input_files("#files", photos)
    expect(page.locator("#strip .picture")).to_have_count(5, timeout=WAIT)
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


def test_brush_and_eraser_and_undo_of_everything(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[0])
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


def test_with_keys_alone(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[0])
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


def test_with_fingers(browser: Any, site: str, photos: list[Path]) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True, color_scheme="dark")
    page = context.new_page()
    visit_with(page, site, photos[0])
    page.touchscreen.tap(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)
    before = area(page)
    page.get_by_role("button", name="Background", exact=True).tap()
    page.touchscreen.tap(*spot(page, 43, 40))
    settled(page)
    assert 0 < area(page) < before
    context.close()


def test_a_reload_loses_nothing(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:2])
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 100, 80))
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)
    settled(page)
    reload(page)
    expect(objects(page)).to_have_count(2, timeout=WAIT)
    expect(page.locator("#strip .picture")).to_have_count(2)
    settled(page)
    page.keyboard.press("Control+z")
    expect(objects(page)).to_have_count(1)


def test_a_killed_server_loses_nothing(page: Any, photos: list[Path], tmp_path: Path) -> None:
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


def test_errors_say_what_to_try(page: Any, site: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    visit(page, site)
    page.set_input_files("#files", broken)
    expect(page.get_by_role("alert")).to_contain_text("picture", timeout=WAIT)
    expect(page.get_by_role("heading", name="Drop pictures here")).to_be_visible()
