"""A small Hugging Face hub on 127.0.0.1, with switches for what can go wrong."""

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

PIECE = 1 << 20
LARGE = (".safetensors", ".bin", ".h5", ".ot", ".msgpack", ".onnx")  # kept in LFS


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    token: str | None


class Drop(NamedTuple):
    """Break the connection after `after` bytes of a body, politely or with a TCP reset."""

    after: int
    reset: bool = False


class HubServer(ThreadingHTTPServer):
    """Serves `repos`, {"owner/name": {"file": content}}; each has the revisions main and v1."""

    daemon_threads = True

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = repos
        self.requests: list[Request] = []
        self.token: str | None = None  # needed for everything
        self.gated: set[str] = set()  # repos whose files nobody may read
        self.drops: dict[str, list[Drop]] = {}  # file -> one for each coming GET
        self.corrupt: set[str] = set()  # files that arrive with one bit changed
        self.declared_size: dict[str, int] = {}  # file -> a lie about its size
        self.failing: dict[str, int] = {}  # end of a path -> the status to answer with
        self.pause = 0.0  # seconds before each MiB of a body
        self.on_get: Callable[[str], object] = lambda name: None  # called before a body is sent
        self.told: dict[str, object] = {}  # in place of what is right
        self.release = threading.Event()  # what a stalled body waits for
        self.stall: set[str] = set()  # files whose body stops halfway

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        """The files of all GET requests, in order."""
        paths = [request.path for request in self.requests if request.method == "GET"]
        return [path.split("/", 5)[5] for path in paths if "/resolve/" in path]

    def __enter__(self) -> "HubServer":
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is not worth a traceback."""


def commit_of(repo_id: str) -> str:
    return hashlib.sha1(repo_id.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def answer(self) -> None:
        url = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.server.requests.append(
            Request(self.command, unquote(url.path), self.headers.get("Range"), token)
        )
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        is_api = parts[:2] == ["api", "models"]
        repo_id = "/".join(parts[2:4] if is_api else parts[:2])
        revision = (parts[5:] or ["main"])[0] if is_api else parts[3]
        repo = self.server.repos.get(repo_id)
        failing = [code for end, code in self.server.failing.items() if url.path.endswith(end)]
        if failing:
            self.fail(HTTPStatus(failing[0]), "", "")
        elif self.server.token is not None and token != self.server.token:
            said = (
                "Invalid credentials in Authorization header" if token else "Repository not found"
            )
            self.fail(HTTPStatus.UNAUTHORIZED, "" if token else "RepoNotFound", said)
        elif repo is None:
            self.fail(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
        elif revision not in ("main", "v1", commit_of(repo_id)):
            self.fail(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif is_api:
            self.send_info(repo_id, repo, blobs="blobs" in parse_qs(url.query))
        elif repo_id in self.server.gated:
            self.fail(HTTPStatus.FORBIDDEN, "GatedRepo", "Access is restricted")
        elif parts[4] not in repo:
            self.fail(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
        else:
            self.send_file(repo_id, parts[4], repo[parts[4]])

    def fail(self, status: HTTPStatus, code: str, message: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_info(self, repo_id: str, repo: dict[str, bytes], *, blobs: bool) -> None:
        siblings: list[dict[str, object]] = []
        for name, content in repo.items():
            sibling: dict[str, object] = {"rfilename": name}
            if blobs:
                size = self.server.declared_size.get(name, len(content))
                sibling |= {"size": size, "blobId": hashlib.sha1(content).hexdigest()}
                if name.endswith(LARGE):
                    sha256 = hashlib.sha256(content).hexdigest()
                    sibling["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
            siblings.append(sibling)
        info = {"id": repo_id, "sha": commit_of(repo_id), "private": False, "siblings": siblings}
        info |= self.server.told
        body = json.dumps(info).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, repo_id: str, name: str, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        digest = hashlib.sha256 if name.endswith(LARGE) else hashlib.sha1
        etag = f'"{digest(content).hexdigest()}"'
        self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", commit_of(repo_id))
        self.send_header("ETag", etag)
        self.send_header("Accept-Ranges", "bytes")
        if name.endswith(LARGE):
            self.send_header("X-Linked-Etag", etag)
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self.send_body(name, content, start)

    def send_body(self, name: str, content: bytes, start: int) -> None:
        self.server.on_get(name)
        if name in self.server.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if name in self.server.stall:
            self.wfile.write(content[start : len(content) // 2])
            self.server.release.wait()
            self.close_connection = True
        elif drops := self.server.drops.get(name):
            self.drop(content[start:], drops.pop(0))
        else:
            for at in range(start, len(content), PIECE):
                time.sleep(self.server.pause)
                self.wfile.write(content[at : at + PIECE])

    def drop(self, body: bytes, drop: Drop) -> None:
        self.wfile.write(body[: drop.after])
        self.wfile.flush()
        if drop.reset:
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.rfile.close()
            self.connection.close()
        self.close_connection = True
