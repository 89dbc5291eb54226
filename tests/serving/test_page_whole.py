"""A day's work in the page: dropped and pasted pictures, five of them marked, corrected, and taken away as files."""

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
    drag,
    expect,
    export,
    hand_over,
    objects,
    score,
    settled,
    spot,
    visit,
    visit_with,
)
from serving_stub import picture_file

from vns_sam.formats.rle import decode_rle

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


def test_five_pictures_from_the_first_mark_to_the_files(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos)
    page.keyboard.press("b")
    for number in range(5):
        drag(page, (30 + number, 20), (60 + number, 50))
        expect(score(page)).to_have_text("0.90", timeout=WAIT)
        page.keyboard.press("n")
        if number < 4:
            page.keyboard.press("PageDown")
            settled(page)
    page.keyboard.press("c")
    page.mouse.click(*spot(page, 100, 80))
    settled(page)
    page.mouse.click(*spot(page, 103, 80), button="right")
    settled(page)
    expect(objects(page)).to_have_count(2)
    page.get_by_label("Class of object 2").fill("bee")
    page.get_by_label("Class of object 2").press("Enter")
    page.keyboard.press("2")
    settled(page)
    with zipfile.ZipFile(io.BytesIO(export(page, "coco"))) as archive:
        name = next(name for name in archive.namelist() if "/" not in name)
        coco = json.loads(archive.read(name))
    assert len(coco["images"]) == 5
    assert {category["name"] for category in coco["categories"]} == {"object", "bee"}
    masks = [decode_rle(row["segmentation"]) for row in coco["annotations"]]
    assert sorted(int(mask.sum()) for mask in masks)[:5] == [900] * 5
    assert masks[-1].sum() > 10_000  # the second candidate is all but the disc
    with zipfile.ZipFile(io.BytesIO(export(page, "png"))) as archive:
        names = archive.namelist()
        first = np.asarray(Image.open(io.BytesIO(archive.read(names[0]))))
    assert len(names) == 6
    assert set(np.unique(first)) == {0, 255}


def test_pictures_are_dropped_and_pasted(page: Any, site: str) -> None:
    visit(page, site)
    for count, kind in enumerate(("drop", "paste"), start=1):
        hand_over(page, kind, picture_file(160, 120))
        expect(page.locator("#where")).to_contain_text(f"{kind}.png", timeout=WAIT)
        expect(page.locator("#where")).to_contain_text(f"{count} / {count}", timeout=WAIT)
        settled(page)


def test_masks_are_hidden_alone_fainter_and_looked_at_again(page: Any, site: str, photos: list[Path]) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.post_data_json) if "/masks" in request.url else None)
    visit_with(page, site, photos[0])
    page.mouse.click(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    for key, name, value in (("r", "refine", True), ("t", "second_look", "on"), ("g", "edges", True)):
        page.keyboard.press(key)
        settled(page)
        assert asked[-1][name] == value
    page.keyboard.press("o")
    expect(page.locator("#solo")).to_be_checked()
    page.keyboard.press("w")
    expect(page.locator("#outline")).not_to_be_checked()
    page.keyboard.press("}")
    expect(page.locator("#opacity-value")).to_have_text("55%")
    page.keyboard.press("v")
    expect(page.locator("#objects li")).to_have_class("hidden")
    theme = page.locator("html").get_attribute("data-theme")
    page.keyboard.press("j")
    expect(page.locator("html")).not_to_have_attribute("data-theme", theme)


def test_a_picture_that_cannot_be_used_leads_back(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[0])
    page.set_input_files("#files", {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nx"})
    expect(page.get_by_role("alert")).to_contain_text("This is not a picture", timeout=WAIT)
    expect(page.get_by_role("alert")).to_contain_text("Give a JPEG")
    assert page.title() == "ant.png · vns-sam"
    page.mouse.click(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)


def test_a_tablet_shows_all_of_the_bar(browser: Any, site: str, photos: list[Path]) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    page = context.new_page()
    visit_with(page, site, photos)
    box = page.locator("#help").bounding_box()
    context.close()
    assert box is not None
    assert box["x"] + box["width"] <= 820
