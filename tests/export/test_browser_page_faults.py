"""The page whose model runs in the browser, over a worker that fails, or answers late, as a test wants it to."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_page import CHROMIUM, WAIT, expect
from serving_stub import picture_file

from vns_sam.images.read import read_image

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM
WORKER = """
const found = { masks: [{ score: 0.5, mask: new Uint8Array(1200).fill(1) }] };
self.onmessage = async ({ data: { id, task, asked } }) => {
  try { self.postMessage({ id, answer: await tasks[task](asked) }); }
  catch (error) { self.postMessage({ id, error: error.message }); }
};
"""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Opens the page with what a worker does, an object of functions by their tasks."""
    shutil.copytree(str(files("vns_sam.export").joinpath("page")), tmp_path / "site")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 900, "height": 700})

        def visit(tasks: str) -> Any:
            (tmp_path / "site" / "worker.js").write_text(WORKER + f"const tasks = {tasks};", encoding="utf-8")
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            return page

        yield visit
        page.close()
        server.shutdown()


def give(page: Any, name: str = "frog.png", content: bytes | None = None) -> None:
    """Opens a picture of 40 x 30 pixels from a file."""
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content or picture_file()})


def says(page: Any, text: str) -> None:
    expect(page.locator("#status")).to_contain_text(text, timeout=WAIT)


def test_what_fails_is_told_and_tried_again(opened: Callable[[str], Any]) -> None:
    page = opened("""{ open: () => ({ name: "stub" }),
      encode() { if (!this.once) { this.once = true; throw new Error("out of memory"); } },
      decode() { if (!this.twice) { this.twice = true; throw new Error("out of memory"); } return found; } }""")
    give(page)
    says(page, "The model cannot look at this picture: out of memory")
    give(page)
    says(page, "Click on the object")
    page.locator("#marks").click()
    says(page, "The model cannot answer: out of memory")
    page.locator("#marks").click()
    says(page, "1,200 pixels, score 0.50")


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        ("{ open() { throw new Error('no decoder.onnx'); } }", "no decoder.onnx"),
        ("{}; import './ort.mjs'", "serve this folder"),
    ],
)
def test_a_model_that_does_not_open_is_told_with_a_picture_too(
    opened: Callable[[str], Any], worker: str, why: str
) -> None:
    page = opened(worker)
    says(page, f"The model cannot be opened: {why}")
    give(page)
    expect(page.locator("#board")).to_be_visible()
    says(page, f"The model cannot be opened: {why}")


def test_a_late_answer_is_not_of_the_next_picture(opened: Callable[[str], Any]) -> None:
    page = opened("""{ open: () => ({}), encode() { this.answer?.(found); },
      decode() { return new Promise((answer) => { this.answer = answer; }); } }""")
    give(page)
    says(page, "Click on the object")
    page.locator("#marks").click()
    give(page, "bee.png", picture_file(20, 10))
    expect(page.locator("#picture")).to_have_attribute("width", "20")
    says(page, "Click on the object")
    expect(page.locator("#save")).to_be_disabled()
    page.locator("#marks").click()
    give(page)  # whose encoding brings the answer to the click before
    expect(page.locator("#picture")).to_have_attribute("width", "40")
    says(page, "Click on the object")
    expect(page.locator("#save")).to_be_disabled()
    expect(page.locator("body")).not_to_have_attribute("data-pixels", "1200")


def test_the_picture_that_was_given_last_is_shown(opened: Callable[[str], Any]) -> None:
    page = opened("{ open: () => ({}), encode() {}, decode() {} }")
    page.evaluate("""() => { const read = createImageBitmap; window.createImageBitmap = async (file, options) => {
      if (file.name === "frog.png") await new Promise((done) => { window.release = done; });
      return read(file, options); }; }""")
    give(page)
    give(page, "bee.png", picture_file(20, 10))
    says(page, "Click on the object")
    page.evaluate("() => release()")
    page.wait_for_timeout(200)
    expect(page.locator("#picture")).to_have_attribute("width", "20")


def test_the_model_sees_what_is_transparent_as_python_does(opened: Callable[[str], Any], tmp_path: Path) -> None:
    values = np.full((1, 3, 4), (200, 40, 90, 255), np.uint8)
    values[0, 1:, 3] = (0, 128)
    Image.fromarray(values).save(tmp_path / "clear.png")
    page = opened("""{ open: () => ({}), encode({ picture }) { throw new Error(picture.data.join(" ")); } }""")
    give(page, "clear.png", (tmp_path / "clear.png").read_bytes())
    says(page, "The model cannot look at this picture: ")
    seen = np.array(str(page.locator("#status").text_content()).split(": ")[1].split(), int).reshape(1, 3, 4)
    np.testing.assert_allclose(seen[..., :3], read_image(tmp_path / "clear.png"), atol=1)
