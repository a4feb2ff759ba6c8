from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernos.spec.app import App
from kernos.spec.context import current, running
from kernos.spec.manifest import Step


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def read(self, app: App, source: str) -> Any:
        return f"{app.name}:{source}"

    def call(
        self,
        app: App,
        step: Step,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self.seen.append((step.name, args, kwargs))
        with running(None):
            return function(*args, **kwargs)


app = App("test", target="y")


@app.step(cpus=2)
def double(value: int, times: int = 2) -> int:
    return value * times


@app.flow
def build(source: str = "x.csv") -> int:
    app.read(source)
    return double(20) + double(1, times=2)


def test_a_step_is_carried_out_by_the_context() -> None:
    recorder = Recorder()

    with running(recorder):
        result = build()

    assert result == 42
    assert recorder.seen == [("double", (20,), {}), ("double", (1,), {"times": 2})]


def test_reading_is_the_contexts_business() -> None:
    with running(Recorder()):
        rows: Any = app.read("x.csv")

    assert rows == "test:x.csv"


def test_a_context_ends_with_its_block() -> None:
    with pytest.raises(ZeroDivisionError), running(Recorder()):
        raise ZeroDivisionError

    assert current() is None
    assert double(21) == 42
