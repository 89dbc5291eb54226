"""A stand-in for the Hugging Face hub on the loopback: as much of its HTTP interface as its client uses here."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c" * 40
TOKEN = "hf_standin"


class Hub(ThreadingHTTPServer):
    """Repositories in memory: ``files[repo][path]``, and ``tags[repo][tag][path]`` at other revisions; ``asked`` keeps
    each request's method and path, and a path in ``broken`` is refused.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.broken: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes] | None]:
        """The commit of a branch, tag or commit, and its files, if there is one."""
        known = {name: (_tag(name.encode()), files) for name, files in self.tags.get(repo, {}).items()}
        known["main"] = COMMIT, self.files[repo]
        return next(
            ((commit, files) for name, (commit, files) in known.items() if revision in (name, commit)), ("", None)
        )


@contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()


def _tag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {url.path}")
        if self.command == "POST" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send(401, {"error": "Invalid credentials in Authorization header"})
        if url.path == "/api/validate-yaml":
            return self.send(200, {"errors": [], "warnings": []})
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[:3] == ["api", "repos", "create"]:
            return self.create(json.loads(body))
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.model("/".join(parts[2:4]), parts[4:], body, parse_qs(url.query))
        if len(parts) >= 5 and parts[2] == "resolve":
            return self.file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        self.send(404, {"error": "not found"})

    def create(self, asked: dict[str, Any]) -> None:
        owner, name = asked.get("organization"), asked["name"]
        repo = f"{owner}/{name}" if owner else name
        if asked.get("private") or asked.get("visibility") == "private":
            self.server.private.add(repo)
        self.server.files.setdefault(repo, {})
        self.send(200, {"url": f"{self.server.address}/{repo}", "name": repo})

    def model(self, repo: str, rest: list[str], body: bytes, query: dict[str, list[str]]) -> None:
        files = self.server.files.get(repo)
        if files is None:
            return self.send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            told = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in asked]
            return self.send(200, {"files": told})
        if rest[:1] == ["commit"]:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                if entry["key"] == "deletedFile":
                    del files[entry["value"]["path"]]
            address = f"{self.server.address}/{repo}/commit/{COMMIT}"
            return self.send(200, {"commitUrl": address, "commitOid": COMMIT, "hookOutput": ""})
        commit, files = self.server.at(repo, rest[1] if rest else "main")
        if files is None:
            return self.send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            return self.send(
                200, [{"type": "file", "path": k, "size": len(v), "oid": _tag(v)} for k, v in files.items()]
            )
        siblings = [{"rfilename": name} for name in files]
        self.send(200, {"id": repo, "sha": commit, "private": repo in self.server.private, "siblings": siblings})

    def file(self, repo: str, revision: str, path: str) -> None:
        if repo not in self.server.files:
            return self.send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if path in self.server.broken:
            return self.send(403, {"error": "not now"})
        commit, files = self.server.at(repo, revision)
        if files is None:
            return self.send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        content = files.get(path)
        if content is None:
            return self.send(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
        self.send(200, content, {"ETag": f'"{_tag(content)}"', "X-Repo-Commit": commit})

    def send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
