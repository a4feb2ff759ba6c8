"""Hostile and broken clients against a real data plane: each meets an answer with a reason, nobody else
notices."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernos.runtime.wanted import Route
from kernos.testing.planes import APP, TOKEN, PlaneHome, call, connect

INFER = f"/v2/models/{APP}/infer"
GOOD: dict[str, Any] = {"name": "input", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
BODY = json.dumps({"inputs": [GOOD]}).encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = PlaneHome(tmp_path_factory.mktemp("home"))
    home.want([home.package(1, 1.0)], Route(APP, 1))
    with home.running(settings={"body_timeout_s": 1.0, "connection_limit": 50}) as one:
        yield one


@pytest.fixture(autouse=True)
def _others_are_served(url: str) -> Iterator[None]:
    """Whatever a test's client does, the next one is answered."""
    yield
    connection = connect(url)
    assert call(connection, "POST", INFER, BODY)[0] == 200
    connection.close()


class Client:
    """A client that sends what it likes."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port), timeout=20)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def read(self) -> bytes:
        """All that comes until the server ends the connection."""
        parts = []
        while data := self._socket.recv(65536):
            parts.append(data)
        return b"".join(parts)


def head(length: object = len(BODY), *more: str) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", f"Authorization: Bearer {TOKEN}", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_a_body_of_100_mb_is_refused_before_it_is_read(url: str) -> None:
    connection = connect(url)
    status, answer = call(connection, "POST", INFER, bytes(100_000_000))

    assert status == 413
    assert answer["code"] == "limit"
    assert "plane.body_limit_bytes" in answer["hint"]
    connection.close()


def test_an_endless_chunked_body_is_refused_when_it_is_too_large(url: str) -> None:
    with Client(url) as client:
        client.send(head().replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked"))
        chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
        for _ in range(70):
            client.send(chunk)
        client.end()

        assert statuses(client.read()) == [413]


@pytest.mark.parametrize("data", [head(1000) + b'{"inputs"', head()[:40], b"P"])
def test_half_a_request_and_silence_end_with_408(url: str, data: bytes) -> None:
    with Client(url) as client:
        client.send(data)

        assert statuses(client.read()) == [408]


def test_a_client_that_leaves_in_the_middle_harms_nobody(url: str) -> None:
    for _ in range(20):
        with Client(url) as client:
            client.send(head() + BODY[:10])


def test_a_slow_client_is_served_while_it_moves(url: str) -> None:
    with Client(url) as client:
        data = head(len(BODY), "Connection: close") + BODY
        for start in range(0, len(data), 7):
            client.send(data[start : start + 7])

        assert statuses(client.read()) == [200]


def test_a_client_that_reads_nothing_does_not_hold_the_server(url: str) -> None:
    with Client(url) as client:
        client._socket.settimeout(1.0)
        try:
            for _ in range(30_000):
                client.send((head() + BODY) * 10)
        except OSError:
            return
        raise AssertionError("the server read all that without an answer being taken")


def test_connections_beyond_the_limit_are_told_so(url: str) -> None:
    clients = [Client(url) for _ in range(60)]
    try:
        assert statuses(clients[-1].read()) == [503]
    finally:
        for client in clients:
            client.end()
        for client in clients:
            client.read()
            client._socket.close()


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        ({"datatype": "INT64"}, "'INT64' was sent"),
        ({"datatype": "float32"}, "'float32' was sent"),
        ({"shape": [3, 1]}, "takes [n, 3]"),
        ({"shape": [2, 3]}, "3 elements"),
        ({"name": "inputs"}, "no input 'inputs'"),
        ({"data": [1, 2, float("nan")]}, "'input' holds NaN or infinity"),
        ({"data": [1, 2, float("inf")]}, "'input' holds NaN or infinity"),
        ({"data": [1, 2, 1e300]}, "'input' holds a number"),
        ({"data": [1, 2, None]}, "'input' is not FP32 data"),
        ({"data": ["1", "2", "3"]}, "'input' is not FP32 data"),
    ],
)
def test_a_wrong_tensor_is_told_what_is_wrong(url: str, tensor: dict[str, Any], told: str) -> None:
    connection = connect(url)
    status, answer = call(connection, "POST", INFER, json.dumps({"inputs": [GOOD | tensor]}).encode())

    assert status == 400
    assert told in answer["error"]
    assert answer["hint"]
    connection.close()


def test_a_model_that_is_not_there_and_a_caller_nobody_knows(url: str) -> None:
    connection = connect(url)

    assert call(connection, "POST", "/v2/models/mm/infer", BODY)[0] == 404
    assert call(connection, "POST", INFER, BODY, token="kernos_guess")[0] == 401
    assert call(connection, "POST", INFER, BODY, token="")[0] == 401
    connection.close()


def test_a_canary_that_fails_is_not_noticed_by_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary's file computes infinities: each of its requests is answered by the live version."""
    home = PlaneHome(tmp_path)
    revisions = [home.package(1, 1.0), home.package(2, 3e38)]
    home.want(revisions, Route(APP, 1, canary=2, share=0.5))
    with home.running() as url:
        connection = connect(url)
        answers = [call(connection, "POST", INFER, BODY) for _ in range(100)]
        connection.close()
        live, canary = home.ask("status").traffic

    assert {status for status, _ in answers} == {200}
    assert {answer["model_version"] for _, answer in answers} == {"1"}
    assert (canary.version, canary.requests, canary.errors, canary.rescued) == (2, 50, 50, 50)
    assert (live.errors, live.requests) == (0, 100)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(0, len(head() + BODY)), st.sampled_from([b"", head(), head("x")]))
def test_no_bytes_bring_out_a_5xx(url: str, noise: bytes, place: int, start: bytes) -> None:
    """Noise alone, noise after a good head, and noise in the middle of a good request."""
    good = head() + BODY
    with Client(url) as client:
        client.send(start + noise if start else good[:place] + noise + good[place:])
        client.end()

        assert all(status < 500 for status in statuses(client.read()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100)
@given(
    st.lists(st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data"]), JSON), max_size=3), JSON
)
def test_no_json_brings_out_a_5xx(url: str, tensors: list[dict[str, Any]], more: Any) -> None:
    connection = connect(url)
    question = {"inputs": [GOOD | tensor for tensor in tensors], "id": more, "outputs": more}
    for body in (question, {"inputs": more}, more):
        status, _ = call(connection, "POST", INFER, json.dumps(body).encode())
        assert status in (200, 400)
        status, _ = call(connection, "POST", "/v2/feedback", json.dumps(body).encode())
        assert status in (202, 400)
    connection.close()
