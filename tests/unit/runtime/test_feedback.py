"""Feedback: taken whole, or the first wrong item is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.runtime.feedback import MAX_ITEMS, read_feedback

GOOD = {"id": "0199abc-1f:3", "values": {"y": 1, "x": 1.5, "job": "cook", "ok": True, "none": None}}


def body(*items: Any) -> bytes:
    return json.dumps({"items": list(items)}).encode()


def test_items_come_through() -> None:
    (item,) = read_feedback(body(GOOD))

    assert {"id": item.id, "values": item.values} == GOOD


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{}", "not feedback"),
        (b"[", "not feedback"),
        (body(), "0 items"),
        (body(*[GOOD] * (MAX_ITEMS + 1)), "items were sent"),
        (body({"id": "x", "values": {"y": 1}}), "Item 0"),
        (body(GOOD, GOOD | {"id": "a-1:x"}), "Item 1"),
        (body(GOOD | {"id": "a-1\n"}), "Item 0"),
        (body(GOOD | {"id": 7}), "not feedback"),
        (body(GOOD | {"values": {}}), "no values"),
        (body(GOOD | {"values": {"y": [1]}}), "not feedback"),
        (body(GOOD | {"values": {"": 1}}), "column's name"),
        (body(GOOD | {"values": {"x" * 201: 1}}), "column's name"),
        (body(GOOD | {"values": {"y": 2**63}}), "64 bits"),
        (b'{"items": [{"id": "a-1", "values": {"y": NaN}}]}', "not feedback"),
        (body(GOOD | {"more": 1}), "not feedback"),
    ],
)
def test_a_wrong_item_is_named(data: bytes, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        read_feedback(data)


@given(st.binary(max_size=100))
def test_no_bytes_make_more_than_an_invalid_error(data: bytes) -> None:
    with pytest.raises(InvalidError):
        read_feedback(data)
