"""Who carries out what an App's functions ask for. Without a context, nobody: functions are plain functions.

A context belongs to the thread, or asyncio task, that entered it; a thread that user code starts has none,
and a step called there runs in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from kernos.spec.manifest import Step

if TYPE_CHECKING:
    from kernos.spec.app import App


class Context(Protocol):
    def read(self, app: App, source: str) -> Any:
        """The rows of `source` that the caller may see: for a flow, the training rows."""
        ...

    def call(
        self,
        app: App,
        step: Step,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """What `function(*args, **kwargs)` gives, found wherever it is cheapest. `function` is the bare
        function."""
        ...


_current: ContextVar[Context | None] = ContextVar("kernos_context", default=None)


def current() -> Context | None:
    return _current.get()


@contextmanager
def running(context: Context | None) -> Iterator[None]:
    """Let `context` carry out what is asked inside. None: back to plain functions."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
