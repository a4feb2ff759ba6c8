from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from kernos.catalog.records import ENDED, RunState
from kernos.catalog.schema import TABLES
from kernos.testing.contracts import queued_run


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        queued_run(1).state = "done"  # type: ignore[misc] # that is the test


def test_no_record_has_defaults_so_every_field_is_a_decision() -> None:
    for kind in TABLES:
        assert all(field.required for field in msgspec.structs.fields(kind)), kind


def test_ended_states_are_states() -> None:
    assert ENDED.issubset(get_args(RunState))
