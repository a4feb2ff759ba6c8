from __future__ import annotations

import pytest

from kernos.base.errors import InvalidError
from kernos.spec.service import parse_canary, parse_rollback


def test_a_canary_has_a_share_and_a_time() -> None:
    assert parse_canary("10% for 2m") == (0.1, 120.0)
    assert parse_canary(" 2.5 %  for 90 s ") == (0.025, 90.0)
    assert parse_canary("") == (0.0, 0.0)


def test_a_rollback_bounds_errors_and_p99() -> None:
    assert parse_rollback("errors > 1% or p99 > 50ms") == (0.01, 50.0)
    assert parse_rollback("p99 > 1s") == (1.0, 1000.0)
    assert parse_rollback("errors>0%") == (0.0, 0.0)
    assert parse_rollback(" ") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10 for 2m", "expected a share"),
        ("10% for 2 minutes", "is not a duration"),
        ("10% during 2m", "expected 'for'"),
        ("110% for 2m", "more than all"),
        ("0% for 2m", "proves nothing"),
        ("10% for 0s", "needs time"),
        ("10% for 2m or so", "nothing more"),
    ],
)
def test_a_wrong_canary_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_canary(text)

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("error > 1%", "Did you mean errors?"),
        ("errors > 1% or errors > 2%", "bounded twice"),
        ("errors >= 1%", "expected '>'"),
        ("errors > 1", "expected a share"),
        ("p99 > 50", "expected a duration"),
        ("p99 > 0ms", "takes no time"),
        ("errors > 1% and p99 > 50ms", "nothing more"),
        ("errors > 1% or", "expected errors or p99"),
    ],
)
def test_a_wrong_rollback_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_rollback(text)

    assert says in str(caught.value)
