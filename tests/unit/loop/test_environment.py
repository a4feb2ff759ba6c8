"""What a cached result depends on beside code and data."""

from __future__ import annotations

from importlib import metadata

import pytest

from kernos.loop import environment
from kernos.loop.environment import LIBRARIES, environment_digest, versions


def test_every_library_that_is_installed_is_told_with_its_version() -> None:
    told = versions()

    assert told["numpy"] == metadata.version("numpy")
    assert set(told) <= {"python", *LIBRARIES}
    assert environment_digest() == environment_digest()


def test_an_absent_library_is_left_out_and_a_change_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_digest()
    monkeypatch.setattr(environment, "LIBRARIES", (*LIBRARIES[1:], "no-such-library"))

    assert "numpy" not in versions()
    assert "no-such-library" not in versions()
    assert environment_digest() != before
