"""The local executor beyond the contract: a warm parent that lives on, idles, dies."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base.ids import RunId
from kernos.kernel import tree
from kernos.kernel.folder import folder_of
from kernos.kernel.local import LocalExecutor
from kernos.kernel.run import Exit, Limits, Task

LIMITS = Limits(1.0, 2**30, 30.0, 64, 2**20)


class Desk:
    def __init__(self, home: Path, idle_s: float) -> None:
        self.home = home
        self.news = threading.Event()
        self.executor = LocalExecutor(home, idle_s=idle_s, modules=())
        self.executor.attach(self.news.set)

    def start(self, run: int, step: str, **payload: Any) -> None:
        folder, entry = folder_of(self.home, RunId(run)), f"kernos.testing.misdeeds:{step}"
        task = Task(RunId(run), entry, payload, str(self.home), str(folder), "", "", 1)
        self.executor.start(task, LIMITS)

    def exit(self) -> Exit:
        while not (found := self.executor.exits()):
            assert self.news.wait(20.0)
            self.news.clear()
        (exit_,) = found
        return exit_

    def born(self, run: int) -> None:
        while RunId(run) not in self.executor.usage():
            assert self.news.wait(20.0)
            self.news.clear()

    def warm(self) -> set[int]:
        return tree.marked(f"KERNOS_WARM_OF={self.home}")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(idle_s: float = 60.0) -> Desk:
        desks.append(Desk(tmp_path, idle_s))
        return desks[-1]

    yield make
    for desk in desks:
        desk.executor.close(leave=False)
    assert tree.marked(f"KERNOS_WARM_OF={tmp_path}") == set()


def test_no_process_is_there_before_the_first_run(make: Callable[..., Desk]) -> None:
    assert make().warm() == set()


def test_a_run_is_left_and_adopted(make: Callable[..., Desk]) -> None:
    first = make()
    first.start(1, "hang")
    first.born(1)
    first.executor.close(leave=True)

    second = make()
    assert second.executor.living() == {RunId(1): 1}
    assert second.executor.usage()[RunId(1)].rss_bytes > 0
    second.executor.kill(RunId(1))

    assert second.exit().reason == "stopped"


def test_an_orderly_close_kills_all(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.start(1, "hang")
    desk.born(1)

    desk.executor.close(leave=False)

    assert desk.warm() == set()


def test_an_idle_warm_parent_ends_and_comes_back_on_demand(make: Callable[..., Desk]) -> None:
    desk = make(idle_s=0.05)
    desk.start(1, "nothing")
    desk.exit()
    first = desk.warm()
    tree_gone(first)
    desk.start(2, "nothing")

    assert desk.exit().code == 0
    assert desk.warm().isdisjoint(first)


def tree_gone(pids: set[int]) -> None:
    """Wait until these processes have ended by themselves."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        assert poller.poll(20_000)
        os.close(handle)


def test_a_killed_warm_parent_loses_its_runs_and_leaves_nothing(
    make: Callable[..., Desk], tmp_path: Path
) -> None:
    desk = make()
    desk.start(1, "fork_many", count=5, pids=str(tmp_path / "pids"), stay=True)
    desk.born(1)
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 5:
        desk.news.wait(0.01)
    worker = desk.executor._handed[RunId(1)].pid
    assert worker is not None
    os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)

    assert desk.exit() == Exit(RunId(1), 1, reason="lost")
    assert desk.executor.living() == {}
    assert desk.warm() == set()
    desk.start(2, "nothing")
    assert desk.exit().code == 0
