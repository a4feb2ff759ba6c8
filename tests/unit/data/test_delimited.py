from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.data import delimited
from kernos.data.delimited import explain_shape, explain_text, header, survey


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def test_header_takes_quotes_and_a_byte_order_mark(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf"a,1",b\r\n1,2\r\n')

    assert header(file, ",") == ["a,1", "b"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a,b,a\n", "two columns named 'a'"),
        (b"a,,c\n", "column 2 has no name"),
        (b"a;b\n1;2\n", "does not separate its fields with commas"),
        (b"a,b\r1,2\r", "CR alone"),
        (b"\n\n \n", "is empty"),
        ("a,b\n".encode("utf-16"), "byte 0 in line 1"),
        ("a,b\n".encode("utf-16-be"), "not UTF-8"),
        (b"caf\xe9,b\n", "byte 3 in line 1"),
        (b"x" * 2_000_000, "not a header"),
    ],
)
def test_a_bad_header_says_what_is_wrong(file: Path, data: bytes, told: str) -> None:
    file.write_bytes(data)

    with pytest.raises(InvalidError, match=told) as caught:
        header(file, ",")

    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields, the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 fields"),
        (b"a,b\n1,2\n3,4,5", "line 3 has 3 fields"),
        (b'a,b\n"x\ny",2\n3\n', "line 4 has 1 fields"),
        (b"a,b\n1,2\n\n3,4\n", "line 3 is empty"),
        (b"a,b\n1,2\n\r\n", "line 3 is empty"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "quote that opens in line 3 is never closed"),
        (b"a,b\n", "no rows"),
        (b"a,b", "no rows"),
        (b"a,b\n1,\0\n", "byte 6 in line 2"),
    ],
)
def test_a_bad_shape_names_the_line(file: Path, data: bytes, told: str) -> None:
    file.write_bytes(data)

    with pytest.raises(InvalidError, match=told):
        survey(file, ",", 2)


def test_places_are_right_across_chunks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_CHUNK_BYTES", 3)
    good = 'a,b\n"é,\n""x",2\n3,€uro\n'.encode()
    file.write_bytes(good)
    assert survey(file, ",", 2) == hashlib.sha256(good).hexdigest()

    file.write_bytes(good + b"4,\xff\n")
    explain_shape(file, ",", 2)
    with pytest.raises(InvalidError, match=f"byte {len(good) + 2} in line 5"):
        explain_text(file)
    file.write_bytes(good + b"4,\0\n")
    with pytest.raises(InvalidError, match=f"byte {len(good) + 2} in line 5"):
        survey(file, ",", 2)


def test_a_line_in_pieces_is_one_line(file: Path) -> None:
    file.write_bytes(b"a,b\n" + b"x" * (3 << 20) + b",1\n1\n")

    with pytest.raises(InvalidError, match="line 3 has 1 fields"):
        explain_shape(file, ",", 2)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=6), chunk=st.integers(1, 9)
)
def test_survey_agrees_with_the_csv_module(file: Path, rows: list[list[str]], chunk: int) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    file.write_text(text.getvalue(), encoding="utf-8", newline="")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_CHUNK_BYTES", chunk)
        if all(len(row) == 2 for row in rows):
            assert survey(file, ",", 2) == hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            with pytest.raises(InvalidError, match="fields"):
                explain_shape(file, ",", 2)
