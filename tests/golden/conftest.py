"""What must not change unnoticed, kept as files beside the tests.

After a change that is meant: `pytest tests/golden --golden-write`, then read the difference before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-write", action="store_true", help="write the golden files anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare `text` with the file `name`."""
    is_writing = bool(request.config.getoption("--golden-write", default=False))

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / name
        if is_writing:
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, (
            f"{name} has changed; if that is meant: pytest tests/golden --golden-write"
        )

    return check
