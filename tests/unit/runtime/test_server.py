"""What connections share: their number, their bytes, their end."""

from __future__ import annotations

import pytest

from kernos.base.settings import PlaneSettings
from kernos.testing.wire import Echo, echo, get, post


@pytest.fixture
def site() -> Echo:
    return Echo()


def test_an_idle_connection_ends(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a"))
    site.clock.advance(74)
    site.server.sweep()
    assert not wire.is_over()

    site.clock.advance(2)
    site.server.sweep()

    assert wire.is_over()


def test_a_waiting_request_is_not_idle(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/later"))
    site.clock.advance(100)
    site.server.sweep()

    assert not wire.is_over()


def test_one_connection_too_many_is_told_so(site: Echo) -> None:
    wires = [site.wire() for _ in range(3)]

    assert [answer.status for answer in wires[2].take()] == [503]
    assert wires[2].is_over()
    wires[0].connection.connection_lost(None)
    wires.append(site.wire())
    wires[3].send(get("/a"))
    assert [answer.status for answer in wires[3].take()] == [200]


def test_draining_answers_what_was_asked_and_keeps_nobody(site: Echo) -> None:
    idle, busy = site.wire(), site.wire()
    busy.send(get("/later1") + get("/later2"))

    site.server.drain()
    assert idle.is_over()
    assert not busy.is_over()
    for request in site.waiting:
        echo(request)

    answers = busy.take()
    assert [answer.body for answer in answers] == [b"GET /later1 ", b"GET /later2 "]
    assert answers[1].headers["connection"] == "close"
    assert busy.is_over()
    assert not site.server.empty.is_set()
    for wire in (idle, busy):
        wire.connection.connection_lost(None)
    assert site.server.empty.is_set()


def test_unfinished_bodies_together_are_bounded() -> None:
    site = Echo(PlaneSettings(body_limit_bytes=1000, connection_limit=10))
    wires = [site.wire() for _ in range(6)]
    for wire in wires:
        wire.send(post("/a", b"x" * 1000)[:-990])
        wire.send(b"x" * 900)

    statuses = [[answer.status for answer in wire.take()] for wire in wires]
    assert statuses == [[], [], [], [], [503], [503]]
    for wire in wires:
        wire.connection.connection_lost(None)
    assert site.server.buffered_bytes == 0


def test_only_refusals_of_callers_are_counted(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/no") + get("/bug") + get("/a"))

    assert site.server.refused == 1


def test_answers_carry_the_date(site: Echo) -> None:
    wire = site.wire()
    wire.send(get("/a"))
    site.clock.advance(60)
    site.server.sweep()
    wire.send(get("/a"))

    first, second = wire.take()
    assert first.headers["date"] != second.headers["date"]
    assert second.headers["date"].endswith("GMT")
