"""What a route has in hand: the system, the feed of changes, recent traffic; and where blocking work goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from kernos.api.feed import Feed
from kernos.api.history import History
from kernos.security.access import Caller

if TYPE_CHECKING:
    from kernos.system import System

THREADS = 16
"""Requests at work at once; more wait in line. Waits and streams hold no thread."""
CHILD_THREADS = 64
"""Workers' questions at once."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Api:
    system: System
    feed: Feed
    history: History
    started_s: float
    """Monotonic time of the start."""
    children: Executor
    """Threads for workers' questions alone: those wait for other Runs, and must not keep people waiting."""


TheApi = NamedDependency[SkipValidation[Api]]
TheCaller = NamedDependency[SkipValidation[Caller]]
"""How a route asks for `api`, and for the `caller` whom the guard has let in."""


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking `work` on one of the application's `THREADS` threads."""
    return await asyncio.to_thread(work, *args, **kwargs)
