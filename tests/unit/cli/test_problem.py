from __future__ import annotations

import io

import pytest
from rich.console import Console

from kernos.base.errors import RefusedError
from kernos.cli.problem import report


def _report(error: RefusedError) -> tuple[int, str]:
    out = io.StringIO()
    return report(error, Console(file=out, width=100, markup=False), as_json=False), out.getvalue()


def test_an_error_says_what_why_and_what_next() -> None:
    code, text = _report(RefusedError("bmi is 700 in row 3.", hint="Correct the row.", rows=[3]))

    assert code == 6
    assert text.splitlines() == ["refused: bmi is 700 in row 3.", "  rows: 3", "next: Correct the row."]


def test_many_details_are_cut() -> None:
    _, text = _report(RefusedError("no", rows=list(range(9))))

    assert text.count("rows: ") == 6
    assert "and 4 more" in text


def test_brackets_in_a_message_are_not_markup() -> None:
    assert "[bold]" in _report(RefusedError("column [bold] is gone"))[1]


def test_json_is_the_problem_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(RefusedError("no"), Console(), as_json=True) == 6
    assert '"code": "refused"' in capsys.readouterr().out
