from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernos.base.errors import UnavailableError
from kernos.base.processes import identify
from kernos.client.api import Client
from kernos.client.home import KernelFile, write_kernel_file

CALLS: list[tuple[Callable[[Client], Any], str, str, Any]] = [
    (lambda c: c.health(), "GET", "/v1/health", None),
    (lambda c: c.home(), "GET", "/v1/home", None),
    (lambda c: c.devices(), "GET", "/v1/devices", None),
    (lambda c: c.register_app({"a.py": "x"}, "a.py"), "POST", "/v1/apps", {"files": {"a.py": "x"}, "main": "a.py"}),
    (lambda c: c.apps(), "GET", "/v1/apps", None),
    (lambda c: c.app("a b"), "GET", "/v1/apps/a%20b", None),
    (lambda c: c.start_build("a", "/w", {"C": 1}), "POST", "/v1/builds", {"app": "a", "folder": "/w", "args": {"C": 1}}),
    (lambda c: c.build(3), "GET", "/v1/builds/3", None),
    (lambda c: c.runs(state=["queued", "running"], app=""), "GET", "/v1/runs?state=queued&state=running", None),
    (lambda c: c.runs(parent=3, below=None), "GET", "/v1/runs?parent=3", None),
    (lambda c: c.run(3), "GET", "/v1/runs/3", None),
    (lambda c: c.why(3), "GET", "/v1/runs/3/why", None),
    (lambda c: c.log(3, 5, 7), "GET", "/v1/runs/3/log?offset=5&limit=7", None),
    (lambda c: c.wait(3, 1.5), "GET", "/v1/runs/3/wait?timeout_s=1.5", None),
    (lambda c: c.stop(3), "POST", "/v1/runs/3/stop", None),
    (lambda c: c.nice(3, "idle"), "POST", "/v1/runs/3/nice", {"class": "idle"}),
    (lambda c: c.nice(3, weight=2.0), "POST", "/v1/runs/3/nice", {"weight": 2.0}),
    (lambda c: c.ingest("/x", "n", "a"), "POST", "/v1/data", {"source": "/x", "name": "n", "app": "a"}),
    (lambda c: c.artifacts("/data"), "GET", "/v1/artifacts?prefix=%2Fdata", None),
    (lambda c: c.versions("/data/x"), "GET", "/v1/artifacts/versions?path=%2Fdata%2Fx", None),
    (lambda c: c.artifact("/data/x@1"), "GET", "/v1/artifacts/one?ref=%2Fdata%2Fx%401", None),
    (lambda c: c.lineage("pred:1"), "GET", "/v1/lineage?ref=pred%3A1", None),
    (lambda c: c.diff("/d/x@1", "@2"), "GET", "/v1/diff?a=%2Fd%2Fx%401&b=%402", None),
    (lambda c: c.services(), "GET", "/v1/services", None),
    (lambda c: c.service("a"), "GET", "/v1/services/a", None),
    (lambda c: c.deploy("a", 2), "POST", "/v1/services/a/deploy", {"version": 2}),
    (lambda c: c.rollback("a"), "POST", "/v1/services/a/rollback", None),
    (lambda c: c.prediction("b/1"), "GET", "/v1/predictions/b%2F1", None),
    (lambda c: c.events(), "GET", "/v1/events?limit=100", None),
    (lambda c: c.events(0, 5, "run:1"), "GET", "/v1/events?after=0&limit=5&subject=run%3A1", None),
    (lambda c: c.audit(), "GET", "/v1/audit", None),
    (lambda c: c.principals(), "GET", "/v1/principals", None),
    (
        lambda c: c.add_principal("n", "person", "viewer"),
        "POST",
        "/v1/principals",
        {"name": "n", "kind": "person", "role": "viewer"},
    ),
    (lambda c: c.console_code(), "POST", "/v1/console/code", None),
    (lambda c: c.child(3, "read", {"source": "x"}), "POST", "/v1/child/3/read", {"source": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_each_method_is_one_request(stub: Any, call: Any, method: str, path: str, body: Any) -> None:
    answer = call(Client.from_url(stub.url, "t"))

    asked_method, asked_path, _, sent = stub.asked[0]
    assert answer == {"ok": True}
    assert (asked_method, asked_path) == (method, path)
    assert (msgspec.json.decode(sent) if sent else None) == body


def test_events_are_followed_as_json(stub: Any) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b'id: 4\ndata: {"seq":4}\n\n')

    stub.answers = [answer]

    assert list(Client.from_url(stub.url, "t").follow_events(3)) == [{"seq": 4}]
    assert stub.asked[0][1] == "/v1/events/stream?after=3"


def test_predictions_go_to_the_data_plane_that_the_services_name(stub: Any) -> None:
    services = [{"url": ""}, {"url": f"{stub.url}/v2/models/a/infer"}]
    stub.answers = [(200, msgspec.json.encode(services)), (200, b"1")]
    client = Client.from_url(stub.url, "t")

    client.infer("a", {"inputs": []})
    client.model("a")
    client.feedback("p-1:0", {"y": 1})

    assert [(method, path) for method, path, _, _ in stub.asked] == [
        ("GET", "/v1/services"),
        ("POST", "/v2/models/a/infer"),
        ("GET", "/v2/models/a"),
        ("POST", "/v2/feedback"),
    ]
    assert stub.asked[1][2]["Authorization"] == "Bearer t"
    assert msgspec.json.decode(stub.asked[3][3]) == {"items": [{"id": "p-1:0", "values": {"y": 1}}]}


def test_without_a_service_there_is_nobody_to_ask(stub: Any) -> None:
    stub.json(200, [])

    with pytest.raises(UnavailableError, match="Nothing is in service"):
        Client.from_url(stub.url, "t").infer("a", {})


def test_a_home_gives_url_token_and_data_plane(stub: Any, tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    write_kernel_file(tmp_path, KernelFile(me.pid, me.started_ticks, stub.url, "s", plane_url=stub.url))
    (tmp_path / "token").write_text("secret")

    client = Client.from_home(tmp_path)
    client.home()
    client.model("a")

    assert [headers["Authorization"] for _, _, headers, _ in stub.asked] == ["Bearer secret"] * 2


def test_a_worker_asks_over_its_socket(unix_stub: Any) -> None:
    Client.for_worker(unix_stub.url, "run_1_x", patience_s=1.0).child(1, "wait", {"run": 2})

    assert unix_stub.asked[0][1] == "/v1/child/1/wait"
