"""The form of a refusal."""

from __future__ import annotations

import json

from kernos.base.errors import LimitError
from kernos.runtime.exchange import refusal_of
from kernos.testing.wire import Echo, get


def test_a_refusal_tells_what_which_and_what_next() -> None:
    reply = refusal_of(LimitError("Too much.", hint="Send less."))

    assert reply.status == 413
    assert json.loads(reply.body) == {"error": "Too much.", "code": "limit", "hint": "Send less."}


def test_a_request_knows_whether_somebody_waits_and_whether_more_came() -> None:
    site = Echo()
    wire = site.wire()
    wire.send(get("/later1") + get("/later2"))
    first, second = site.waiting

    assert not first.is_last
    assert second.is_last
    assert not first.gone
