from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernos.api.feed import WATCHER_LIMIT, Feed
from kernos.base.errors import UnavailableError


def _within(feed: Feed, act: Callable[[], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        feed.start()
        try:
            return await act()
        finally:
            await feed.close()

    return asyncio.run(run())


def test_a_watch_wakes_for_its_subject_alone(world: Any, system: Any) -> None:
    feed = Feed(system.store)

    async def act() -> tuple[bool, bool, bool]:
        with feed.watch("run:1") as first, feed.watch("run:2") as second, feed.watch() as anything:
            await asyncio.to_thread(world.run)
            return await first.next(5), await anything.next(5), await second.next(0.01)

    assert _within(feed, act) == (True, True, False)


def test_a_change_between_two_waits_is_not_lost(world: Any, system: Any) -> None:
    feed = Feed(system.store)

    async def act() -> list[bool]:
        with feed.watch() as watch, feed.watch() as other:
            await asyncio.to_thread(world.run)
            await other.next(5)
            return [await watch.next(0.01), await watch.next(0.01)]

    assert _within(feed, act) == [True, False]


def test_closing_wakes_everybody(system: Any) -> None:
    feed = Feed(system.store)

    async def act() -> tuple[bool, bool]:
        with feed.watch("run:1") as watch:
            asyncio.get_running_loop().call_later(0.01, feed.end_watches)
            return await watch.next(5), feed.closed

    assert _within(feed, act) == (True, True)


def test_watchers_are_bounded_and_leave(system: Any) -> None:
    from contextlib import ExitStack

    feed = Feed(system.store)

    async def act() -> None:
        with ExitStack() as stack:
            for _ in range(WATCHER_LIMIT):
                stack.enter_context(feed.watch())
            with pytest.raises(UnavailableError), feed.watch():
                pass
        with feed.watch():
            pass

    _within(feed, act)


def test_a_store_that_closes_first_ends_the_feed_in_order(system: Any) -> None:
    feed = Feed(system.store)

    async def act() -> None:
        await asyncio.to_thread(system.store.close)

    _within(feed, act)
