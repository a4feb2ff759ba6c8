"""HTTP at the level of bytes: order, bounds, time, and what is no HTTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.settings import PlaneSettings
from kernos.testing.wire import Echo, echo, get, post


@pytest.fixture
def site() -> Echo:
    return Echo()


def test_a_request_is_answered_and_the_connection_kept(site: Echo) -> None:
    wire = site.wire()

    wire.send(post("/a", b"hello"))
    wire.send(get("/b"))

    assert [answer.body for answer in wire.take()] == [b"POST /a hello", b"GET /b "]
    assert not wire.is_over()


@given(st.binary(max_size=300), st.lists(st.integers(1, 400), max_size=6))
def test_a_request_may_come_in_any_pieces(body: bytes, cuts: list[int]) -> None:
    wire = Echo().wire()
    data = post("/a", body)

    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        wire.send(data[start:end]) if data[start:end] else None

    assert [answer.body for answer in wire.take()] == [b"POST /a " + body]


def test_pipelined_requests_are_answered_in_order(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later1") + get("/now") + get("/later2"))

    assert wire.take() == []
    for request in reversed(site.waiting):
        echo(request)

    assert [answer.body for answer in wire.take()] == [b"GET /later1 ", b"GET /now ", b"GET /later2 "]


def test_a_head_request_gets_the_length_but_no_body(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a", method="HEAD"))

    head, _, body = wire.transport.sent.partition(b"\r\n\r\n")
    assert b"Content-Length: 8" in head
    assert body == b""


@pytest.mark.parametrize("headers", [("Connection: close",), ()])
def test_a_client_that_wants_the_end_gets_it(site: Echo, headers: tuple[str, ...]) -> None:
    wire = site.wire()
    data = get("/a", *headers)
    wire.send(data if headers else data.replace(b"HTTP/1.1", b"HTTP/1.0"))

    (answer,) = wire.take()
    assert answer.headers["connection"] == "close"
    assert wire.is_over()


def test_an_http_10_client_is_not_kept_even_if_it_asks(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert wire.is_over()


def test_chunked_bodies_are_joined(site: Echo) -> None:
    wire = site.wire()
    wire.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert wire.take()[0].body == b"POST /a abcde"
    assert site.server.buffered_bytes == 0


def test_a_body_too_large_is_refused_before_it_comes(site: Echo) -> None:
    wire = site.wire()
    wire.send(b"POST /a HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")

    (answer,) = wire.take()
    assert answer.status == 413
    assert answer.json["code"] == "limit"
    assert wire.transport.has_eof
    assert not wire.is_over(), "what still comes is read and dropped, so that the answer arrives"


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(site: Echo) -> None:
    wire = site.wire()
    wire.send(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"64\r\n" + b"x" * 100 + b"\r\n"

    for _ in range(10):
        wire.send(chunk)
    assert wire.take() == []
    wire.send(chunk)
    wire.send(chunk)

    assert [answer.status for answer in wire.take()] == [413]
    assert site.server.buffered_bytes == 0


def test_a_head_too_large_is_refused(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a", "X-A: " + "a" * 600))

    assert [answer.status for answer in wire.take()] == [431]


@pytest.mark.parametrize("filler", [b"X-A: " + b"a" * 1200, b"X" * 1200, b"\r\n" * 700])
def test_a_head_that_never_ends_is_refused(site: Echo, filler: bytes) -> None:
    wire = site.wire()
    data = (b"" if filler.startswith(b"\r") else b"GET /a HTTP/1.1\r\n") + filler
    for start in range(0, len(data), 50):
        wire.send(data[start : start + 50])

    assert [answer.status for answer in wire.take()] == [431]


def test_many_pipelined_requests_do_not_count_as_one_large_head(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a") * 100 + get("/b")[:20])
    wire.send(get("/b")[20:])

    assert len(wire.take()) == 101


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET\r\n\r\n",
        b"GET /a HTTP/9.9\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /a HTTP/1.1\r\nA B: c\r\n\r\n",
        b"GET /a HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_ended(site: Echo, data: bytes) -> None:
    wire = site.wire()
    wire.send(data)
    wire.send(get("/a"))

    assert [answer.status for answer in wire.take()][-1:] == [400]
    assert wire.transport.has_eof


def test_an_upgrade_ends_the_connection(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a", "Connection: Upgrade", "Upgrade: h2c"))

    assert 400 in [answer.status for answer in wire.take()]


@given(st.binary(max_size=400))
def test_no_bytes_make_the_server_fail(noise: bytes) -> None:
    wire = Echo().wire()

    wire.send(noise)
    wire.send(post("/a", b"x")[:30] + noise)

    assert all(answer.status < 500 for answer in wire.take())


def test_an_early_answer_waits_for_its_turn_and_for_its_body(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later") + post("/no", b"x" * 900))

    assert wire.take() == []
    echo(site.waiting[0])

    assert [answer.status for answer in wire.take()] == [200, 403]
    assert not wire.is_over()


def test_expect_continue_is_answered_before_the_body(site: Echo) -> None:
    wire = site.wire()
    head, body = post("/a", b"hello", "Expect: 100-continue").split(b"hello")[0], b"hello"
    wire.send(head)

    assert wire.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.transport.sent = b""
    wire.send(body)

    assert wire.take()[0].body == b"POST /a hello"


def test_a_refused_expectation_gets_its_refusal_instead(site: Echo) -> None:
    wire = site.wire()
    wire.send(post("/no", b"hello", "Expect: 100-continue").split(b"hello")[0])

    assert [answer.status for answer in wire.take()] == [403]


def test_half_a_body_and_silence_end_with_408(site: Echo) -> None:
    wire = site.wire()
    wire.send(post("/a", b"hello")[:-2])
    site.clock.advance(4)
    site.server.sweep()
    assert wire.take() == []

    site.clock.advance(2)
    site.server.sweep()

    assert [answer.status for answer in wire.take()] == [408]
    site.clock.advance(4)
    site.server.sweep()
    assert wire.transport.is_aborted


def test_a_body_that_drips_is_cut_off(site: Echo) -> None:
    wire = site.wire()
    wire.send(post("/a", b"x" * 100)[:-90])
    for _ in range(7):
        site.clock.advance(1)
        wire.send(b"x")
        site.server.sweep()

    assert [answer.status for answer in wire.take()] == [408]


def test_a_large_body_may_take_its_time() -> None:
    site = Echo(PlaneSettings(body_limit_bytes=10**6, body_timeout_s=5))
    wire = site.wire()
    data = post("/a", b"x" * 300_000)
    for start in range(0, len(data), 40_000):
        wire.send(data[start : start + 40_000])
        site.clock.advance(1)
        site.server.sweep()

    assert [answer.status for answer in wire.take()] == [200]


def test_a_client_that_takes_no_answers_is_not_read_and_then_ended(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a"))
    wire.connection.pause_writing()
    assert not wire.reads()

    wire.connection.resume_writing()
    assert wire.reads()
    wire.connection.pause_writing()
    site.clock.advance(6)
    site.server.sweep()

    assert wire.transport.is_aborted


def test_no_more_is_read_from_a_client_with_many_open_questions(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later") * 300)
    assert not wire.reads()

    for request in site.waiting:
        echo(request)

    assert wire.reads()
    assert len(wire.take()) == 300


def test_a_client_may_end_its_side_and_wait(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later"))

    assert wire.connection.eof_received() is True
    echo(site.waiting[0])

    assert [answer.status for answer in wire.take()] == [200]
    assert wire.is_over()


@pytest.mark.parametrize("data", [b"", post("/a", b"hello")[:-2]])
def test_an_end_without_a_question_ends_the_connection(site: Echo, data: bytes) -> None:
    wire = site.wire()
    wire.send(data)

    assert wire.connection.eof_received() is False


def test_an_answer_to_nobody_is_dropped(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later"))
    wire.connection.connection_lost(None)

    assert site.waiting[0].gone
    echo(site.waiting[0])

    assert wire.take() == []


def test_a_bug_is_answered_500_and_logged(site: Echo, caplog: pytest.LogCaptureFixture) -> None:
    wire = site.wire()
    wire.send(get("/bug") + get("/a"))

    assert [answer.status for answer in wire.take()] == [500, 200]
    assert "a request met a bug" in caplog.text
