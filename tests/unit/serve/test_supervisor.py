"""The supervisor with a real process that plays the data plane."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernos.base.clock import ManualClock, SystemClock
from kernos.base.errors import FailedError, UnavailableError
from kernos.base.processes import identify, is_alive
from kernos.base.settings import PlaneSettings
from kernos.runtime.wanted import Wanted
from kernos.serve import supervisor
from kernos.serve.supervisor import Plane

FAKE = Path(__file__).parent / "fake_plane.py"
COMMAND = (sys.executable, "-S", str(FAKE))
KERNEL = """
import sys
from pathlib import Path
from kernos.base.clock import SystemClock
from kernos.base.settings import PlaneSettings
from kernos.serve.supervisor import Plane
plane = Plane(Path(sys.argv[1]), PlaneSettings(), SystemClock(), command=sys.argv[2:])
plane.start()
print(plane.url, flush=True)
sys.stdin.read()
"""


def made(home: Path, settings: PlaneSettings | None = None) -> Plane:
    return Plane(home, settings or PlaneSettings(), SystemClock(), command=COMMAND)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    plane = made(tmp_path)
    yield plane
    plane.stop()


def pid(plane: Plane) -> int:
    status = plane.status()
    assert status is not None
    return status.pid


def kill(plane: Plane) -> None:
    number = pid(plane)
    os.kill(number, signal.SIGKILL)
    until_dead(plane)


def until_dead(plane: Plane) -> None:
    child = plane._child
    assert child is not None
    child.wait(10)


def until_answering(plane: Plane) -> None:
    """A second `start` only waits."""
    plane.start()


def now_s() -> float:
    return SystemClock().monotonic_s()


def starts(home: Path) -> int:
    return len((home / "starts").read_text().splitlines())


def test_it_starts_answers_and_stops(plane: Plane, tmp_path: Path) -> None:
    url = plane.start()

    status = plane.status()
    assert status is not None
    assert status.url == url == plane.url
    assert plane.alive()
    assert os.getsid(status.pid) == status.pid

    plane.stop()
    assert not plane.alive()
    assert plane.status() is None
    assert starts(tmp_path) == 1


def test_a_second_start_keeps_the_process(plane: Plane, tmp_path: Path) -> None:
    plane.start()
    before = pid(plane)

    plane.start()

    assert (pid(plane), starts(tmp_path)) == (before, 1)


def test_what_is_wanted_is_written_whole_and_told(plane: Plane, tmp_path: Path) -> None:
    plane.apply(Wanted(generation=1))
    plane.start()

    plane.apply(Wanted(generation=7))

    status = plane.status()
    assert status is not None
    assert status.generation == 7
    written = tmp_path / "plane" / "wanted.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_a_killed_plane_starts_again_on_its_port(plane: Plane) -> None:
    url = plane.start()
    before = pid(plane)
    kill(plane)
    assert not plane.alive()

    plane.ensure(now_s())
    until_answering(plane)

    assert plane.url == url
    assert pid(plane) != before


def test_a_living_plane_is_left_alone(plane: Plane, tmp_path: Path) -> None:
    plane.start()

    plane.ensure(now_s() + 1000)

    assert starts(tmp_path) == 1


def test_one_that_keeps_dying_is_started_later_and_later(tmp_path: Path) -> None:
    clock = ManualClock()
    plane = Plane(tmp_path, PlaneSettings(), clock, command=COMMAND)
    (tmp_path / "die").touch()
    tries = []

    for tenth in range(400):
        if plane._child is not None:
            until_dead(plane)
        before = plane._child
        plane.ensure(tenth / 10)
        if plane._child is not None and plane._child is not before:
            tries.append(tenth / 10)

    assert tries == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert starts(tmp_path) == 7


def test_one_that_lived_long_starts_again_at_once(plane: Plane, tmp_path: Path) -> None:
    begin_s = now_s()
    plane.ensure(begin_s)
    until_answering(plane)
    kill(plane)
    plane.ensure(begin_s + 0.4)
    assert starts(tmp_path) == 1
    plane.ensure(begin_s + 0.5)
    until_answering(plane)
    plane.ensure(begin_s + 40)
    kill(plane)

    plane.ensure(begin_s + 40.1)

    until_answering(plane)
    assert starts(tmp_path) == 3


def test_one_that_dies_at_once_is_told_with_its_last_words(plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "die").touch()

    with pytest.raises(FailedError, match="I was told to die"):
        plane.start()


def test_one_that_never_answers_is_unavailable(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_READY_S", 0.4)
    (tmp_path / "mute").touch()

    with pytest.raises(UnavailableError, match="does not answer"):
        plane.start()
    assert plane.status() is None


def test_one_that_does_not_listen_to_reason_is_killed(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_S", 0.2)
    (tmp_path / "deaf").touch()
    plane.start()

    plane.stop()

    assert not plane.alive()


def test_a_kernel_that_was_killed_finds_its_plane_again(plane: Plane, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KERNEL, str(tmp_path), *COMMAND]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout is not None
        url = kernel.stdout.readline().strip()
        kernel.kill()
    before = pid(plane)

    assert plane.start() == url

    assert (pid(plane), starts(tmp_path)) == (before, 1)
    process = identify(before)
    assert process is not None
    plane.stop()
    assert not is_alive(process)


def test_a_plane_that_died_with_its_kernel_comes_back_on_its_port(tmp_path: Path) -> None:
    first = made(tmp_path)
    url = first.start()
    first.stop()

    second = made(tmp_path)
    try:
        assert not second.alive()
        assert second.start() == url
    finally:
        second.stop()


def test_the_port_of_the_settings_counts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plane = made(tmp_path, PlaneSettings(port=port))
    try:
        assert plane.start() == f"http://127.0.0.1:{port}"
    finally:
        plane.stop()


def test_a_home_deep_in_the_tree_has_a_socket_too(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / ("deeper" * 20)
    home.mkdir(parents=True)
    plane = made(home)
    try:
        assert plane.start()
    finally:
        plane.stop()


def test_before_its_first_start_there_is_nothing(plane: Plane) -> None:
    assert plane.url == ""
    assert not plane.alive()
    assert plane.status() is None


@pytest.mark.parametrize("spoilt", [b"", b"{}", b"\xff", b'{"process": 1}'])
def test_a_spoilt_memory_is_no_obstacle(plane: Plane, tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "plane").mkdir()
    (tmp_path / "plane" / "plane.json").write_bytes(spoilt)

    assert made(tmp_path).url == ""


def test_the_true_data_plane_is_started_found_and_stopped(tmp_path: Path) -> None:
    plane = Plane(tmp_path, PlaneSettings(), SystemClock())
    try:
        url = plane.start()
        plane.apply(Wanted(generation=3))
        status = plane.status()
        assert status is not None
        assert (status.generation, status.url) == (3, url)
        assert Plane(tmp_path, PlaneSettings(), SystemClock()).start() == url
        kill(plane)
        plane.ensure(now_s())
        assert plane.start() == url
        assert pid(plane) != status.pid
    finally:
        plane.stop()


def test_an_answer_that_stops_halfway_is_none(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_ANSWER_S", 0.1)
    (tmp_path / "plane").mkdir()
    for said in (b"", b'{"generation": 1', b"x" * 100):
        with socket.socket(socket.AF_UNIX) as server:
            opened = os.open(tmp_path / "plane", os.O_PATH)
            server.bind(f"/proc/self/fd/{opened}/plane.sock")
            os.close(opened)
            server.listen()
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(plane.status)
                connection = server.accept()[0]
                connection.recv(100)
                connection.sendall(said)
                if said:
                    assert answer.result(10) is None  # the connection stays open: time runs out
                connection.close()
                assert answer.result(10) is None
        (tmp_path / "plane" / "plane.sock").unlink()
