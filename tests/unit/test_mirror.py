"""Every file of the sources has its own test file, and no test file outlives its source."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "kernos"
TESTS = ROOT / "tests" / "unit"
DECLARATIONS = {"base/version.py", "runtime/signature.py", "runtime/wanted.py", "spec/manifest.py"}
"""Types and constants alone, nothing to go wrong. This list may only shrink."""
ELSEWHERE = {"testing", "migrations"}
"""Contracts run in tests/contract; migrations are compared with the schema by test_upgrade.py."""


def sources() -> set[str]:
    found = (path.relative_to(SOURCES) for path in SOURCES.rglob("*.py") if path.name != "__init__.py")
    return {path.as_posix() for path in found if not ELSEWHERE & set(path.parts)}


def test_each_source_has_its_test() -> None:
    missing = {name for name in sources() - DECLARATIONS if not _test_of(name).exists()}

    assert missing == set()
    assert sources() >= DECLARATIONS


def test_each_test_has_its_source() -> None:
    wanted = {_test_of(name) for name in sources()}
    ours = {"test_mirror.py", "test_hints.py"}
    found = {path for path in TESTS.rglob("test_*.py") if path.name not in ours and "bench" not in path.parts}

    assert {path.relative_to(TESTS).as_posix() for path in found - wanted} == set()


def _test_of(name: str) -> Path:
    path = Path(name)
    return TESTS / path.parent / f"test_{path.name}"
