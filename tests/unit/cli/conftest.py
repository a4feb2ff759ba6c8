"""A kernel of canned answers behind KERNOS_URL, and `kernos …` run in this process."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from kernos.base.errors import KernosError, to_problem
from kernos.cli.main import run

NOW_MS = 1_790_000_000_000


@dataclass
class Kernel:
    """`answers`: "GET /v1/runs" -> a value, an error, or a list of values given one after the other."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((method, target, msgspec.json.decode(body) if body else None))
        value = self.answers.get(f"{method} {urlsplit(target).path}", KernosError("not canned: " + target))
        if isinstance(value, Turns):
            value = value.next()
        if isinstance(value, KernosError):
            return value.status, msgspec.json.encode(to_problem(value))
        return 200, msgspec.json.encode(value)


class Turns:
    """Values that come one after the other; the last one stays."""

    def __init__(self, *values: Any) -> None:
        self._values = list(values)

    def next(self) -> Any:
        return self._values.pop(0) if len(self._values) > 1 else self._values[0]


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


class Shell:
    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Done:
        self._capture.readouterr()
        code = run(words)
        out, err = self._capture.readouterr()
        return Done(code, out, err)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, data = made.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("KERNOS_URL", made.url)
        monkeypatch.setenv("KERNOS_TOKEN", "kernos_test")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def kernos(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.setenv("KERNOS_HOME", str(tmp_path / "home"))
    return Shell(capsys)


@pytest.fixture
def turns() -> type[Turns]:
    return Turns


class Views:
    """View-models as the API sends them."""

    def run(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": 13, "kind": "step", "app": "diabetes", "name": "train", "owner": "ann", "parent": 12,
            "state": "running", "reason": "started", "class": "batch", "weight": 1.0, "cpus": 1.0,
            "memory_bytes": 2**30, "attempts": 1, "queued_ms": NOW_MS, "started_ms": NOW_MS, "ended_ms": None,
            "wall_s": 3.1, "cpu_s": 2.0, "rss_bytes": 50 * 2**20, "outputs": [], "params": {}, "metrics": {},
            "error": None,
        } | fields  # fmt: skip

    def page(self, *runs: dict[str, Any], below: int | None = None) -> dict[str, Any]:
        return {"runs": list(runs), "next_below": below}

    def event(self, seq: int = 0, **fields: Any) -> dict[str, Any]:
        return {
            "seq": seq, "at_ms": NOW_MS, "kind": "run.done", "subject": "run:13", "principal": "kernel",
            "payload": {"reason": "ended", "rows": [1]}, "leaf": "00",
        } | fields  # fmt: skip

    def build(self, **fields: Any) -> dict[str, Any]:
        stages = ["ingest", "prepare", "train", "gate", "package", "deploy", "infer", "observe"]
        return {
            "id": 12, "app": "diabetes", "state": "done", "reason": "", "cause": "principal:ann", "cached": False,
            "stages": [{"name": name, "state": "done", "detail": f"{name} it", "run": None} for name in stages],
            "verdicts": [self.verdict()], "data": ["/data/d@1"], "best": {}, "package": "/packages/diabetes@2",
            "url": "", "queued_ms": NOW_MS, "ended_ms": NOW_MS + 4000, "children": [],
        } | fields  # fmt: skip

    def verdict(self, **fields: Any) -> dict[str, Any]:
        return {
            "rule": "accuracy >= 0.65", "passed": True, "value": 0.7123, "low": 0.61, "high": 0.8, "rows": 111,
            "note": "",
        } | fields  # fmt: skip

    def service(self, **fields: Any) -> dict[str, Any]:
        line = {
            "version": 2, "role": "live", "share": 1.0, "requests": 1234, "rows": 1300, "errors": 1, "rescued": 0,
            "p50_ms": 0.8, "p99_ms": 4.2,
        }  # fmt: skip
        return {
            "app": "diabetes", "url": "http://127.0.0.1:8080/v2/models/diabetes/infer", "phase": "live", "reason": "",
            "live": 2, "previous": 1, "canary": None, "share": 0.0, "since_ms": NOW_MS, "traffic": [line],
            "drift": {"alarm": False, "rows": 1300, "e_value": 1.0, "e_bound": 1e4, "rows_to_alarm": None,
                      "columns": [], "note": ""},
            "accuracy": {"value": 0.7, "low": 0.6, "high": 0.8, "rows": 90}, "feedback_rows": 90,
            "history": [self.event(kind="deployment.live")], "latency_ms": [], "requests_per_s": [],
        } | fields  # fmt: skip

    def home(self, **fields: Any) -> dict[str, Any]:
        return {
            "version": "0.1.0", "home": "/srv/kernos", "uptime_s": 61.0, "cpus": 2.0, "cpus_held": 1.0,
            "memory_bytes": 2**34, "memory_held_bytes": 2**30, "running": [self.run()], "queued": 3,
            "services": [self.service()],
            "attention": [{"level": "warning", "text": "diabetes drifts", "link": "/", "command": "kernos services"}],
            "events": [],
        } | fields  # fmt: skip

    def version(self, **fields: Any) -> dict[str, Any]:
        return {
            "ref": "/packages/diabetes@3", "path": "/packages/diabetes", "version": 3, "digest": "sha256:" + "a" * 64,
            "kind": "package", "size_bytes": 42_000, "at_ms": NOW_MS, "run": 12, "names": ["live"],
            "meta": {"rows": 442, "data": ["/data/d@1"]},
        } | fields  # fmt: skip

    def app(self, **fields: Any) -> dict[str, Any]:
        return {
            "name": "diabetes", "doc": "Diabetes.\nMore.", "version": 1, "target": "progressed", "sensitive": ["sex"],
            "gates": [], "trigger": "on drift", "stages": [], "verdicts": [self.verdict()], "builds": [self.build()],
            "packages": [], "live": 2, "canary": None,
        } | fields  # fmt: skip


@pytest.fixture
def views() -> Views:
    return Views()
