"""The warm parent: has the imports done, forks a worker per Run, watches it, and outlives the kernel.

`python -m kernos.kernel.warm <home> <modules>`; a kernel's connection may come as standard input. It imports
and never uses what it imported, so that a fork copies no pool and no held lock. One thread, one loop. Whoever
connects last is the kernel. It ends at `Quit`, or when for `ALONE_S` no kernel was connected and no Run
lived.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import CorruptError
from kernos.base.ids import RunId
from kernos.base.logging import start_logging
from kernos.kernel import folder, tree
from kernos.kernel.child import Child, adopt_orphans
from kernos.kernel.run import Exit
from kernos.kernel.wire import (
    SOCKET,
    Begin,
    Born,
    Ended,
    Hello,
    Idle,
    Living,
    Message,
    Quit,
    Slay,
    Unpacker,
    listen,
    pack,
)

ALONE_S = 30.0
_WATCH_S = 0.05
"""How often limits are checked: at 3 GiB a second a Run gets 150 MiB over its memory."""
_ENDING_S = 0.002
_GIVE_UP_S = 5.0
"""After this an exit is told even if a killed descendant will not go (it hangs in the kernel)."""
_LOCK_S = 10
_SEND_S = 10.0

logger = logging.getLogger(__name__)


class WarmParent:
    def __init__(self, home: Path, listener: socket.socket, clock: Clock, *, idle_s: float) -> None:
        self._home = home
        self._clock = clock
        self._idle_s = idle_s
        self._children: dict[RunId, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._kernel: socket.socket | None = None
        self._unpacker = Unpacker()
        self._busy_s = clock.monotonic_s()
        self._watched_s = 0.0
        self._is_quitting = False
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        while not self._is_over():
            for key, _ in self._selector.select(self._patience()):
                if self._selector.get_map().get(key.fileobj) is key:  # no earlier event of this turn ended it
                    act: Callable[[], None] = key.data
                    act()
            self._watch()
            self._finish()
            self._tell_if_idle()
        self._hang_up()
        self._listener.close()
        self._selector.close()

    def serve(self, kernel: socket.socket) -> None:
        """Obey this connection, and no other."""
        self._hang_up()
        kernel.settimeout(_SEND_S)
        self._kernel = kernel
        self._unpacker = Unpacker()
        self._busy_s = self._clock.monotonic_s()
        self._selector.register(kernel, selectors.EVENT_READ, self._hear)

    def _is_over(self) -> bool:
        if self._children:
            return False
        return self._is_quitting or (self._kernel is None and self._quiet_s() > ALONE_S)

    def _quiet_s(self) -> float:
        return self._clock.monotonic_s() - self._busy_s

    def _tell_if_idle(self) -> None:
        if self._kernel and not self._children and self._quiet_s() > self._idle_s:
            self._busy_s = self._clock.monotonic_s()
            self._tell(Idle())

    def _patience(self) -> float:
        if any(child.exit for child in self._children.values()):
            return _ENDING_S
        return _WATCH_S if self._children else min(1.0, self._idle_s)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            kernel, _ = self._listener.accept()
            self.serve(kernel)

    def _hear(self) -> None:
        assert self._kernel is not None
        try:
            data = self._kernel.recv(2**16)
            messages = self._unpacker.feed(data)
        except (OSError, CorruptError):
            logger.warning("the kernel's connection broke", exc_info=True)
            data, messages = b"", []
        if not data:
            self._hang_up()
        for message in messages:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        self._busy_s = self._clock.monotonic_s()
        match message:
            case Hello():
                self._tell(Living(os.getpid(), [_born(child) for child in self._children.values()]))
            case Begin():
                self._begin(message)
            case Slay():
                child = self._children.get(message.run)
                if child and not child.exit:
                    child.kill("stopped")
            case Quit():
                self._quit()
            case _:
                logger.warning("a message of the warm parent's own came back: %s", message)

    def _begin(self, begin: Begin) -> None:
        if begin.run in self._children:
            return
        _preload(begin.entry)
        where = Path(begin.folder)
        try:
            folder.clear(where)
            child = Child(begin, self._clock, self._descriptors())
        except OSError as error:
            logger.warning("run %s could not be started: %s", begin.run, error)
            self._tell(Ended(Exit(begin.run, begin.attempt, reason="lost")))
            return
        self._children[begin.run] = child
        self._selector.register(child.handle, selectors.EVENT_READ, lambda: self._reap(child))
        self._selector.register(child.output.reading, selectors.EVENT_READ, lambda: self._drain(child))
        self._tell(_born(child))

    def _drain(self, child: Child) -> None:
        if not child.output.drain():
            self._selector.unregister(child.output.reading)
            child.output.close()

    def _reap(self, child: Child) -> None:
        self._selector.unregister(child.handle)
        child.reap()

    def _watch(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._watched_s < _WATCH_S:
            return
        self._watched_s = now_s
        for child in self._children.values():
            if not child.exit:
                child.watch()
        self._end_orphans()

    def _finish(self) -> None:
        """Tell of those that ended, once everything they started is gone and their log is whole."""
        ended = [child for child in self._children.values() if child.exit]
        if not ended:
            return
        is_clean = self._end_orphans()
        for child in ended:
            if child.output.is_open:
                self._drain(child)
            is_late = self._clock.monotonic_s() - child.ended_s > _GIVE_UP_S
            if is_late or (is_clean and not child.output.is_open):
                self._tell_of(child)

    def _tell_of(self, child: Child) -> None:
        if child.output.is_open:
            self._selector.unregister(child.output.reading)
            child.output.close()
        assert child.exit is not None
        exit_ = msgspec.structs.replace(child.exit, log_bytes=child.output.size_bytes)
        try:
            folder.write_exit(child.folder, exit_)
        except OSError:
            logger.warning("exit.json of run %s could not be written", exit_.run, exc_info=True)
        del self._children[exit_.run]
        self._busy_s = self._clock.monotonic_s()
        self._tell(Ended(exit_))

    def _end_orphans(self) -> bool:
        """Kill and collect every child that is no living worker: what ended Runs left. Whether none is
        left."""
        living = {child.pid for child in self._children.values() if not child.exit}
        orphans = tree.children(os.getpid()) - living
        if not orphans:
            return True
        for orphan in orphans:
            tree.kill(tree.descendants(orphan) | {orphan})
        for orphan in orphans:
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        return not tree.children(os.getpid()) - living

    def _tell(self, message: Message) -> None:
        if self._kernel is None:
            return
        try:
            self._kernel.sendall(pack(message))
        except OSError:
            logger.warning("the kernel does not listen", exc_info=True)
            self._hang_up()

    def _hang_up(self) -> None:
        if self._kernel is not None:
            self._selector.unregister(self._kernel)
            self._kernel.close()
            self._kernel = None
            self._busy_s = self._clock.monotonic_s()

    def _quit(self) -> None:
        self._is_quitting = True
        self._selector.unregister(self._listener)
        (self._home / SOCKET).unlink(missing_ok=True)
        for child in self._children.values():
            if not child.exit:
                child.kill("lost")

    def _descriptors(self) -> list[int]:
        """What a worker must not have: this process' sockets, pipes and handles."""
        return [key.fd for key in self._selector.get_map().values()] + [self._selector.fileno()]


