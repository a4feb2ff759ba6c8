"""The kernel's hand on the data plane: one process for each home, started, found again, told what to serve.

The plane runs in its own session and outlives the kernel: a kernel that comes back adopts it. Everything that
both must know lies in `plane/`: `wanted.json` (what to serve), `plane.sock` (status, one JSON line each way),
`plane.json` (which process, which url), `plane.log` (its standard error).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import FailedError, KernosError, UnavailableError, from_problem
from kernos.base.files import write_atomic
from kernos.base.processes import ProcessId, identify, is_alive, kill_group
from kernos.base.settings import PlaneSettings
from kernos.runtime.wanted import Status, Wanted
from kernos.serve.address import check_address

_COMMAND = (sys.executable, "-m", "kernos.serve.plane")
_READY_S = 30.0
"""From start to the first status; half a second on an idle machine."""
_ANSWER_S = 2.0
"""How long one question may take."""
_ANSWER_LIMIT_BYTES = 8 * 2**20
_STOP_S = 5.0
"""From asking it to end to ending it."""
_POLL_S = 0.05
_BACKOFF_FIRST_S, _BACKOFF_LAST_S = 0.5, 30.0
_STEADY_S = 30.0
"""A plane that lived this long starts again at once."""

_log = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True):
    """`plane/plane.json`."""

    process: ProcessId
    url: str = ""
    """Kept after its end: the next process takes the same port if it is free."""


class Plane:
    """Starts, watches and instructs the data plane of one home. Threads may share it."""

    def __init__(
        self, home: Path, settings: PlaneSettings, clock: Clock, *, command: Sequence[str] = _COMMAND
    ) -> None:
        self._home = home
        self._folder = home / "plane"
        self._settings = settings
        self._clock = clock
        self._command = command
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._known = self._remembered()
        self._pause = threading.Event()
        self._started_s = self._seen_alive_s = clock.monotonic_s()
        self._backoff_s = 0.0

    @property
    def url(self) -> str:
        """Where it answers, or answered last; empty before the first start."""
        return self._known.url if self._known else ""

    def start(self) -> str:
        """Adopt the living plane or start one, and return its url once it answers.

        FailedError with the end of its log if it dies, UnavailableError if it does not answer in 30 s,
        RefusedError for an address beyond this machine.
        """
        check_address(self._settings.host, self._settings.port)
        with self._lock:
            if self.status() is None and not self.alive():
                self._spawn(self._clock.monotonic_s())
            deadline_s = self._clock.monotonic_s() + _READY_S
            while self._clock.monotonic_s() < deadline_s:
                if self.status() is not None:
                    return self.url
                if not self.alive():
                    raise self._failure()
                self._pause.wait(_POLL_S)
            raise UnavailableError(
                f"The data plane does not answer after {_READY_S:.0f} s.",
                hint=f"See {self._folder / 'plane.log'}.",
            )

    def ensure(self, now_s: float) -> None:
        """Start it again if it is dead; later and later while it keeps dying. Does not wait for it.

        `now_s` is monotonic. Called by the reconciler at each tick.
        """
        with self._lock:
            if self.alive() or self.status() is not None:
                self._seen_alive_s = now_s
                return
            if self._seen_alive_s - self._started_s >= _STEADY_S:
                self._backoff_s = 0.0
            if now_s - self._started_s < self._backoff_s:
                return
            _log.warning("the data plane is dead, starting it", extra={"last_words": self._last_words()})
            self._spawn(now_s)
            self._backoff_s = min(max(self._backoff_s * 2, _BACKOFF_FIRST_S), _BACKOFF_LAST_S)

    def apply(self, wanted: Wanted) -> None:
        """Write what to serve, and tell the plane. One that is dead or busy reads it when it comes to it."""
        write_atomic(self._folder / "wanted.json", msgspec.json.encode(wanted), mode=0o600)
        self._ask("reload")

    def status(self) -> Status | None:
        """What the plane says of itself; None if it does not answer within two seconds."""
        status = self._ask("status")
        if status is not None:
            self._remember(status)
        return status

    def alive(self) -> bool:
        """Whether its process is there; it may still be starting."""
        child = self._child
        if child is not None and child.poll() is not None:
            self._child = None
        return self._known is not None and is_alive(self._known.process)

    def stop(self) -> None:
        """End it: asked first, so that it answers what it has taken; killed after five seconds."""
        with self._lock:
            if self._known is not None:
                kill_group(self._known.process, signal.SIGTERM)
                deadline_s = self._clock.monotonic_s() + _STOP_S
                while self.alive() and self._clock.monotonic_s() < deadline_s:
                    self._pause.wait(_POLL_S)
                kill_group(self._known.process, signal.SIGKILL)
            if self._child is not None:
                self._child.wait(_STOP_S)
                self._child = None

    def _spawn(self, now_s: float) -> None:
        self._started_s = self._seen_alive_s = now_s
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "plane.log").open("ab") as log:
            self._child = subprocess.Popen(
                [*self._command, "--home", str(self._home)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        process = identify(self._child.pid)
        if process is not None:
            self._save(_Known(process, self.url))

    def _environment(self) -> dict[str, str]:
        """This process's environment with the plane's settings in it, flags of the kernel included."""
        settings = msgspec.structs.asdict(self._settings)
        values = {f"KERNOS_PLANE__{name.upper()}": str(value) for name, value in settings.items()}
        return {**os.environ, **values}  # noqa: TID251 - a child's environment is built from its parent's

    def _ask(self, question: str) -> Status | None:
        deadline_s = self._clock.monotonic_s() + _ANSWER_S
        try:
            with self._connected() as connection:
                connection.sendall(msgspec.json.encode({"ask": question}) + b"\n")
                return msgspec.json.decode(self._line(connection, deadline_s), type=Status)
        except (OSError, msgspec.MsgspecError):
            return None

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_ANSWER_S)
                # A socket's address ends at 107 bytes; homes may lie deeper than that.
                connection.connect(f"/proc/self/fd/{folder}/plane.sock")
                yield connection
        finally:
            os.close(folder)

    def _line(self, connection: socket.socket, deadline_s: float) -> bytes:
        data = bytearray()
        while not data.endswith(b"\n") and len(data) < _ANSWER_LIMIT_BYTES:
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            chunk = connection.recv(65536)
            if not chunk:
                break
            data += chunk
        return bytes(data)

    def _remember(self, status: Status) -> None:
        process = identify(status.pid)
        if process is not None and _Known(process, status.url) != self._known:
            self._save(_Known(process, status.url))

    def _save(self, known: _Known) -> None:
        self._known = known
        write_atomic(self._folder / "plane.json", msgspec.json.encode(known))

    def _remembered(self) -> _Known | None:
        try:
            return msgspec.json.decode((self._folder / "plane.json").read_bytes(), type=_Known)
        except (OSError, msgspec.MsgspecError):
            return None

    def _failure(self) -> KernosError:
        """Why it ended at once: the problem it told of itself, or the end of its log."""
        try:
            return from_problem(msgspec.json.decode(self._last_line())["problem"])
        except (msgspec.DecodeError, KeyError, TypeError):
            hint = f"See {self._folder / 'plane.log'}."
            return FailedError(f"The data plane ended at once: {self._last_words()}", hint=hint)

    def _last_words(self) -> str:
        return self._last_line()[:300] or "no words"

    def _last_line(self) -> str:
        try:
            lines = (self._folder / "plane.log").read_bytes()[-8000:].decode(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""
