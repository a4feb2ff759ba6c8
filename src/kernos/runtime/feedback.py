"""Labels that come back, checked item by item: `{"items": [{"id": …, "values": {…}}]}`."""

from __future__ import annotations

import re

import msgspec

from kernos.base.errors import InvalidError

Value = int | float | str | bool | None

MAX_ITEMS = 10_000
_ID = re.compile(r"[0-9a-z]{1,40}-[0-9a-f]{1,16}(:\d{1,9})?\Z")
_NAME_CHARACTERS = 200
_INT64 = 1 << 63


class FeedbackItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    """A prediction's id, with `:<row>` for one row of several."""
    values: dict[str, Value]
    """The target and, where known, columns the model did not see."""


class _Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: list[FeedbackItem]


_decode = msgspec.json.Decoder(_Feedback).decode


def read_feedback(body: bytes) -> list[FeedbackItem]:
    """The items of a body. InvalidError tells which is wrong; then none is taken."""
    try:
        items = _decode(body).items
    except (msgspec.DecodeError, RecursionError) as error:
        hint = 'Send {"items": [{"id": "<prediction id>", "values": {"<column>": <value>}}]}.'
        raise InvalidError(f"The body is not feedback: {error}.", hint=hint) from error
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidError(f"{len(items)} items were sent.", hint=f"Send 1 to {MAX_ITEMS:,} items a request.")
    for place, item in enumerate(items):
        _check(place, item)
    return items


def _check(place: int, item: FeedbackItem) -> None:
    if not _ID.match(item.id):
        hint = "Use the prediction_id of an answer, with :<row> for one row of several."
        raise InvalidError(f"Item {place}: {item.id[:80]!r} is no prediction's id.", hint=hint)
    if not item.values:
        raise InvalidError(f"Item {place} has no values.", hint='Send at least one: {"<target>": <value>}.')
    for name, value in item.values.items():
        if not 0 < len(name) <= _NAME_CHARACTERS:
            raise InvalidError(f"Item {place}: {name[:80]!r} is not a column's name.")
        if isinstance(value, int) and not -_INT64 <= value < _INT64:
            raise InvalidError(f"Item {place}: {name!r} is beyond 64 bits.", hint="Send it as text.")
