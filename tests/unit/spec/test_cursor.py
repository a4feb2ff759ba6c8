from __future__ import annotations

import pytest

from kernos.base.errors import InvalidError
from kernos.spec.cursor import NUMBER, Cursor


def test_spaces_before_a_token_do_not_matter() -> None:
    cursor = Cursor("  a   1.5 rest of it ", "line", "a 1")

    assert cursor.expect("a", "a") == "a"
    assert cursor.expect(NUMBER, "a number") == "1.5"
    assert cursor.take("b") is None
    assert cursor.rest() == "rest of it"
    cursor.end()


def test_what_is_left_over_is_an_error_with_a_caret_under_it() -> None:
    cursor = Cursor("a b", "line", "a")
    cursor.expect("a", "a")

    with pytest.raises(InvalidError) as caught:
        cursor.end()

    assert caught.value.hint == "a b\n  ^ nothing more belongs here\nWrite it like 'a'."
    assert "character 3" in caught.value.message
