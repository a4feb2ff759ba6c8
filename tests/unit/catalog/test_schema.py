from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from kernos.base.errors import CorruptError, InvalidError
from kernos.base.ids import RunId
from kernos.catalog.records import (
    DeploymentRecord,
    EdgeRecord,
    MetricRecord,
    MonitorRecord,
    Record,
    RunRecord,
)
from kernos.catalog.schema import JOURNAL, METADATA, TABLES, RecordTable, row_digest, table_of
from kernos.testing.contracts import queued_run

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSON = st.dictionaries(
    TEXT, st.recursive(TEXT | INTEGERS | NUMBERS | st.none() | st.booleans(), st.lists), max_size=4
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("schema") / "rows.db"
    engine = create_engine(f"sqlite:///{path}")
    METADATA.create_all(engine)
    engine.dispose()
    return path


def read_back(database: Path, table: RecordTable[Any], record: Record) -> tuple[tuple[Any, ...], Record]:
    """The row as stored and the record as read, after a trip through a real table."""
    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.begin() as connection:
            connection.execute(table.table.delete())
            names = table.table.columns.keys()
            connection.execute(insert(table.table), dict(zip(names, table.encode(record), strict=True)))
            row = tuple(connection.execute(select(table.table)).one())
    finally:
        engine.dispose()
    return row, table.decode(row)


def test_every_record_type_has_one_table_with_its_fields_as_columns() -> None:
    kinds = {kind for kind in Record.__subclasses__() if kind.__module__ == "kernos.catalog.records"}

    assert set(TABLES) == kinds
    assert kinds > JOURNAL
    for kind, table in TABLES.items():
        assert [column.name for column in table.table.columns] == list(kind.__struct_fields__)
        assert set(table.key) <= set(kind.__struct_fields__)


@settings(max_examples=60)
@given(
    st.builds(
        queued_run,
        INTEGERS,
        name=TEXT,
        parent=st.none() | INTEGERS,
        weight=NUMBERS,
        payload=JSON,
        usage=st.dictionaries(TEXT, NUMBERS, max_size=3),
    )
)
def test_what_is_stored_is_what_is_read_so_digests_hold(database: Path, record: RunRecord) -> None:
    table = table_of(RunRecord)
    stored = table.encode(record)

    row, again = read_back(database, table, record)

    assert row == stored
    assert row_digest(row) == row_digest(stored)
    assert again == record


def test_types_near_enough_are_made_right_before_they_are_digested(database: Path) -> None:
    given_ = MetricRecord(RunId(True), "loss", 0, 1, 5)  # a bool for an int, an int for a float
    zero = MetricRecord(RunId(1), "loss", 0, -0.0, 5)

    for record in (given_, zero):
        stored = table_of(MetricRecord).encode(record)
        row, _ = read_back(database, table_of(MetricRecord), record)
        assert row_digest(row) == row_digest(stored)
        assert [type(value) for value in stored] == [int, str, int, float, int]


def test_a_bool_column_comes_back_as_a_bool(database: Path) -> None:
    _, record = read_back(database, table_of(MonitorRecord), MonitorRecord("diabetes", 1, None, {}, True, 5))

    assert isinstance(record, MonitorRecord)
    assert record.alarm is True


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (MetricRecord(RunId(1), "loss", 0, float("nan"), 5), r"metrics\.value"),
        (MetricRecord(RunId(2**63), "loss", 0, 0.0, 5), r"metrics\.run"),
        (DeploymentRecord("a", None, None, None, float("-inf"), "live", "", 0, {}), r"deployments\.share"),
    ],
)
def test_a_number_that_fits_no_column_is_invalid(record: Record, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        TABLES[type(record)].encode(record)


@pytest.mark.parametrize(
    "record",
    [
        msgspec.structs.replace(queued_run(1), name=5),
        msgspec.structs.replace(queued_run(1), parent="1"),
        msgspec.structs.replace(queued_run(1), weight=None),
        msgspec.structs.replace(queued_run(1), payload={"a": object()}),
    ],
)
def test_a_wrong_type_is_a_bug_and_says_where(record: RunRecord) -> None:
    with pytest.raises(TypeError, match=r"runs\.(name|parent|weight|payload)"):
        table_of(RunRecord).encode(record)


def test_a_row_that_holds_no_json_is_corrupt() -> None:
    table = table_of(RunRecord)
    stored = list(table.encode(queued_run(1)))
    stored[list(RunRecord.__struct_fields__).index("payload")] = "{broken"

    with pytest.raises(CorruptError, match="runs"):
        table.decode(stored)


@given(*[st.text(string.ascii_letters + '/"\\,[]', max_size=6)] * 6)
def test_two_keys_never_share_their_text(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    table = table_of(EdgeRecord)
    first, second = EdgeRecord(a, b, c, None), EdgeRecord(d, e, f, None)

    same = table.key_text(table.encode(first)) == table.key_text(table.encode(second))

    assert same == (first == second)
