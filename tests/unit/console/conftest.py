"""The sample console as an ASGI application, its source and its pages."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from litestar.testing import TestClient

from kernos.base.clock import ManualClock
from kernos.console.render import Renderer
from kernos.security.access import Caller
from kernos.security.sessions import Sessions


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("console_sample", Path(__file__).with_name("sample.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["console_sample"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAMPLE = _load()


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    return SAMPLE


@pytest.fixture
def source() -> Any:
    return SAMPLE.FakeSource()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SAMPLE.NOW_MS, 1000.0)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """One for all tests: its templates are compiled once. Its time stands still."""
    return Renderer(ManualClock(SAMPLE.NOW_MS))


@pytest.fixture
def anonymous(
    source: Any, sessions: Sessions, clock: ManualClock, renderer: Renderer
) -> Iterator[TestClient[Any]]:
    app = SAMPLE.sample_application(source, sessions, clock, renderer)
    with TestClient(app, base_url="http://127.0.0.1:7070", raise_server_exceptions=False) as client:
        client.headers["Accept"] = "text/html"
        yield client


@pytest.fixture
def sign_in(anonymous: TestClient[Any], sessions: Sessions, clock: ManualClock) -> Callable[..., str]:
    """Give the client a session of a role; returns the session's form token."""

    def sign_in(role: str = "admin") -> str:
        session = sessions.redeem(
            sessions.issue_code(Caller("ada", role), clock.monotonic_s()), clock.monotonic_s()
        )
        anonymous.cookies.set("kernos_session_7070", session)
        return sessions.csrf(session)

    return sign_in


@pytest.fixture
def client(anonymous: TestClient[Any], sign_in: Callable[..., str]) -> TestClient[Any]:
    sign_in()
    return anonymous
