from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.errors import ConflictError, KernosError, UnavailableError
from kernos.cli.kernel import start, until, wait_until_ready
from kernos.client.home import living_kernel

PRETENDER = """
import os, signal, sys
from pathlib import Path
from kernos.base.processes import identify
from kernos.client.home import KernelFile, write_kernel_file
me = identify(os.getpid())
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
write_kernel_file(Path(sys.argv[1]), KernelFile(me.pid, me.started_ticks, sys.argv[2], "s"))
signal.pause()
"""
"""A process that says it is the kernel of a home, until SIGTERM."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "token").write_text("kernos_test")
    (folder / "kernel.log").write_text("")
    return folder


@pytest.fixture
def pretend(home: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(url: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", PRETENDER, str(home), url])
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_kernel_is_ready_when_it_says_so(home: Path, pretend: Any) -> None:
    process = pretend("http://127.0.0.1:1")

    file = wait_until_ready(home, process, SystemClock())

    assert (file.pid, file.url) == (process.pid, "http://127.0.0.1:1")


def test_up_beside_a_living_kernel_prints_a_new_link(
    kernel: Any, kernos: Any, views: Any, home: Path, pretend: Any
) -> None:
    wait_until_ready(home, pretend(kernel.url), SystemClock())
    kernel.answers["POST /v1/console/code"] = {"url": "http://127.0.0.1:7070/login?code=x"}
    kernel.answers["GET /v1/home"] = views.home()

    plain, as_json = kernos("up", "--home", str(home)), kernos("up", "--home", str(home), "--json")

    assert "was up already" in plain.out
    assert "http://127.0.0.1:7070/login?code=x   opens once" in plain.out
    assert as_json.json["console"] == "http://127.0.0.1:7070/login?code=x"
    assert as_json.json["home"] == str(home)


@pytest.mark.parametrize("words", [(), ("--yes",)])
def test_down_says_what_it_stops_and_waits_for_the_end(
    words: tuple[str, ...],
    kernel: Any,
    kernos: Any,
    views: Any,
    home: Path,
    pretend: Any,
) -> None:
    """Where nobody can be asked, naming the home is enough."""
    process = pretend(kernel.url)
    wait_until_ready(home, process, SystemClock())
    kernel.answers["GET /v1/home"] = views.home()

    done = kernos("down", "--home", str(home), *words)

    assert "1 Run is stopped, and diabetes is no longer served" in done.err
    assert done.code == 0
    assert process.wait(10) == 0
    assert living_kernel(home) is None


def test_without_a_kernel_down_and_status_say_how_to_start_one(kernos: Any, home: Path) -> None:
    for verb in ("down", "status", "ps"):
        done = kernos(verb, "--home", str(home))

        assert done.code == 7
        assert "kernos up --detach" in done.err


def test_the_error_a_kernel_ends_with_is_told(home: Path) -> None:
    log = home / "kernel.log"
    log.write_text(
        '{"level":"info","message":"x"}\nnoise\n{"code":"conflict","detail":"Another kernel runs.","hint":"h"}\n'
    )
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(4)"])

    with pytest.raises(ConflictError, match="Another kernel runs"):
        wait_until_ready(home, process, SystemClock())


def test_a_kernel_that_ends_without_a_word_points_at_its_log(home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])

    with pytest.raises(KernosError, match="code 3") as caught:
        wait_until_ready(home, process, SystemClock())
    assert "kernel.log" in caught.value.hint


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError, match="cannot be used"):
        start(tmp_path / "file" / "home", None, None, detach=True)


def test_the_foreground_passes_the_signal_on(kernel: Any, views: Any, home: Path) -> None:
    """`kernos up` in its own process, with the pretender in place of `kernos.main`."""
    kernel.answers["POST /v1/console/code"] = {"url": "http://127.0.0.1:7070/login?code=x"}
    kernel.answers["GET /v1/home"] = views.home()
    code = (
        "import subprocess, sys\n"
        "from kernos.cli import kernel\n"
        "from kernos.cli.main import run\n"
        f"begin = lambda *_, **__: subprocess.Popen([sys.executable, '-c', {PRETENDER!r}, {str(home)!r}, {kernel.url!r}])\n"
        "kernel.start = begin\n"
        f"sys.exit(run(['up', '--home', {str(home)!r}]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]

    os.kill(process.pid, signal.SIGTERM)

    assert process.wait(20) == 0
    process.stdout.close()
    assert "kernos run app.py" in lines[3]
    assert living_kernel(home) is None


def test_until_gives_up_in_time() -> None:
    assert until(lambda: True, 1.0, SystemClock())
    assert not until(lambda: False, 0.01, SystemClock())
