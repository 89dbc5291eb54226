""" "Learn from these" in the page, with a lesson that ends when it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_lesson import ROWS, faked
from PIL import Image
from serving_page import CHROMIUM, WAIT, expect, reload, score, settled, spot, visit
from serving_site import free_port
from serving_stub import StubEngine

from vns_sam.data.pairs import find_pairs
from vns_sam.images.write import write_json
from vns_sam.serving.learning import Learning
from vns_sam.serving.server import build_server
from vns_sam.serving.settings import Settings

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    engine, port = StubEngine(), free_port()
    engine.more = Learning(tmp_path / "learned").models
    server = build_server(Settings(port=port, learn=tmp_path / "learned"), engine)
    with faked(monkeypatch, tmp_path):
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join(30)


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{k:02d}.png" for k in range(count)]
    for k, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(k).integers(90, 130, (120, 160), np.uint8)).save(path)
    return paths


def mark(page: Any) -> None:
    page.mouse.click(*spot(page, 40, 40))
    expect(score(page)).to_have_text("0.90", timeout=WAIT)
    settled(page)


def test_from_too_few_pictures_to_a_model_in_the_picker(page: Any, address: str, tmp_path: Path) -> None:
    visit(page, address)
    page.set_input_files("#files", pictures(tmp_path, 12))
    settled(page)
    mark(page)
    page.keyboard.press("u")
    dialog = page.locator("#lessons")
    expect(dialog).to_contain_text("Mark the objects of 11 more pictures", timeout=WAIT)
    page.keyboard.press("Escape")
    for _ in range(11):
        page.keyboard.press("PageDown")
        settled(page)
        mark(page)
    page.keyboard.press("u")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_contain_text("Training, 3 of 9", timeout=WAIT)
    assert len(find_pairs(tmp_path / "learned" / "learned-1" / "set")) == 12

    dialog.get_by_role("button", name="Stop").click()
    expect(dialog).to_contain_text("It was stopped.", timeout=WAIT)
    dialog.get_by_role("button", name="Go on").click()
    expect(dialog).to_contain_text("Training, 3 of 9", timeout=WAIT)
    page.keyboard.press("Escape")
    mark_again = spot(page, 100, 80)
    page.mouse.click(*mark_again)  # marking goes on meanwhile
    settled(page)
    reload(page)
    expect(page.locator("#learn")).to_contain_text("Learning", timeout=WAIT)

    result = {"taken": True, "why": "the trained model is taken", "rows": ROWS}
    write_json(tmp_path / "learned" / "learned-1" / "finish", result)
    expect(dialog).to_contain_text("Learned-1 is better than stub", timeout=WAIT)
    expect(dialog.get_by_role("row").nth(1)).to_have_text("9 with a box, overlap (IoU)0.6000.700+0.100")
    dialog.get_by_role("button", name="Use learned-1").click()
    expect(page.locator("#model")).to_have_value("learned-1")
    assert json.loads((tmp_path / "learned" / "learned-1" / "order.json").read_text())["model"] == "stub"
