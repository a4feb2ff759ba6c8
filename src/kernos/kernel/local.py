"""Runs as processes of this machine, forked from a warm parent that starts with the first Run.

The warm parent's death is the death of its Runs: workers die with it (PR_SET_PDEATHSIG), and what they left
is found by a mark in its environment and killed, before anybody hears that they are lost.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kernos.base.errors import CorruptError
from kernos.base.ids import RunId
from kernos.kernel import tree
from kernos.kernel.folder import folder_of, read_exit, write_task
from kernos.kernel.run import Exit, Limits, Task, Usage
from kernos.kernel.wire import (
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
    connect,
    pack,
)
from kernos.kernel.worker import THREAD_LIMITS

WARM_MODULES = (
    "numpy",
    "polars",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.ensemble",
    "skl2onnx",
    "onnx",
    "onnxruntime",
    "optuna",
)
"""What the warm parent imports, where it is installed."""

_ANSWER_S = 60.0
"""A warm parent may be importing when a kernel comes back; after this it counts as dead."""
_GONE_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Handed:
    """A Run that was given to the warm parent and has not ended."""

    attempt: int
    pid: int | None = None


class LocalExecutor:
    def __init__(self, home: Path, *, idle_s: float, modules: Sequence[str] = WARM_MODULES) -> None:
        self._home = home
        self._idle_s = idle_s
        self._modules = modules
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._link: _Link | None = None
        self._handed: dict[RunId, _Handed] = {}
        self._exits: list[Exit] = []

    def attach(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        with self._lock:
            channel = connect(self._home)
            if channel is not None:
                self._adopt(channel)
            if self._link is None:
                self._sweep()

    def start(self, task: Task, limits: Limits) -> None:
        write_task(task)
        begin = Begin(task.run, task.attempt, task.entry, task.folder, limits)
        with self._lock:
            if self._link is None:
                self._link = self._spawn()
            self._handed[task.run] = _Handed(task.attempt)
            self._link.send(begin)

    def kill(self, run: RunId) -> None:
        with self._lock:
            if self._link is not None and run in self._handed:
                self._link.send(Slay(run))

    def exits(self) -> list[Exit]:
        with self._lock:
            exits, self._exits = self._exits, []
            return exits

    def living(self) -> dict[RunId, int]:
        with self._lock:
            return {run: handed.attempt for run, handed in self._handed.items()}

    def usage(self) -> dict[RunId, Usage]:
        with self._lock:
            pids = {run: handed.pid for run, handed in self._handed.items() if handed.pid}
        return {run: _usage(pid) for run, pid in pids.items()}

    def close(self, *, leave: bool) -> None:
        with self._lock:
            link, self._link = self._link, None
        if link is None:
            return
        if not leave:
            link.send(Quit())
            link.wait_closed(_GONE_S)
            self._sweep()
        link.close()

    def _adopt(self, channel: socket.socket) -> None:
        """Ask a warm parent that outlived its kernel who lives; take over, or leave it for dead if it does
        not say."""
        channel.settimeout(_ANSWER_S)
        unpacker = Unpacker()
        try:
            channel.sendall(pack(Hello()))
            messages: list[Message] = []
            while not messages:
                data = channel.recv(2**16)
                if not data:
                    channel.close()
                    return
                messages = unpacker.feed(data)
        except (OSError, CorruptError):
            logger.warning("a warm parent does not answer", exc_info=True)
            channel.close()
            return
        channel.settimeout(None)
        link = self._link = _Link(channel, unpacker, pid=None)
        link.listen(self._hear, self._lose)
        for message in messages:
            self._note(link, message)

    def _spawn(self) -> _Link:
        ours, theirs = socket.socketpair()
        environment = dict(os.environ)  # noqa: TID251 - a child gets the user's environment: PATH, locale, proxies
        environment |= dict.fromkeys(THREAD_LIMITS, "1")
        environment |= {"_RJEM_MALLOC_CONF": "background_thread:false", "PYTHONUNBUFFERED": "1"}
        name, _, value = self._mark.partition("=")
        environment[name] = value
        (self._home / "runs").mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-m", "kernos.kernel.warm", str(self._home), ",".join(self._modules)]
        log = str(self._home / "warm.log")
        with theirs:
            pid = os.posix_spawn(  # subprocess.Popen warns when its child outlives it, and this one shall
                sys.executable,
                [*command, str(self._idle_s)],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        link = _Link(ours, Unpacker(), pid=pid)
        link.listen(self._hear, self._lose)
        return link

    @property
    def _mark(self) -> str:
        return f"KERNOS_WARM_OF={self._home}"

    def _hear(self, link: _Link, message: Message) -> None:
        with self._lock:
            self._note(link, message)
        self._wake()

    def _note(self, link: _Link, message: Message) -> None:
        match message:
            case Living(children=children):
                for child in children:
                    self._handed[child.run] = _Handed(child.attempt, child.pid)
            case Born(run=run, attempt=attempt, pid=pid):
                if run in self._handed:
                    self._handed[run] = _Handed(attempt, pid)
            case Ended(exit=exit_):
                if self._handed.pop(exit_.run, None):
                    self._exits.append(exit_)
            case Idle():
                if not self._handed and self._link is link:
                    link.send(Quit())
                    self._link = None
            case _:
                logger.warning("a message of the kernel's own came back: %s", message)

    def _lose(self, link: _Link) -> None:
        """The connection is over: planned, or the warm parent died and with it every Run it was handed."""
        with self._lock:
            if self._link is not link:
                return
            logger.warning("the warm parent is gone; %d Runs are lost", len(self._handed))
            self._sweep()
            for run, handed in self._handed.items():
                exit_ = read_exit(folder_of(self._home, run), handed.attempt)
                self._exits.append(exit_ or Exit(run, handed.attempt, reason="lost"))
            self._handed.clear()
            self._link = None
        self._wake()

    def _sweep(self) -> None:
        """End all that a warm parent of this home has left; again, for what those forked meanwhile."""
        while found := tree.marked(self._mark):
            tree.end(found, _GONE_S)


class _Link:
    """A connection to a warm parent and the thread that reads it."""

    def __init__(self, channel: socket.socket, unpacker: Unpacker, *, pid: int | None) -> None:
        self._channel = channel
        self._unpacker = unpacker
        self._pid = pid
        """Of the warm parent, where it is a child of this process."""
        self._thread: threading.Thread | None = None

    def listen(self, hear: Callable[[_Link, Message], None], lose: Callable[[_Link], None]) -> None:
        self._thread = threading.Thread(target=self._read, args=(hear, lose), name="kernos-executor")
        self._thread.start()

    def send(self, message: Message) -> None:
        """A broken connection is the reader's to notice."""
        with suppress(OSError):
            self._channel.sendall(pack(message))

    def wait_closed(self, timeout_s: float) -> None:
        """The other side has let go, or the time is up."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def close(self) -> None:
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()

    def _read(self, hear: Callable[[_Link, Message], None], lose: Callable[[_Link], None]) -> None:
        with self._channel:
            try:
                while data := self._channel.recv(2**16):
                    for message in self._unpacker.feed(data):
                        hear(self, message)
            except (OSError, CorruptError):
                logger.warning("the warm parent's connection broke", exc_info=True)
            lose(self)
        if self._pid is not None:
            self._collect(self._pid)

    def _collect(self, pid: int) -> None:
        """Reap the warm parent if it has ended; one that was left alone lives on, and init inherits it."""
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _usage(pid: int) -> Usage:
    pids = tree.descendants(pid) | {pid}
    return Usage(tree.cpu_sum(pids), tree.rss_sum(pids))
