"""A server of the stub model as a process that can be killed: ``python tests/serving_site.py PORT [FOLDER OUT]``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

SOURCE = Path(__file__).parents[1] / "src"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    port: int, *arguments: str, workers: int = 1, seconds: float = 0, memory: int = 2_000_000_000
) -> subprocess.Popen[bytes]:
    """Starts the server and waits until it answers."""
    environment = {**os.environ, "WORKERS": str(workers), "SECONDS": str(seconds), "MEMORY": str(memory)}
    process = subprocess.Popen([sys.executable, __file__, str(port), *arguments], env=environment)
    for _ in range(600):
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return process
        except (URLError, OSError):
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def main(port: str, *folders: str) -> None:
    """Serves until it is stopped."""
    sys.path[:0] = [str(SOURCE), str(Path(__file__).parent)]
    from serving_stub import StubEngine

    from vns_sam.serving.server import build_server
    from vns_sam.serving.settings import Settings

    folder, out = (*map(Path, folders), None, None)[:2]
    settings = Settings(port=int(port), folder=folder, out=out, memory=int(os.environ.get("MEMORY", "2000000000")))
    workers = int(os.environ.get("WORKERS", "1"))
    engine = partial(StubEngine, float(os.environ.get("SECONDS", "0")))
    if workers > 1:
        from vns_sam.serving.workers import run_workers

        run_workers(settings, workers, engine)
    else:
        build_server(settings, engine()).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
