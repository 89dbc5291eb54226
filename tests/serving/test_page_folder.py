"""A page that is still open when another folder is served, or the same one with other pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from subprocess import Popen
from typing import Any

import pytest
from serving_page import CHROMIUM, WAIT, expect, objects, reload, settled, spot, visit
from serving_site import free_port, start
from serving_stub import picture_file

from vns_sam.serving.folder import Project

pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install playwright")
pytestmark = CHROMIUM


class Server:
    """Serves one folder after the other at one port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self._process: Popen[bytes] | None = None

    def serve(self, photos: Path) -> None:
        self.stop()
        self._process = start(self.port, str(photos), f"{photos}-masks")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def mark(page: Any, x: float, y: float) -> None:
    page.keyboard.press("n")
    page.mouse.click(*spot(page, x, y))


def kept(photos: Path) -> dict[str, int]:
    """How many objects were saved for each picture that has a file of them."""
    project = Project(photos, Path(f"{photos}-masks"))
    rows = project.listing().pictures
    return {row.name: row.objects for row in rows if (project.out / row.name).with_suffix(".json").is_file()}


def test_nothing_is_saved_under_a_picture_of_another_folder(
    page: Any, server: Server, photos: list[Path], tmp_path: Path
) -> None:
    mine, others = photos[0].parent, tmp_path / "others"
    copytree(mine, others)
    server.serve(mine)
    visit(page, server.address)
    settled(page)
    mark(page, 40, 40)
    settled(page)
    server.serve(others)
    mark(page, 90, 80)
    expect(page.get_by_role("alert")).to_contain_text("does not hold this picture", timeout=WAIT)
    expect(page.locator("#saved")).to_have_text("Not saved yet", timeout=WAIT)
    assert (kept(mine), kept(others)) == ({"ant.png": 1}, {})
    server.serve(mine)
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert (kept(mine), kept(others)) == ({"ant.png": 2}, {})
    server.serve(others)
    reload(page)
    settled(page)
    expect(objects(page)).to_have_count(0)


def test_a_picture_stays_itself_where_others_come_before_it(page: Any, server: Server, photos: list[Path]) -> None:
    folder = photos[0].parent
    server.serve(folder)
    visit(page, server.address)
    settled(page)
    (folder / "aardvark.png").write_bytes(picture_file(160, 120))
    server.serve(folder)
    mark(page, 40, 40)
    settled(page)
    expect(page.locator("#saved")).to_have_text("Saved", timeout=WAIT)
    assert kept(folder) == {"ant.png": 1}
