from __future__ import annotations

import pytest

from kernos.base.errors import LimitError
from kernos.catalog import queries
from kernos.catalog.records import RunRecord, VersionRecord
from kernos.catalog.schema import table_of

RUNS = table_of(RunRecord)


def test_a_column_that_is_json_or_unknown_cannot_be_compared() -> None:
    for name in ("payload", "nothing", "id; drop table runs"):
        with pytest.raises(ValueError, match="to compare"):
            queries.column(RUNS, name)


def test_conditions_are_equal_null_or_one_of() -> None:
    found = [
        str(each) for each in queries.conditions(RUNS, {"app": "a", "parent": None, "state": ("x", "y")})
    ]

    assert found == ["runs.app = :app_1", "runs.parent IS NULL", "runs.state IN (__[POSTCOMPILE_state_1])"]


def test_too_many_values_at_once_are_refused_before_the_database_does() -> None:
    with pytest.raises(LimitError, match="10001 values of id"):
        queries.conditions(RUNS, {"id": list(range(10_001))})


def test_a_key_needs_all_its_values() -> None:
    versions = table_of(VersionRecord)

    assert queries.by_key(versions, ("/data/income", 3)) == {"k0": "/data/income", "k1": 3}
    with pytest.raises(ValueError, match="path, version"):
        queries.by_key(versions, ("/data/income",))


def test_ties_go_by_primary_key_in_the_same_direction() -> None:
    order = queries.ordering(table_of(VersionRecord), "at_ms", descending=True)

    assert [str(each) for each in order] == [
        "versions.at_ms DESC",
        "versions.path DESC",
        "versions.version DESC",
    ]
