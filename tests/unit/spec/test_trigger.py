from __future__ import annotations

import pytest

from kernos.base.errors import InvalidError
from kernos.spec.manifest import Trigger
from kernos.spec.trigger import parse_trigger


@pytest.mark.parametrize(
    ("text", "on", "every_s"),
    [
        ("on drift, at most hourly", "drift", 3600.0),
        ("on drift, at most daily", "drift", 86400.0),
        ("on drift , at most weekly", "drift", 604800.0),
        ("on drift, at most every 10m", "drift", 600.0),
        ("every 6h", "time", 21600.0),
    ],
)
def test_a_trigger_has_a_cause_and_a_period(text: str, on: str, every_s: float) -> None:
    trigger = parse_trigger(text)

    assert (trigger.text, trigger.on, trigger.every_s) == (text, on, every_s)


def test_no_words_are_no_trigger() -> None:
    assert parse_trigger("") == Trigger()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("on drift", "expected ', at most …'"),
        ("on drift, at most dayly", "Did you mean daily?"),
        ("drift", "expected 'on drift' or 'every'"),
        ("on error, at most daily", "expected 'drift'"),
        ("every day", "expected a duration"),
        ("every 6 hours", "is not a duration"),
        ("every 10ms", "at least 1s"),
        ("every 6h sharp", "nothing more"),
    ],
)
def test_a_wrong_trigger_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_trigger(text)

    assert says in str(caught.value)
