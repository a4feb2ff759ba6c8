"""One thread waits for the journal; everybody in the event loop who waits for a change is woken by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kernos.base.errors import UnavailableError

if TYPE_CHECKING:
    from kernos.catalog.store import SqlStore

_PAUSE_S = 0.1
"""How long the thread may sit in one wait, and so how long closing takes at most."""
_EVENTS_AT_ONCE = 1000
WATCHER_LIMIT = 512
"""Streams and waits open at once; each is one small object, but a leak of them must show."""


class Watch:
    """Wakes one coroutine. A change between two waits is not lost: it ends the next wait at once."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self._changed.set()

    async def next(self, timeout_s: float) -> bool:
        """True once something has changed since the last wait; False when the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Feed:
    """Lives in one event loop: `start` and `close` there, once each. Only its thread touches the watches."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._watches: set[Watch] = set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.closed = False
        """No more changes will come; who waits shall end."""

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        newest = self._store.wait(-1, 0.0)
        self._thread = threading.Thread(
            target=self._follow, args=(loop, newest), name="api-feed", daemon=True
        )
        self._thread.start()

    def end_watches(self) -> None:
        """Wake everybody for the last time, so that open streams and waits end."""
        self.closed = True
        self._closing.set()
        for watch in self._watches:
            watch.wake()

    async def close(self) -> None:
        self.end_watches()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    @contextmanager
    def watch(self, subject: str = "") -> Iterator[Watch]:
        """Changes of one subject (`run:13`), or of any. Open it first, then read the state, then wait."""
        if len(self._watches) >= WATCHER_LIMIT:
            raise UnavailableError(
                f"{WATCHER_LIMIT} callers already wait for changes.", hint="Close streams you do not read."
            )
        watch = Watch(subject)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def _follow(self, loop: asyncio.AbstractEventLoop, newest: int) -> None:
        while not self._closing.is_set():
            if self._store.wait(newest, _PAUSE_S) <= newest:
                self._closing.wait(0.01)  # a closed store returns at once: do not spin on it
                continue
            with self._store.read() as reader:
                events = reader.events(newest, _EVENTS_AT_ONCE)
            if not events:
                continue
            newest = events[-1].seq
            subjects = {event.subject for event in events}
            try:
                loop.call_soon_threadsafe(self._tell, subjects)
            except RuntimeError:  # the loop has ended
                return

    def _tell(self, subjects: set[str]) -> None:
        for watch in self._watches:
            if not watch.subject or watch.subject in subjects:
                watch.wake()
