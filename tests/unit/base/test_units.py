import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.base.units import parse_bytes, parse_seconds, parse_share, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("2m", 120), ("1.5h", 5400), ("1d", 86400), ("1w", 604800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("512MiB", 512 * 2**20), ("1GiB", 2**30), ("10MB", 10**7), ("7B", 7)]
)
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


def test_shares() -> None:
    assert parse_share("12.5%") == 0.125
    with pytest.raises(InvalidError, match="more than all"):
        parse_share("101%")


@pytest.mark.parametrize("parse", [parse_seconds, parse_bytes, parse_share])
@given(text=st.text(max_size=12))
def test_anything_else_is_refused_with_an_example(parse: object, text: str) -> None:
    assert callable(parse)
    try:
        assert parse(text) >= 0
    except InvalidError as error:
        assert "Write" in error.hint


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.412, "412 ms"), (3.14, "3.1 s"), (600, "10 min"), (20_000, "5.6 h"), (300_000, "3.5 d")],
)
def test_durations_are_shown_for_people(seconds: float, shown: str) -> None:
    assert show_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(812, "812 B"), (42_189, "41.2 KiB"), (3 * 2**30, "3.0 GiB"), (5 * 2**40, "5.0 TiB")]
)
def test_sizes_are_shown_for_people(count: float, shown: str) -> None:
    assert show_bytes(count) == shown
