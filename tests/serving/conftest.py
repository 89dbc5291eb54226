"""A server for the browser, a page in it, and pictures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from serving_page import marked
from serving_site import free_port, start

from vns_sam.serving.folder import Project


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    port = free_port()
    process = start(port)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    assert process.wait(20) in (0, -signal.SIGTERM)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
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


@pytest.fixture
def project(photos: list[Path], tmp_path: Path) -> Project:
    """Two objects in each of the first two of five pictures."""
    project = Project(photos[0].parent, tmp_path / "masks")
    for index in range(2):
        project.save(index, marked(10, 60), (120, 160))
    return project


@pytest.fixture
def labelled(project: Project) -> Iterator[str]:
    port = free_port()
    process = start(port, str(project.root), str(project.out))
    yield f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()
