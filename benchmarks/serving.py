"""Many clients on a server of its own, on this machine alone: good and bad requests mixed, memory, others' pictures.

python benchmarks/serving.py --clients 64 --seconds 60
"""

from __future__ import annotations

import argparse
import json
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

DEMO = Path(__file__).parents[1] / "src" / "vns_sam" / "assets" / "demo.jpg"
BAD = (
    ("POST", "/api/pictures", b"this is no picture", "image/png"),
    ("POST", "/api/pictures", DEMO.read_bytes()[:9000], "image/jpeg"),
    ("GET", "/api/pictures/AAAAAAAAAAAAAAAAAAAAAA", None, ""),
    ("POST", "/predict", b"{", "application/json"),
)


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
            if chance < 0.15:
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
    """Runs the clients and prints what they were told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--memory", type=float, default=200, help="MB that the server may hold")
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vns_sam.cli.main", "serve", "--port", str(port), "--memory", str(args.memory)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        measure(f"http://127.0.0.1:{port}", server.pid, args.clients, args.seconds)
    finally:
        server.terminate()
        server.wait(60)


def measure(root: str, pid: int, clients: int, seconds: float) -> None:
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
    until = time.monotonic() + seconds
    crowd = [Client(root, number, told, waits) for number in range(clients)]
    threads = [threading.Thread(target=client.run, args=(until, known)) for client in crowd]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(max(1.0, seconds / 20))
        memory.append(resident(pid))
    early, late = memory[len(memory) // 5], memory[-1]
    print(f"{clients} clients, {seconds:g} s: {sum(told.values())} answers {dict(sorted(told.items()))}")
    print(f"masks: {len(waits)}, median wait {statistics.median(waits or [0]):.2f} s")
    print(
        f"memory after a fifth of the time {early:.0f} MB, at the end {late:.0f} MB ({100 * (late / early - 1):+.1f} %)"
    )


def resident(pid: int) -> float:
    """Resident memory of a process in MB; 0 where /proc does not tell."""
    path = Path(f"/proc/{pid}/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if path.exists() else 0.0


if __name__ == "__main__":
    main()
