"""What a page was closed with is there when it is opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from serving_page import CHROMIUM, WAIT, expect, hold, objects, reload, saved, settled, spot, visit, visit_with

from vns_sam.serving.folder import Project

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


def test_a_marked_picture_that_the_server_refuses_now_stays(page: Any, site: str, photos: list[Path]) -> None:
    scan = photos[0].with_suffix(".tif")  # which the browser shows only with the server's help
    Image.open(photos[0]).save(scan)
    visit_with(page, site, scan)
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    refusal = {"error": "the picture has too many pixels", "hint": "Scale it down."}
    page.route("**/api/pictures?*", lambda route: route.fulfill(status=413, json=refusal))
    reload(page)
    expect(page.get_by_role("alert")).to_contain_text("too many pixels", timeout=WAIT)
    expect(objects(page)).to_have_count(1)
    page.unroute("**/api/pictures?*")
    reload(page)
    expect(objects(page)).to_have_count(1, timeout=WAIT)


def test_a_refused_picture_does_not_blank_the_one_that_was_gone_to(page: Any, site: str, photos: list[Path]) -> None:
    broken = photos[0].with_name("broken.png")
    broken.write_bytes(b"\x89PNG\r\n\x1a\nx")
    visit(page, site)
    release, prepare = hold(page, "**/api/pictures?*"), hold(page, "**/encode?*")
    page.set_input_files("#files", [broken, photos[0]])
    expect(page.locator("#where")).to_contain_text("broken.png", timeout=WAIT)
    page.keyboard.press("PageDown")
    expect(page.locator("#where")).to_contain_text("ant.png")
    release()
    expect(page.get_by_role("alert")).to_contain_text("This is not a picture", timeout=WAIT)
    prepare()  # which goes well, and is not what the notice is about
    expect(page.locator("#status")).to_have_text("Ready", timeout=WAIT)
    expect(page.get_by_role("alert")).to_contain_text("This is not a picture")
    assert page.title() == "ant.png · vns-sam"
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_work_that_only_the_browser_has_goes_to_the_folder(page: Any, labelled: str, project: Project) -> None:
    visit(page, labelled)
    settled(page)
    page.route("**/annotations?*", lambda route: route.abort())
    page.keyboard.press("Delete")
    expect(page.locator("#saved")).to_have_text("Not saved yet", timeout=WAIT)
    page.goto("about:blank")
    page.unroute("**/annotations?*")
    visit(page, labelled)
    saved(page)
    expect(objects(page)).to_have_count(1)
    assert len(project.annotations(0).objects) == 1


def test_work_that_came_to_a_folder_once_is_not_written_again_where_it_is_gone(
    page: Any, labelled: str, project: Project
) -> None:
    visit(page, labelled)
    settled(page)
    page.keyboard.press("Delete")
    saved(page)
    for path in project.out.rglob("*.*"):
        path.unlink()
    reload(page)
    settled(page)
    expect(objects(page)).to_have_count(1)
    page.wait_for_timeout(700)  # a step would be saved by now
    assert not list(project.out.rglob("*.*"))


def test_closing_asks_where_a_dropped_picture_was_not_kept(page: Any, site: str, photos: list[Path]) -> None:
    closes = "() => dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    visit_with(page, site, photos[0])
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    assert page.evaluate(closes)
    page.evaluate("() => { IDBDatabase.prototype.transaction = () => { throw new DOMException('full'); }; }")
    page.keyboard.press("Delete")
    expect(page.locator("#saved")).to_have_text("Not saved yet", timeout=WAIT)
    assert not page.evaluate(closes)
