"""One Run as the warm parent sees it: forked, watched, ended with everything it started, told of in
exit.json."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

from kernos.base.clock import Clock
from kernos.kernel import tree, worker
from kernos.kernel.output import Output
from kernos.kernel.run import Cause, Exit
from kernos.kernel.wire import Begin

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Processes whose parent ends, anywhere below, become children of this process (prctl(2))."""
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Child:
    """A forked worker. Its limits hold for all its processes together, also those that changed session.

    The worker adopts its orphans, so `descendants` finds all of them while it lives; once it has ended they
    become children of the warm parent, which kills every child it did not fork.
    """

    def __init__(self, begin: Begin, clock: Clock, keep_out: list[int]) -> None:
        """Fork. `keep_out`: descriptors of the warm parent that the worker must not have. OSError where it
        cannot."""
        self.begin = begin
        self.cause: Cause = ""
        self.folder = Path(begin.folder)
        self.output = Output(self.folder / "log", begin.attempt, begin.limits.log_bytes)
        self.exit: Exit | None = None
        self.ended_s = 0.0
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._peak_rss_bytes = 0
        self._look_closer_bytes = begin.limits.memory_bytes
        parent = os.getpid()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self.output.writing)
            self.output.close()
            raise
        if self.pid == 0:
            _become_worker(self, parent, [*keep_out, self.output.reading])
        os.close(self.output.writing)
        self.handle = os.pidfd_open(self.pid)

    def watch(self) -> None:
        """Kill it if it is over a limit."""
        limits = self.begin.limits
        pids = tree.descendants(self.pid) | {self.pid}
        if limits.wall_s and self._clock.monotonic_s() - self._started_s > limits.wall_s:
            self.kill("time")
        elif len(pids) > limits.processes:
            self.kill("processes")
        elif self._is_over_memory(pids):
            self.kill("memory")

    def kill(self, cause: Cause) -> None:
        self.cause = self.cause or cause
        _kill_group(self.pid)
        tree.kill(tree.descendants(self.pid) | {self.pid})

    def reap(self) -> None:
        """The worker has ended: collect what it used. Its group is killed while its pid cannot be another's
        yet."""
        _kill_group(self.pid)
        _, status, used = os.wait4(self.pid, 0)
        os.close(self.handle)
        code = os.waitstatus_to_exitcode(status)
        self.ended_s = self._clock.monotonic_s()
        self.exit = Exit(
            self.begin.run,
            self.begin.attempt,
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            reason=self.cause,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_rss_bytes=max(self._peak_rss_bytes, used.ru_maxrss * 1024),
            wall_s=self.ended_s - self._started_s,
        )

    def _is_over_memory(self, pids: set[int]) -> bool:
        """Resident memory counts what is shared with the warm parent in full, so above the limit the dearer
        proportional size decides; it is not asked for again before half of what was left could be gone."""
        limit = self.begin.limits.memory_bytes
        resident = tree.rss_sum(pids)
        if resident <= self._look_closer_bytes:
            self._peak_rss_bytes = max(self._peak_rss_bytes, min(resident, limit))
            return False
        proportional = tree.pss_sum(pids)
        self._peak_rss_bytes = max(self._peak_rss_bytes, proportional)
        self._look_closer_bytes = resident + max(0, limit - proportional) // 2
        return proportional > limit


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _become_worker(child: Child, parent: int, keep_out: list[int]) -> None:
    """In the forked process: never returns."""
    code = 1
    try:
        os.setsid()
        _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above could tell us
            os._exit(1)
        adopt_orphans()
        os.dup2(child.output.writing, 1)
        os.dup2(child.output.writing, 2)
        for descriptor in [*keep_out, child.output.writing]:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        os.chdir(child.folder)
        code = worker.main(child.folder, child.begin.limits.cpus)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
