"""The exported page, clicked through in a browser from a plain file server: the same pixels as in Python."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from vns_sam.errors import DataError, UsageError
from vns_sam.export.page import write_page
from vns_sam.inference.load import load_model, load_network
from vns_sam.inference.predictor import Predictor
from vns_sam.sam import registry

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
BOX = (198, 98, 449, 311)
CLICK = (320, 200)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """The demo's picture without the losses of JPEG, which browsers decode in ways of their own."""
    path = tmp_path / "moth.png"
    Image.open(registry.BUNDLED.parent / "assets" / "demo.jpg").save(path)
    return path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    write_page(load_network("vns-sam-tiny"), tmp_path / "site", "fp32")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_box_and_a_click_give_the_mask_of_python(address: str, picture: Path) -> None:
    predictor = Predictor(load_model("vns-sam-tiny", backend="torch"), second_look="off")
    predictor.set_image(picture)
    by_box = int(predictor.predict(boxes=[BOX]).masks.sum())
    by_both = int(predictor.predict(boxes=[BOX], points=[[CLICK]], labels=[[0]]).masks.sum())
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 700})
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.set_input_files("#file", str(picture))
        status, body = page.locator("#status"), page.locator("body")
        sync_api.expect(status).to_contain_text("Click", timeout=120_000)
        frame = page.locator("#marks").bounding_box()
        assert frame is not None
        scale = frame["width"] / Image.open(picture).width

        def place(x: float, y: float) -> tuple[float, float]:
            return frame["x"] + (x + 0.5) * scale, frame["y"] + (y + 0.5) * scale

        page.mouse.move(*place(BOX[0], BOX[1]))
        page.mouse.down()
        page.mouse.move(*place(BOX[2] - 1, BOX[3] - 1), steps=4)
        page.mouse.up()
        sync_api.expect(body).to_have_attribute("data-pixels", re.compile(r"\d"), timeout=60_000)
        before = str(body.get_attribute("data-pixels"))
        assert int(before) == by_box
        page.mouse.click(*place(*CLICK), button="right")
        sync_api.expect(body).not_to_have_attribute("data-pixels", before, timeout=60_000)
        assert int(str(body.get_attribute("data-pixels"))) == by_both
        page.keyboard.press("z")
        sync_api.expect(body).to_have_attribute("data-pixels", before, timeout=60_000)
        with page.expect_download() as download:
            page.keyboard.press("s")
        assert download.value.suggested_filename == "moth_mask.png"
        browser.close()
    assert not wrong
    assert all(url.startswith((address, "blob:")) for url in asked)


def test_a_page_wants_a_model_with_prompts_and_a_whole_runtime(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a model with an encoder and a decoder"):
        write_page(load_network("ws-sam-tiny"), tmp_path / "site")
    (tmp_path / "package").mkdir()
    with pytest.raises(DataError, match=r"holds no ort\.wasm\.min\.mjs"):
        write_page(load_network("sam-tiny"), tmp_path / "site", runtime=tmp_path / "package")
    (tmp_path / "package.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="no package of npm"):
        write_page(load_network("sam-tiny"), tmp_path / "site", runtime=tmp_path / "package.tgz")


def test_without_npm_the_runtime_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs npm, which is not here") as caught:
        write_page(load_network("sam-tiny"), tmp_path / "site")
    assert caught.value.hint == "install Node.js, or fetch it elsewhere and give --runtime FILE.tgz"
