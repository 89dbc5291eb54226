"""How the page is: fit for screen readers, still while it works, sharp and exact on pictures of any size."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_page import CHROMIUM, WAIT, drag, expect, objects, score, settled, spot, visit, visit_with

from vns_sam.formats.rle import decode_rle, encode_rle

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM
AXE = "axe-core@4.10.3"
SHIFTS = """() => { window.shifts = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts += entry.value; }).observe({ type: "layout-shift" }); }"""


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, fetched once; without npm or the network what needs it is skipped."""
    kept = Path(request.config.cache.mkdir("axe")) / f"{AXE}.js"  # type: ignore[union-attr]
    if not kept.is_file():
        folder = tmp_path_factory.mktemp("axe")
        if shutil.which("npm") is None:
            pytest.skip("axe-core comes by npm, which is not here")
        try:
            fetch = ["npm", "pack", "--silent", "--fetch-retries=0", AXE]
            subprocess.run(fetch, cwd=folder, capture_output=True, timeout=60, check=True)
        except subprocess.SubprocessError:
            pytest.skip("axe-core cannot be fetched here")
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            kept.write_bytes(member.read())
    return kept.read_text(encoding="utf-8")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture of 20,000 x 1,500 pixels with a grid of fine lines."""
    values = np.full((1500, 20_000), 96, np.uint8)
    values[:, ::100] = values[::100] = 160
    Image.fromarray(values).save(tmp_path / "large.png", compress_level=1)
    return tmp_path / "large.png"


def views(page: Any, site: str, photos: list[Path]) -> Iterator[str]:
    """The page in each of its states."""
    visit(page, site)
    yield "empty"
    page.set_input_files("#files", photos)
    settled(page)
    page.mouse.click(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    yield "at work"
    page.keyboard.press("p")
    yield "brush"
    page.keyboard.press("?")
    yield "keys"
    page.keyboard.press("Escape")
    page.locator("#export").click()
    page.locator("#exports[open] input").first.wait_for(state="attached")
    yield "export"
    page.keyboard.press("Escape")
    page.locator("#learn").click()
    expect(page.get_by_role("heading", name="Learn from these")).to_be_visible()
    yield "learn"
    page.keyboard.press("Escape")
    page.set_input_files("#files", {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nx"})
    expect(page.get_by_role("alert")).to_be_visible(timeout=WAIT)
    yield "error"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_serious(browser: Any, site: str, photos: list[Path], axe: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    found: list[str] = []
    for name in views(page, site, photos):
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        for fault in result["violations"]:
            if fault["impact"] in ("serious", "critical"):
                places = [node["target"][0] for node in fault["nodes"][:3]]
                found.append(f"{name}: {fault['id']}: {places}")
    context.close()
    assert found == []


def test_nothing_jumps(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos)
    page.evaluate(SHIFTS)
    for x in (40, 60, 80):
        page.mouse.click(*spot(page, x, 40))
        settled(page)
    page.keyboard.press("n")
    page.keyboard.press("b")
    drag(page, (80, 20), (140, 90))
    page.keyboard.press("p")
    assert page.evaluate("window.shifts") < 0.02


@pytest.mark.parametrize("size", [(1280, 800), (820, 1180)])
def test_many_objects_scroll_in_their_place(browser: Any, site: str, photos: list[Path], size: tuple[int, int]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    visit_with(page, site, photos)
    page.select_option("#model", "finder")
    for count in range(1, 13):
        page.keyboard.press("f")
        expect(objects(page)).to_have_count(count, timeout=WAIT)
    last = objects(page).last
    last.scroll_into_view_if_needed()
    covered = last.evaluate("""(row) => { const box = row.getBoundingClientRect();
      return !row.contains(document.elementFromPoint(box.left + 4, box.top + box.height / 2)); }""")
    bounds = [page.locator(f".panel .{name}").bounding_box() for name in ("objects", "active", "view")]
    context.close()
    assert not covered
    if size[0] > 900:
        assert all(one["y"] + one["height"] <= two["y"] + 1 for one, two in itertools.pairwise(bounds))


def test_a_keyboard_shows_where_it_is(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[0])
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.tool || ''"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert {"model", "open", "learn", "theme", "help", "click", "eraser", "canvas", "fit", "find", "opacity"} <= seen


def test_all_there_is_without_a_prompt(page: Any, site: str, photos: list[Path]) -> None:
    visit_with(page, site, photos[0])
    page.select_option("#model", "finder")
    settled(page)
    page.keyboard.press("f")
    expect(objects(page)).to_have_count(1, timeout=WAIT)
    page.keyboard.press("Control+z")
    expect(objects(page)).to_have_count(0)


def test_masks_in_the_browser_are_those_of_python(page: Any, site: str) -> None:
    rng = np.random.default_rng(0)
    masks = [np.zeros((31, 47), bool), np.ones((31, 47), bool), rng.random((31, 47)) > 0.5]
    masks[0][3:20, 5:9] = True
    visit(page, site)
    script = """async (rle) => { const m = await import("/page/rle.js");
      const { mask } = m.toMask(rle), [h, w] = rle.size;
      const same = m.fromIntervals(m.intervals(rle), h, w);
      const turned = m.changeColumns(rle, 4, 20, (strip) => strip.forEach((v, k) => { strip[k] = 1 - v; }));
      return { mask: [...mask], same, turned }; }"""
    for mask in masks:
        rle = encode_rle(mask)
        told = page.evaluate(script, rle)
        np.testing.assert_array_equal(np.array(told["mask"], bool).reshape(31, 47), mask)
        assert told["same"] == rle
        turned = mask.copy()
        turned[:, 4:20] ^= True
        np.testing.assert_array_equal(decode_rle(told["turned"]), turned)


def test_lasso_and_brush_fill_the_pixels_that_they_cover(page: Any, site: str) -> None:
    visit(page, site)
    script = """async () => { const m = await import("/page/paint.js");
      const inside = m.paintInside([[2500, 10], [2540, 10], [2540, 60], [2500, 60]], 20000, 100);
      const line = m.paintLine(inside, [[1000, 50], [3000, 50]], 10, 0);
      return { inside, line, dot: m.paintLine(m.blank(50, 40), [[20, 20]], 8, 1) }; }"""
    told = page.evaluate(script)
    mask = np.zeros((100, 20_000), bool)
    mask[10:60, 2500:2540] = True
    np.testing.assert_array_equal(decode_rle(told["inside"]), mask)
    mask[45:55, 2500:2540] = False
    np.testing.assert_array_equal(decode_rle(told["line"]), mask)
    assert decode_rle(told["dot"]).sum() == pytest.approx(np.pi * 16, abs=6)


def test_a_picture_of_20000_pixels_is_sharp_and_prompts_are_exact(page: Any, site: str, large: Path) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.post_data_json) if "/masks" in request.url else None)
    visit_with(page, site, large)
    size = (20_000, 1500)
    page.mouse.move(*spot(page, 7000, 700, size))
    with page.expect_request_finished(lambda request: "box=" in request.url, timeout=WAIT):
        page.mouse.wheel(0, -2200)
    page.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(page.locator("#canvas").screenshot())).convert("L")
    assert np.percentile(np.asarray(shot)[200:-200, 100:-100], 99.5) > 145  # reduced, the lines would fade away
    canvas = page.locator("#canvas").bounding_box()
    page.mouse.click(canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2)
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    [x, y] = asked[-1]["objects"][0]["points"][0]
    at = page.locator("#canvas").get_attribute("data-at").split(",")
    assert (int(x), int(y)) == (int(at[0]), int(at[1]))
    assert abs(x - 7000) < 400
    mask = decode_rle(_kept_mask(page))
    ys, xs = np.nonzero(mask)
    assert mask.shape == (1500, 20_000)
    assert abs(xs.mean() + 0.5 - x) < 1
    assert abs(ys.mean() + 0.5 - y) < 1


def test_the_edge_map_leaves_the_mask_as_it_is(page: Any, site: str, photos: list[Path]) -> None:
    asked: list[Any] = []
    visit_with(page, site, photos[0])
    page.on("request", lambda request: asked.append(request.post_data_json) if "/masks" in request.url else None)
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    page.keyboard.press("k")
    for _ in range(3):  # on, off and on: it is asked for once
        page.keyboard.press("g")
        settled(page)
    assert [body["edges"] for body in asked] == [False, False, True]  # two looks for the mask
    expect(page.locator("#candidates button").nth(1)).to_have_attribute("aria-pressed", "true")


def test_a_model_without_edges_is_not_asked_for_them(page: Any, site: str, photos: list[Path]) -> None:
    def without(route: Any) -> None:
        route.fulfill(json=[{**row, "edges": False} for row in route.fetch().json()])

    page.route("**/api/models", without)
    visit_with(page, site, photos[0])
    page.mouse.click(*spot(page, 40, 40))
    settled(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.press("g")
    settled(page)
    expect(page.locator("#edges")).not_to_be_checked()
    assert asked == []


def _kept_mask(page: Any) -> dict[str, Any]:
    """The mask of the first object in the page's storage, which keeps it a moment after it is shown."""
    for _ in range(WAIT // 100):
        kept = page.evaluate(
            """() => new Promise((done) => { const open = indexedDB.open("vns-sam");
      open.onsuccess = () => { const all = open.result.transaction("pictures").objectStore("pictures").getAll();
        all.onsuccess = () => { open.result.close(); done(all.result.at(-1)?.doc.items[0]?.mask ?? null); }; }; })"""
        )
        if kept is not None:
            found: dict[str, Any] = kept
            return found
        page.wait_for_timeout(100)
    raise AssertionError("the mask was not kept")
