from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError, KernosError, RefusedError, UnavailableError
from kernos.client.http import Http, read_events


def _drop(handler: Any) -> None:
    """The connection breaks before an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def test_a_request_carries_token_and_json_and_brings_json(stub: Any) -> None:
    answer = Http.tcp(stub.url, "secret").request("POST", "/v1/x?a=1", {"b": [1, None]})

    method, path, headers, body = stub.asked[0]
    assert answer == {"ok": True}
    assert (method, path, body) == ("POST", "/v1/x?a=1", b'{"b":[1,null]}')
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"


def test_without_a_token_none_is_sent(stub: Any) -> None:
    Http.tcp(stub.url).request("GET", "/")

    assert "Authorization" not in stub.asked[0][2]


def test_the_same_over_a_unix_socket(unix_stub: Any) -> None:
    assert Http.unix(unix_stub.url, "t").request("GET", "/v1/health") == {"ok": True}
    assert unix_stub.asked[0][2]["Host"] == "localhost"


def test_a_problem_becomes_its_error(stub: Any) -> None:
    stub.json(422, {"code": "refused", "detail": "no", "hint": "train", "details": {"rows": [1]}})

    with pytest.raises(RefusedError) as caught:
        Http.tcp(stub.url).request("GET", "/")

    assert (caught.value.message, caught.value.hint, caught.value.details) == ("no", "train", {"rows": [1]})


@pytest.mark.parametrize(
    ("status", "body"), [(502, b"<html>bad gateway</html>"), (200, b"<html>"), (500, b"[]")]
)
def test_an_answer_that_is_none_of_ours_is_told(stub: Any, status: int, body: bytes) -> None:
    stub.answers = [(status, body)]

    with pytest.raises(KernosError) as caught:
        Http.tcp(stub.url).request("GET", "/")

    assert "Kernos kernel" in caught.value.hint


def test_an_empty_answer_is_none(stub: Any) -> None:
    stub.answers = [(204, b"")]

    assert Http.tcp(stub.url).request("GET", "/") is None


def test_nobody_there_is_unavailable_at_once_without_patience() -> None:
    with pytest.raises(UnavailableError, match="Nobody answers"):
        Http.tcp("http://127.0.0.1:1").request("GET", "/")
    with pytest.raises(UnavailableError):
        Http.unix("/nowhere/s").request("GET", "/")


def test_patience_waits_out_a_restart(stub: Any, later_stub: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    timer = threading.Timer(0.15, later_stub, (address, stub))
    timer.start()

    answer = Http.tcp(f"http://127.0.0.1:{address[1]}", patience_s=20).request("POST", "/", {})

    timer.join()
    assert answer == {"ok": True}
    assert len(stub.asked) == 1


def test_a_read_that_breaks_is_asked_again(stub: Any) -> None:
    stub.answers = [_drop, (200, b"1")]

    assert Http.tcp(stub.url, patience_s=5).request("GET", "/") == 1


def test_a_change_that_breaks_is_not_repeated(stub: Any) -> None:
    stub.answers = [_drop, (200, b"1")]

    with pytest.raises(UnavailableError, match="broke"):
        Http.tcp(stub.url, patience_s=5).request("POST", "/", {})
    assert len(stub.asked) == 1


def test_what_a_worker_asks_is_repeated(unix_stub: Any) -> None:
    unavailable = (503, b'{"code": "unavailable", "detail": "starting"}')
    unix_stub.answers = [_drop, unavailable, (200, b"1")]

    assert Http.unix(unix_stub.url, patience_s=5).request("POST", "/", {}) == 1
    assert len(unix_stub.asked) == 3


def test_a_silent_server_is_left_after_the_timeout(stub: Any) -> None:
    done = threading.Event()
    stub.answers = [lambda handler: done.wait(5) and None]

    with pytest.raises(UnavailableError, match="took too long"):
        Http.tcp(stub.url).request("GET", "/", timeout_s=0.05)
    done.set()


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://", "x"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(InvalidError):
        Http.tcp(url).request("GET", "/")


def _events(*lines: bytes) -> Any:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for line in lines:
            handler.wfile.write(line)

    return answer


def test_a_stream_brings_events_and_ends(stub: Any) -> None:
    stub.answers = [_events(b": hello\n\n", b"id: 7\nevent: run.done\ndata: {}\n\n", b"data: cut off")]

    events = list(Http.tcp(stub.url, "t").stream("/s", last_id="6"))

    assert [(event.id, event.kind, event.data) for event in events] == [("7", "run.done", "{}")]
    assert stub.asked[0][2]["Last-Event-ID"] == "6"


def test_a_stream_that_is_refused_raises_its_error(stub: Any) -> None:
    stub.json(422, {"code": "refused", "detail": "no"})

    with pytest.raises(RefusedError):
        next(Http.tcp(stub.url).stream("/s"))
    with pytest.raises(UnavailableError):
        next(Http.tcp("http://127.0.0.1:1").stream("/s"))


FIELD = st.text(
    alphabet=st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=20
)


@given(st.lists(st.tuples(FIELD, st.lists(FIELD, min_size=1, max_size=3)), max_size=5))
def test_what_is_written_as_events_is_read_as_them(written: list[tuple[str, list[str]]]) -> None:
    text = "".join(
        f"id: {name}\n" + "".join(f"data: {line}\n" for line in lines) + ": a comment\nunknown: field\n\n"
        for name, lines in written
    )

    read = list(read_events(iter(text.encode().split(b"\n"))))

    assert [(event.id, event.data) for event in read] == [(name, "\n".join(lines)) for name, lines in written]


def test_an_id_lasts_until_the_next_and_zero_bytes_are_none() -> None:
    lines = b"id: 1\ndata: a\n\nid: \0\ndata: b\n\ndata\n\n".splitlines(keepends=True)

    assert [(event.id, event.data) for event in read_events(iter(lines))] == [
        ("1", "a"),
        ("1", "b"),
        ("1", ""),
    ]
