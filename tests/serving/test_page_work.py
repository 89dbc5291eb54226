"""Work in the page is not lost to a picture that still opens, a late answer, another window or a full disk."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_page import (
    CHROMIUM,
    WAIT,
    area,
    drag,
    expect,
    export,
    hand_over,
    hold,
    marked,
    objects,
    reload,
    saved,
    score,
    settled,
    spot,
    visit,
    visit_with,
)
from serving_site import free_port, start
from serving_stub import picture_file

from vns_sam.serving.folder import Project

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


def test_nothing_is_drawn_on_a_picture_that_is_still_opening(page: Any, labelled: str, project: Project) -> None:
    release = hold(page, "**/api/folder/*")
    page.goto(labelled)
    expect(page.locator("#where")).to_contain_text("ant.png", timeout=WAIT)
    page.keyboard.press("p")
    page.mouse.move(*spot(page, 20, 20))
    page.mouse.down()
    page.mouse.move(*spot(page, 40, 20), steps=4)
    page.mouse.up()
    page.keyboard.press("Enter")
    page.keyboard.press("f")
    release()
    expect(objects(page)).to_have_count(2, timeout=WAIT)
    drag(page, (20, 20), (40, 20))
    saved(page)
    assert len(project.annotations(0).objects) == 2  # the stroke went into the selected one


def test_all_pictures_are_exported_whether_they_were_opened_or_not(page: Any, labelled: str) -> None:
    visit(page, labelled)
    settled(page)
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")  # the third: nothing was marked on it
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    reload(page)
    settled(page)
    with zipfile.ZipFile(io.BytesIO(export(page, "coco"))) as archive:
        coco = json.loads(archive.read(next(name for name in archive.namelist() if "/" not in name)))
    assert [row["file_name"] for row in coco["images"]] == ["ant.png", "bee.png", "cat.png"]
    names = {row["id"]: row["name"] for row in coco["categories"]}
    assert [names[row["category_id"]] for row in coco["annotations"]] == ["frog"] * 4 + ["object"]


def test_a_late_answer_replaces_no_stroke(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:1])
    release = hold(page, "**/masks")
    page.mouse.click(*spot(page, 40, 40))
    expect(objects(page)).to_have_count(1)
    page.keyboard.press("p")
    drag(page, (90, 80), (120, 80))
    expect(score(page)).to_have_text("drawn")
    drawn = area(page)
    release()
    settled(page)
    expect(score(page)).to_have_text("drawn")
    assert area(page) == drawn


def test_what_was_never_answered_is_asked_again(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:1])
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    one = area(page)
    release = hold(page, "**/masks")
    page.mouse.click(*spot(page, 70, 80))
    page.keyboard.press("Control+z")
    release()
    settled(page)
    assert area(page) == one
    page.keyboard.press("Control+Shift+z")
    settled(page)
    assert area(page) > one  # and not the mask of one click beside two


def test_a_click_that_is_taken_back_is_no_longer_looked_at(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:1])
    hold(page, "**/masks")
    page.mouse.click(*spot(page, 40, 40))
    expect(page.locator("#status")).to_have_attribute("data-busy", "true")
    page.keyboard.press("Backspace")
    settled(page)


def test_two_windows_do_not_replace_each_others_work(page: Any, labelled: str, project: Project) -> None:
    other = page.context.new_page()
    for window in (page, other):
        visit(window, labelled)
        settled(window)
        window.keyboard.press("n")
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    other.mouse.click(*spot(other, 40, 90))
    expect(other.get_by_role("alert")).to_contain_text("changed in another window", timeout=WAIT)
    assert [item.page.get("clicks", [])[-1:] for item in project.annotations(0).objects[2:]] == [
        [{"x": pytest.approx(40, abs=0.6), "y": pytest.approx(40, abs=0.6), "label": 1}]
    ]
    other.keyboard.press("Control+z")
    saved(other)
    (mine,) = project.annotations(0).objects[2:]
    assert mine.page["clicks"][0]["y"] == pytest.approx(90, abs=0.6)


def test_two_windows_on_a_dropped_picture(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:1])
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    other = page.context.new_page()
    visit(other, site)
    settled(other)
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 100, 80))
    saved(page)
    other.keyboard.press("Delete")
    expect(other.get_by_role("alert")).to_contain_text("changed in another window", timeout=WAIT)
    expect(objects(other)).to_have_count(2)
    reload(page)
    expect(objects(page)).to_have_count(2, timeout=WAIT)


def test_a_dropped_picture_stays_beside_the_folder_until_it_is_removed(page: Any, labelled: str) -> None:
    visit(page, labelled)
    settled(page)
    hand_over(page, "drop", picture_file(160, 120))
    expect(page.locator("#strip .picture")).to_have_count(6, timeout=WAIT)
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    reload(page)
    expect(page.locator("#where")).to_contain_text("drop.png", timeout=WAIT)
    expect(objects(page)).to_have_count(1, timeout=WAIT)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.keyboard.press("Shift+Delete")
    expect(page.locator("#strip .picture")).to_have_count(5, timeout=WAIT)
    assert asked == ["Remove drop.png and its 1 object from this browser?"]
    expect(page.locator("#where")).to_contain_text("elk.png")
    page.keyboard.press("Shift+Delete")  # the folder's stay
    reload(page)
    expect(page.locator("#strip .picture")).to_have_count(5, timeout=WAIT)


def test_a_browser_that_keeps_nothing_still_saves_to_the_server(page: Any, labelled: str, project: Project) -> None:
    visit(page, labelled)
    settled(page)
    page.evaluate("() => { IDBDatabase.prototype.transaction = () => { throw new DOMException('full'); }; }")
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    assert len(project.annotations(0).objects) == 3


def test_a_server_that_has_forgotten_the_pictures_still_exports_them(page: Any, photos: list[Path]) -> None:
    port = free_port()
    process = start(port)
    visit(page, f"http://127.0.0.1:{port}/")
    page.set_input_files("#files", photos[:1])
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    process.kill()
    process.wait()
    process = start(port)
    pixels = np.asarray(Image.open(io.BytesIO(export(page, "cutout"))))
    assert pixels[40, 40, 3] == 255
    process.kill()
    process.wait()


def test_more_pictures_are_exported_than_the_server_holds_at_a_time(page: Any, tmp_path: Path) -> None:
    port = free_port()
    process = start(port, memory=64_000_000)
    paths = [tmp_path / f"{name}.png" for name in ("ant", "bee", "cat", "dog")]
    for path in paths:
        Image.new("L", (3000, 2000), 110).save(path)  # 18 MB of pixels each
    visit_with(page, f"http://127.0.0.1:{port}/", paths)
    for path in paths:
        expect(page.locator("#where")).to_contain_text(path.name, timeout=WAIT)
        settled(page)
        page.mouse.click(*spot(page, 1500, 1000, (3000, 2000)))
        saved(page)
        page.keyboard.press("PageDown")
    with zipfile.ZipFile(io.BytesIO(export(page, "png"))) as archive:
        assert len(archive.namelist()) == 4
    page.keyboard.press("Control+s")
    page.locator('#exports[open] input[value="cutout"]').check(force=True)
    page.get_by_role("button", name="Download").click()
    told = "4 opened pictures take 72 MB, the server holds 64 MB"
    expect(page.get_by_role("alert")).to_contain_text(told, timeout=WAIT)
    process.kill()
    process.wait()


def test_a_save_that_fails_is_not_the_last(page: Any, labelled: str, project: Project) -> None:
    visit(page, labelled)
    settled(page)
    project.save(0, marked(5, saved_at=99.0), (120, 160))  # somebody else
    page.route("**/annotations", lambda route: route.abort())  # and then no answer to what they did
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 40, 40))
    expect(page.locator("#saved")).to_have_text("Not saved yet", timeout=WAIT)
    page.unroute("**/annotations")
    expect(page.get_by_role("alert")).to_contain_text("changed in another window", timeout=WAIT)
    page.keyboard.press("Control+z")
    saved(page)
    assert len(project.annotations(0).objects) == 3


def test_an_answer_that_was_lost_is_no_other_window(page: Any, labelled: str, project: Project) -> None:
    visit(page, labelled)
    settled(page)
    lost: list[int] = []

    def lose(route: Any) -> None:
        lost.append(route.fetch().status)
        route.abort()

    page.route("**/annotations?*", lose, times=1)
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 40, 40))
    expect(page.locator("#saved")).to_have_text("Not saved yet", timeout=WAIT)
    assert lost == [204]
    page.keyboard.press("n")
    page.mouse.click(*spot(page, 40, 100))
    saved(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(project.annotations(0).objects) == 4


def test_a_removed_picture_does_not_come_back(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[:2])
    release = hold(page, "**/masks")
    page.mouse.click(*spot(page, 40, 40))
    expect(objects(page)).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    page.keyboard.press("Shift+Delete")
    expect(page.locator("#where")).to_contain_text("bee.png", timeout=WAIT)
    release()
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    saved(page)
    reload(page)
    expect(page.locator("#where")).to_contain_text("bee.png1 / 1", timeout=WAIT)


def test_a_removed_picture_is_not_waited_for(page: Any, site: str, photos: list[Path]) -> None:
    page.route("**/api/pictures?name=bee*", lambda route: None)
    page.clock.install()
    visit_with(page, site, photos[:2])
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))  # nothing is saved any more
    page.mouse.click(*spot(page, 40, 40))
    expect(page.locator("#saved")).to_have_text("Saving", timeout=WAIT)
    page.on("dialog", lambda dialog: dialog.accept())
    page.keyboard.press("Shift+Delete")
    expect(page.locator("#where")).to_contain_text("bee.png", timeout=WAIT)
    expect(page.locator("#saved")).to_have_text("", timeout=WAIT)


def test_what_is_being_asked_is_not_asked_twice_and_what_was_stopped_not_again(
    page: Any, site: str, photos: list[Path]
) -> None:
    asked: list[Any] = []

    def tell(request: Any) -> None:
        if request.url.endswith("/masks") and request.post_data_json["second_look"] == "off":  # the first of two looks
            asked.append(request.post_data_json["objects"])

    page.on("request", tell)
    visit(page, site)
    release = hold(page, "**/encode?*")
    page.set_input_files("#files", photos[:1])
    expect(page.locator("#status")).to_have_text("Preparing the picture", timeout=WAIT)
    page.mouse.click(*spot(page, 40, 40))
    release()
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)
    assert len(asked) == 1
    hold(page, "**/masks")
    page.mouse.click(*spot(page, 80, 80))
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    settled(page)
    assert len(asked) == 2


def test_a_click_on_the_first_pixel_is_no_fraction(page: Any, site: str, photos: list[Path]) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.url.endswith("/masks") else None)
    visit_with(page, site, photos[0])
    page.mouse.click(*spot(page, 0.5, 0.5))
    saved(page)
    assert asked[0]["objects"][0]["points"] == [[0, 0]]
    expect(page.locator("#notice")).to_be_hidden()


def test_a_key_is_typed_in_peace(page: Any, labelled: str) -> None:
    visit(page, labelled)
    settled(page)
    page.route("**/annotations?*", lambda route: route.fulfill(status=401, json={"error": "a key is needed"}))
    page.keyboard.press("Delete")
    key = page.get_by_label("API key")
    key.fill("another key")
    with page.expect_response("**/annotations?*", timeout=WAIT):  # the next try to save
        pass
    expect(page.locator("#saved")).to_have_text("Not saved yet")
    expect(key).to_have_value("another key")
