"""The warm parent as a process: what it says, and when it ends. `test_local.py` and the contract use it through its executor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import ManualClock
from kernos.base.ids import RunId
from kernos.kernel import warm
from kernos.kernel.folder import folder_of, read_exit, write_task
from kernos.kernel.run import Limits, Task
from kernos.kernel.warm import ALONE_S, WarmParent
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
    listen,
    pack,
)


class Line:
    """A kernel's side of a connection."""

    def __init__(self, channel: socket.socket) -> None:
        channel.settimeout(20.0)
        self.channel = channel
        self._unpacker = Unpacker()
        self._messages: list[Message] = []

    def say(self, message: Message) -> None:
        self.channel.sendall(pack(message))

    def hear(self) -> Message | None:
        """The next message; None where the other side has hung up."""
        while not self._messages:
            data = self.channel.recv(2**16)
            if not data:
                return None
            self._messages = self._unpacker.feed(data)
        return self._messages.pop(0)


def begin(home: Path, run: int, step: str, payload: dict[str, Any] | None = None, attempt: int = 1) -> Begin:
    folder, entry = folder_of(home, RunId(run)), f"kernos.testing.misdeeds:{step}"
    write_task(Task(RunId(run), entry, payload or {}, str(home), str(folder), "", "", attempt))
    return Begin(RunId(run), attempt, entry, str(folder), Limits(1.0, 2**30, 30.0, 64, 2**20))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Line]]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "kernos.kernel.warm", str(tmp_path), "json,kernos.nowhere", "60"]
    with ours, theirs, subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.DEVNULL) as parent:
        theirs.close()
        line = Line(ours)
        yield parent, line
        parent.kill()


def test_it_forks_tells_and_quits(tmp_path: Path, process: tuple[subprocess.Popen[bytes], Line]) -> None:
    parent, line = process
    line.say(Hello())
    line.say(begin(tmp_path, 1, "echo"))
    line.say(begin(tmp_path, 2, "hang"))

    assert line.hear() == Living(parent.pid, [])
    heard = [line.hear() for _ in range(3)]
    born = {message.run: message.pid for message in heard if isinstance(message, Born)}
    (ended,) = [message for message in heard if isinstance(message, Ended)]
    assert set(born) == {1, 2}
    assert ended.exit == read_exit(folder_of(tmp_path, RunId(1)), 1)

    line.say(Quit())
    last = line.hear()
    assert isinstance(last, Ended)
    assert last.exit.reason == "lost"
    assert line.hear() is None
    assert parent.wait(10) == 0
    assert not (tmp_path / "warm.sock").exists()


def test_a_new_kernel_finds_who_lives_and_the_old_one_is_not_heard(
    tmp_path: Path, process: tuple[subprocess.Popen[bytes], Line]
) -> None:
    parent, old = process
    old.say(begin(tmp_path, 1, "hang"))
    born = old.hear()
    assert isinstance(born, Born)

    channel = connect(tmp_path)
    assert channel is not None
    with channel:
        new = Line(channel)
        new.say(Hello())

        assert new.hear() == Living(parent.pid, [born])
        assert old.hear() is None
        new.say(Slay(RunId(1)))
        ended = new.hear()
        assert isinstance(ended, Ended)
        assert ended.exit.reason == "stopped"


def test_a_run_goes_on_while_no_kernel_is_connected(
    tmp_path: Path, process: tuple[subprocess.Popen[bytes], Line]
) -> None:
    _, old = process
    marks = {"begun": str(tmp_path / "begun"), "completed": str(tmp_path / "completed"), "seconds": 0.1}
    old.say(begin(tmp_path, 1, "mark_and_wait", marks))
    assert isinstance(old.hear(), Born)
    old.channel.shutdown(socket.SHUT_RDWR)
    while read_exit(folder_of(tmp_path, RunId(1)), 1) is None:
        pass

    channel = connect(tmp_path)
    assert channel is not None
    with channel:
        new = Line(channel)
        new.say(Hello())
        living = new.hear()

    assert isinstance(living, Living)
    assert living.children == []
    assert (tmp_path / "completed").read_text() == "1 1\n"


class Talk:
    """A warm parent in this process, stepped by hand: it has no Runs here."""

    def __init__(self, home: Path, idle_s: float) -> None:
        self.clock = ManualClock()
        self.parent = WarmParent(home, listen(home), self.clock, idle_s=idle_s)


def test_alone_it_ends(tmp_path: Path) -> None:
    talk = Talk(tmp_path, idle_s=1000.0)
    talk.clock.advance(ALONE_S + 1)

    talk.parent.run()


def test_an_idle_one_asks_and_ends_when_told(tmp_path: Path) -> None:
    talk = Talk(tmp_path, idle_s=0.0)
    ours, theirs = socket.socketpair()
    with ours:
        talk.parent.serve(theirs)
        talk.clock.advance(1.0)
        ours.sendall(pack(Quit()))
        talk.parent.run()

        assert Line(ours).hear() in (Idle(), None)


def test_a_broken_message_ends_the_connection_not_the_process(tmp_path: Path) -> None:
    talk = Talk(tmp_path, idle_s=1000.0)
    ours, theirs = socket.socketpair()
    with ours:
        talk.parent.serve(theirs)
        ours.sendall(b"\xff\xff\xff\xff")
        while talk.parent._kernel is not None:
            talk.parent._hear()
        talk.clock.advance(ALONE_S + 1)
        talk.parent.run()

        assert Line(ours).hear() is None


def test_two_never_serve_one_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"from pathlib import Path; from kernos.kernel import warm; warm._LOCK_S = 1; warm._lock(Path({str(tmp_path)!r}))"
    lock = warm._lock(tmp_path)

    second = subprocess.run([sys.executable, "-c", code], timeout=20, check=False)

    os.close(lock)
    assert second.returncode == -14