def main(arguments: list[str]) -> int:
    home, modules, idle_s = Path(arguments[1]), arguments[2].split(","), float(arguments[3])
    start_logging("info")
    lock = _lock(home)
    listener = listen(home)
    adopt_orphans()
    for module in filter(None, modules):
        with suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    logger.info("warm", extra={"home": str(home), "threads": threads})
    warm = WarmParent(home, listener, SystemClock(), idle_s=idle_s)
    if stat.S_ISSOCK(os.fstat(0).st_mode):
        kernel = socket.socket(fileno=os.dup(0))
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        warm.serve(kernel)
    warm.run()
    os.close(lock)
    return 0


def _lock(home: Path) -> int:
    """One warm parent a home. A POSIX lock: it ends with this process and is not inherited by a fork."""
    descriptor = os.open(home / "warm.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    signal.alarm(_LOCK_S)  # one that was told to quit needs a moment; for one that hangs we do not wait
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    signal.alarm(0)
    return descriptor


def _preload(entry: str) -> None:
    """Kernos' own steps are imported once, here. User code never is, and an error is the worker's to
    report."""
    if entry.startswith("kernos."):
        with suppress(Exception):
            importlib.import_module(entry.replace(":", ".").rpartition(".")[0])


def _born(child: Child) -> Born:
    return Born(child.begin.run, child.begin.attempt, child.pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
