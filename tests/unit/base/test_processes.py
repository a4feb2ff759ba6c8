import os
import signal
import subprocess
import sys

from kernos.base.processes import ProcessId, cpu_seconds, identify, is_alive, kill_group, pss_bytes, rss_bytes


def test_this_process_is_alive_and_uses_something() -> None:
    me = identify(os.getpid())

    assert me is not None
    assert is_alive(me)
    assert pss_bytes(me.pid) > 0
    assert rss_bytes(me.pid) > 0
    assert cpu_seconds(me.pid) > 0


def test_another_start_time_is_another_process() -> None:
    me = identify(os.getpid())
    assert me is not None

    assert not is_alive(ProcessId(me.pid, me.started_ticks + 1))


def test_a_group_dies_together() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    process = identify(child.pid)
    assert process is not None

    kill_group(process)

    assert child.wait(10) == -signal.SIGKILL
    assert child.stdin is not None
    child.stdin.close()
    assert identify(child.pid) is None
    kill_group(process)


def test_what_is_gone_uses_nothing() -> None:
    gone = 2**22 - 1
    assert identify(gone) is None
    assert (pss_bytes(gone), rss_bytes(gone), cpu_seconds(gone)) == (0, 0, 0.0)
