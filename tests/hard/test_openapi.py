"""What the OpenAPI document says is what the server does: thousands of requests that schemathesis makes from it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from serving_site import free_port
from serving_stub import SmallEngine, picture_file

from vns_sam.serving.server import build_server
from vns_sam.serving.settings import Settings

pytestmark = pytest.mark.hard
TOOL = "schemathesis==4.32.5"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection"
)
SESSION = "schemathesis-0123456789"


@pytest.fixture(scope="module")
def tool(request: pytest.FixtureRequest) -> Path:
    """Schemathesis in an environment of its own: what it wants must not move what we stand on."""
    place = Path(request.config.cache.mkdir("schemathesis")) / TOOL  # type: ignore[union-attr]
    binary = place / "bin" / "schemathesis"
    if not binary.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        done = subprocess.run([place / "bin" / "pip", "install", "-qq", TOOL], capture_output=True, timeout=600)
        if done.returncode:
            pytest.skip("schemathesis cannot be installed here")
    return binary


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "frog.png").write_bytes(picture_file())
    port = free_port()
    settings = Settings(port=port, folder=photos, out=tmp_path / "masks", learn=tmp_path / "learned")
    server = build_server(settings, SmallEngine())
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


@pytest.mark.timeout(1800)
def test_no_fault_of_the_server_and_no_answer_that_is_not_documented(tool: Path, address: str, tmp_path: Path) -> None:
    sent = Request(f"{address}/api/pictures", picture_file(), {"X-Session": SESSION, "Content-Type": "image/png"})
    with urlopen(sent) as response:
        key = response.read().decode().split('"id":"')[1].split('"')[0]
    (tmp_path / "known.toml").write_text(f'[parameters]\nkey = "{key}"\n')
    options = [
        "--checks",
        CHECKS,
        "--max-examples",
        "100",
        "--continue-on-failure",
        "--seed",
        "0",
        "--request-timeout",
        "240",
    ]
    command = [str(tool), "run", f"{address}/openapi.json", "-H", f"X-Session: {SESSION}", *options]
    for more in ([], ["--exclude-method", "DELETE"]):  # with ids that nobody has, then with a picture of its own
        config = ["--config-file", str(tmp_path / "known.toml")] if more else []
        done = subprocess.run([command[0], *config, *command[1:], *more], cwd=tmp_path, capture_output=True, text=True)
        print(done.stdout[-700:])
        assert done.returncode == 0, done.stdout[-6000:]
