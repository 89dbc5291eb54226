"""What a server of one's own does on this machine alone, by kind of question.

python benchmarks/serving.py load --clients 64 --seconds 300     good and bad requests mixed, memory, others' pictures
python benchmarks/serving.py click                               a click over HTTP beside the decoder's own time
python benchmarks/serving.py joint                               several clients' prompts decoded at once, or in turn
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

DEMO = Path(__file__).parents[1] / "src" / "vns_sam" / "assets" / "demo.jpg"
BAD = (
    ("POST", "/api/pictures", b"this is no picture", "image/png"),
    ("POST", "/api/pictures", DEMO.read_bytes()[:9000], "image/jpeg"),
    ("GET", "/api/pictures/AAAAAAAAAAAAAAAAAAAAAA", None, ""),
    ("POST", "/predict", b"{", "application/json"),
    ("POST", "/api/batch", b'{"questions": []}', "application/json"),
    ("GET", "/api/nothing", None, ""),
)
DAWDLING = 0.02
"""Share of a client's turns in which it begins a request and does not end it."""


class Client:
    """One client with a session of its own."""

    def __init__(self, root: str, number: int, told: Counter[int], waits: list[float]) -> None:
        self.root, self.told, self.waits = root, told, waits
        self.session = f"client-{number:016d}"
        self.random = random.Random(number)

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """One request; its status is counted."""
        headers = {"X-Session": self.session, "Content-Type": kind}
        request = urllib.request.Request(self.root + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                self.told[response.status] += 1
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            self.told[error.code] += 1
            error.read()
            if error.code == 429:
                time.sleep(float(error.headers["Retry-After"]) * self.random.uniform(0.5, 1.5))
            return b""

    def dawdle(self) -> None:
        """Says that a picture comes, sends a little of it, and goes away."""
        address = urlsplit(self.root)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as line:
            line.sendall(b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\nxx")
            time.sleep(self.random.uniform(0, 3))

    def run(self, until: float, known: list[str]) -> None:
        """Until a time: uploads, clicks, nonsense, and other clients' ids."""
        own = ""
        while time.monotonic() < until:
            if not own:
                told = self.send("POST", "/api/pictures", DEMO.read_bytes(), "image/jpeg")
                own = json.loads(told)["id"] if told else ""
                known += [own] if own else []
                continue
            chance = self.random.random()
            if self.random.random() < DAWDLING:
                self.dawdle()
            elif chance < 0.15:
                method, path, body, kind = self.random.choice(BAD)
                self.send(method, path, body, kind)
            elif chance < 0.25:
                other = self.random.choice(known)
                if other != own and self.send("GET", f"/api/pictures/{other}"):
                    raise AssertionError("another session's picture was reached")
            elif chance < 0.28:
                self.send("DELETE", f"/api/pictures/{own}")
                own = ""
            else:
                place = [self.random.uniform(200, 440), self.random.uniform(100, 300)]
                body = json.dumps({"objects": [{"points": [place]}], "second_look": "off"}).encode()
                start = time.perf_counter()
                if self.send("POST", f"/api/pictures/{own}/masks", body):
                    self.waits.append(time.perf_counter() - start)


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    load = kinds.add_parser("load")
    load.add_argument("--clients", type=int, default=64)
    load.add_argument("--seconds", type=float, default=300)
    load.add_argument("--memory", type=float, default=300, help="MB that the server may hold")
    load.add_argument("--workers", type=int, default=1)
    for kind in ("click", "joint"):
        one = kinds.add_parser(kind)
        one.add_argument("--model", default="vns-sam-tiny")
        one.add_argument("--times", type=int, default=40 if kind == "click" else 9)
    args = parser.parse_args()
    if args.kind == "load":
        serve_and_load(args)
    elif args.kind == "click":
        measure_click(args.model, args.times)
    else:
        measure_joint(args.model, args.times)


def serve_and_load(args: argparse.Namespace) -> None:
    """Starts a server and sends it load."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--memory", str(args.memory), "--workers", str(args.workers), "--learn", "off"]
    command = [sys.executable, "-m", "vns_sam.cli.main", "serve", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        measure_load(f"http://127.0.0.1:{port}", server.pid, args.clients, args.seconds)
    finally:
        server.terminate()
        server.wait(60)


def measure_load(root: str, pid: int, clients: int, seconds: float) -> None:
    """Waits for the server, runs the clients and prints the figures."""
    while True:
        try:
            urllib.request.urlopen(f"{root}/health", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    told: Counter[int] = Counter()
    waits: list[float] = []
    known: list[str] = ["none"]
    start = time.monotonic()
    crowd = [Client(root, number, told, waits) for number in range(clients)]
    threads = [threading.Thread(target=client.run, args=(start + seconds, known)) for client in crowd]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < start + seconds:
        time.sleep(1)
        memory.append((time.monotonic() - start, resident(pid)))
    for thread in threads:
        thread.join()
    fifth = seconds / 5
    parts = [[mb for at, mb in memory if k * fifth <= at < (k + 1) * fifth] for k in range(5)]
    levels = [statistics.median(part[-max(1, len(part) // 6) :]) for part in parts]
    print(f"{clients} clients, {seconds:g} s: {sum(told.values())} answers {dict(sorted(told.items()))}")
    print(f"masks: {len(waits)}, median wait {statistics.median(waits or [0]):.2f} s")
    print("memory in MB at the end of each fifth of the time:", " ".join(f"{level:.0f}" for level in levels))
    print(f"the last beside the first: {100 * (levels[-1] / levels[0] - 1):+.1f} %")


def resident(pid: int) -> float:
    """Resident memory of a process and its children in MB; 0 where /proc does not tell."""
    path = Path(f"/proc/{pid}/statm")
    if not path.exists():
        return 0.0
    own = int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(resident(int(child)) for child in below)


def measure_click(model: str, times: int) -> None:
    """The first mask after a click, over HTTP, beside the same engine called in the same process, by turns."""
    from PIL import Image

    from vns_sam.serving.engine import Engine
    from vns_sam.serving.server import build_server
    from vns_sam.serving.settings import Settings
    from vns_sam.types import Prompts

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engine = Engine((model,), refiner=None)
    server = build_server(Settings(models=(model,), refiner=None, port=port), engine)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    pixels = np.asarray(Image.open(DEMO).convert("RGB"))
    features = engine.encode(model, pixels)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"X-Session": "benchmark-0123456789", "Content-Type": "image/jpeg"}

    def post(path: str, body: bytes) -> dict[str, object]:
        connection.request("POST", path, body, headers)
        answer: dict[str, object] = json.loads(connection.getresponse().read())
        return answer

    key = post("/api/pictures", DEMO.read_bytes())["id"]
    headers["Content-Type"] = "application/json"
    told = listen_to_log()
    rng, taken = np.random.default_rng(0), {"http": [], "answer": [], "decode": []}  # type: ignore[var-annotated]
    served: list[float] = []
    for number in range(times + 3):
        x, y = rng.uniform(200, 400), rng.uniform(120, 300)
        prompts = Prompts(points=np.array([[[x, y]]], np.float32), labels=np.ones((1, 1), np.int64))
        asked = {"objects": [{"points": [[x, y]]}], "candidates": True, "second_look": "off"}
        body = json.dumps(asked).encode()
        stamps = [time.perf_counter()]
        post(f"/api/pictures/{key}/masks", body)
        stamps.append(time.perf_counter())
        engine.answer(model, features, pixels, prompts, second_look="off", candidates=True)
        stamps.append(time.perf_counter())
        engine.decode(model, features, prompts, candidates=True, look_again=False)
        stamps.append(time.perf_counter())
        if number >= 3:
            served.append(told[-1])
            for name, seconds in zip(taken, np.diff(stamps), strict=True):
                taken[name].append(float(seconds))
    server.should_exit = True
    thread.join()
    middle = {name: 1000 * statistics.median(seconds) for name, seconds in taken.items()}
    print(f"{model}, {times} clicks with candidates, medians: over HTTP {middle['http']:.0f} ms, ", end="")
    print(f"the mask in Python {middle['answer']:.0f} ms, the decoder alone {middle['decode']:.0f} ms")
    print(f"the server's time beside the decoder alone: {statistics.median(np.divide(served, taken['decode'])):.2f}")
    print(f"HTTP beside the mask in Python: {statistics.median(np.divide(taken['http'], taken['answer'])):.2f}")
    print(f"HTTP beside the decoder alone: {statistics.median(np.divide(taken['http'], taken['decode'])):.2f}")


def listen_to_log() -> list[float]:
    """The seconds that the server of this process says each request took, as they come."""
    told: list[float] = []
    log = logging.getLogger("vns_sam.serving.access")
    log.setLevel(logging.INFO)

    def hear(record: logging.LogRecord) -> bool:
        told.append(json.loads(record.getMessage())["ms"] / 1000)
        return False

    log.addFilter(hear)
    return told


def measure_joint(name: str, times: int) -> None:
    """One click of each of several clients, each on a picture of its own: one decoding for all, or one for each."""
    from vns_sam.inference.load import load_model
    from vns_sam.types import Prompts

    model, rng = load_model(name), np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (480, 640, 3), np.uint8) for _ in range(8)]
    alone = [model.encode([picture]) for picture in pictures]
    for count in (2, 4, 8):
        places = [np.array([[[100 + 40 * k, 200]]], np.float32) for k in range(count)]
        asked = [Prompts(points=place, labels=np.ones((1, 1), np.int64)) for place in places]
        together, ratios = model.encode(pictures[:count]), []
        for _ in range(times):
            stamps = [time.perf_counter()]
            for features, prompts in zip(alone, asked, strict=False):
                model.decode(features, [prompts], [0])
            stamps.append(time.perf_counter())
            model.decode(together, asked, list(range(count)))
            stamps.append(time.perf_counter())
            ratios.append((stamps[2] - stamps[1]) / (stamps[1] - stamps[0]))
        print(f"{name}, {count} clients: at once takes {statistics.median(ratios):.2f} of the time in turn")


if __name__ == "__main__":
    main()
