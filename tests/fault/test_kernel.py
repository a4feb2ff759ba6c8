"""Kernels, planes and warm parents that are killed, doubled or shut out; packages that are tampered with. Real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.clock import ManualClock, SystemClock
from kernos.base.ids import Ref
from kernos.base.processes import ProcessId, identify, is_alive
from kernos.base.settings import KernelSettings
from kernos.catalog.artifacts import resolve
from kernos.catalog.audit import verify
from kernos.catalog.store import SqlStore
from kernos.client.api import Client
from kernos.kernel import tree
from kernos.kernel.driver import Kernel
from kernos.kernel.run import RunSpec
from kernos.testing.manual_executor import ManualExecutor

if TYPE_CHECKING:
    from tests.conftest import Home

WAIT_S = 60.0
ROW = {"age": 59, "bmi": 32.1, "bp": 101, "s1": 157, "s2": 93.2, "s3": 38, "s4": 4, "s5": 4.86, "s6": 87}


def until(condition: Callable[[], object], what: str, limit_s: float = WAIT_S) -> None:
    clock, pause = SystemClock(), threading.Event()
    deadline_s = clock.monotonic_s() + limit_s
    while not condition():
        assert clock.monotonic_s() < deadline_s, f"in vain: {what}"
        pause.wait(0.05)


def ask(url: str, token: str) -> int:
    """The status of one prediction; 0 where nobody answers."""
    tensors = [{"name": n, "shape": [1, 1], "datatype": "FP32", "data": [v]} for n, v in ROW.items()]
    request = urllib.request.Request(
        f"{url}/v2/models/diabetes/infer",
        data=json.dumps({"inputs": tensors}).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


class Asking:
    """A client that asks without pause."""

    def __init__(self, url: str, token: str) -> None:
        self.answers: list[int] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url, token))

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._ending.set()
        self._thread.join()

    def more(self, count: int) -> None:
        """Until that many more were answered."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted, f"{count} answers")

    def _run(self, url: str, token: str) -> None:
        while not self._ending.wait(0.005):
            self.answers.append(ask(url, token))


def kill_and_wait(pid: int) -> None:
    process = identify(pid)
    assert process is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(process), f"the end of {pid}")


def plane_process(home: Home) -> ProcessId:
    told = json.loads((home.path / "plane" / "plane.json").read_text())["process"]
    return ProcessId(told["pid"], told["started_ticks"])


def marked(home: Home) -> set[int]:
    """The warm parent of this home, and its workers."""
    return tree.marked(f"KERNOS_WARM_OF={home.path}")


def warm_parent(home: Home) -> int:
    (pid,) = [pid for pid in marked(home) if _parent(pid) not in marked(home)]
    return pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def events(home: Home, kind: str) -> list[dict[str, Any]]:
    client = Client.from_home(home.path, patience_s=10)
    return [event for event in client.events(after=-1, limit=1000)["events"] if event["kind"] == kind]


def ends(home: Home) -> list[str]:
    """The subjects of all Events that end a Run."""
    kinds = ("run.done", "run.failed", "run.stopped", "run.cached")
    return [event["subject"] for kind in kinds for event in events(home, kind)]


def working(home: Home, kind: str) -> list[dict[str, Any]]:
    return [run for run in home.json("ps")["runs"] if (run["kind"], run["state"]) == (kind, "running")]


def with_process(home: Home, kind: str) -> set[str]:
    """Journal subjects of the Runs whose worker the kernel can measure: they surely have begun."""
    return {f"run:{run['id']}" for run in working(home, kind) if run["rss_bytes"] > 0}


def ended(home: Home, build: int) -> dict[str, Any]:
    client = Client.from_home(home.path, patience_s=10)
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(client.build(build))
        return found["state"] in {"done", "failed", "stopped"}

    until(is_over, f"the end of build {build}", 90)
    return found


@pytest.fixture
def small(diabetes: Path) -> Path:
    """The example App without its search."""
    app = diabetes / "app.py"
    app.write_text(app.read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', ""))
    return app


@pytest.fixture
def served(home: Home, small: Path) -> Home:
    home.json("run", str(small))
    return home


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# Who is there already


@pytest.mark.timeout(120)
def test_a_second_kernel_on_a_home_is_refused_and_the_first_goes_on(home: Home) -> None:
    command = [sys.executable, "-m", "kernos.main", "--set", f"home={home.path}"]

    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert second.returncode == 4
    problem = json.loads(second.stderr.splitlines()[-1])
    assert problem["code"] == "conflict"
    assert f"kernos down --home {home.path}" in problem["hint"]
    assert home.json("status")["home"] == str(home.path)
    again = home.command("up", "--detach")
    assert again.returncode == 0
    assert "was up already" in again.stdout


@pytest.mark.timeout(120)
def test_a_taken_port_is_said_and_leaves_nothing_running(cold_home: Home, taken_port: int) -> None:
    code, problem = cold_home.refusal("up", "--detach", "--port", str(taken_port))
    assert (code, problem["code"]) == (7, "unavailable")
    assert str(taken_port) in problem["detail"]
    assert "--port" in problem["hint"]

    code, problem = cold_home.refusal("up", "--detach", "--plane-port", str(taken_port))
    assert code != 0
    assert f"Port {taken_port} of 127.0.0.1 is taken" in problem["detail"]
    assert not (cold_home.path / "kernel.json").exists()

    cold_home.up()
    assert cold_home.json("status")["running"] == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_is_none_is_said(cold_home: Home, port: str) -> None:
    code, problem = cold_home.refusal("up", "--detach", f"--port={port}")

    assert (code, problem["code"]) == (2, "invalid")
    assert port in problem["detail"]


@pytest.mark.timeout(120)
def test_a_read_only_home_is_said(tmp_path: Path, cold_home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: only root can mount a read-only file system")
    cold_home.path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(cold_home.path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("SKIPPED: tmpfs cannot be mounted here")
    try:
        for home in (cold_home.path, cold_home.path / "below"):
            cold_home.path = home
            code, problem = cold_home.refusal("up", "--detach")
            assert (code, problem["code"]) == (7, "unavailable")
            assert "Read-only file system" in problem["detail"]
            command = [sys.executable, "-m", "kernos.main", "--set", f"home={home}"]
            kernel = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert kernel.returncode == 7
            assert "Read-only file system" in json.loads(kernel.stderr.splitlines()[-1])["detail"]
    finally:
        cold_home.path = tmp_path / "home"
        subprocess.run(["umount", str(cold_home.path)], check=True)


@pytest.mark.timeout(120)
def test_a_home_whose_key_is_damaged_is_said_at_once(home: Home) -> None:
    """A start that fails leaves no thread behind that keeps the process."""
    home.down()
    for file in (home.path / "keys").iterdir():
        file.write_bytes(b"no key")

    code, problem = home.refusal("up", "--detach")

    assert (code, problem["code"]) == (9, "corrupt")


# Killed


@pytest.mark.timeout(180)
def test_a_killed_kernel_costs_no_request_and_finds_plane_and_runs_again(home: Home, diabetes: Path) -> None:
    """Killed in the middle of a search; the plane answers on, the trials work on, the build ends."""
    app = diabetes / "app.py"
    home.json("run", str(app))
    app.write_text(app.read_text().replace("PolynomialFeatures(2)", "PolynomialFeatures(3)"))
    plane, token, url = plane_process(home), home.token(), home.kernel()["plane_url"]
    with Asking(url, token) as asking:
        build = home.json("run", str(app), "--detach")["id"]
        at_work: set[str] = set()

        def has_begun() -> bool:
            at_work.update(with_process(home, "trial"))
            return bool(at_work)

        until(has_begun, "a trial at work")
        kill_and_wait(int(home.kernel()["pid"]))
        asking.more(100)
        home.up()
        view = ended(home, build)
        asking.more(50)

    assert set(asking.answers) == {200}
    assert plane_process(home) == plane
    assert home.kernel()["plane_url"] == url
    assert view["state"] == "done", view["reason"]
    # What had a process is adopted. What was committed as running and not yet handed over starts again, once.
    lost = [event["subject"] for event in events(home, "run.lost")]
    assert not at_work & set(lost)
    assert len(lost) == len(set(lost))
    assert len(ends(home)) == len(set(ends(home)))
    assert home.json("audit", "verify")["ok"]


@pytest.mark.timeout(120)
def test_a_start_that_fails_does_not_take_down_the_plane_that_answers(served: Home, taken_port: int) -> None:
    url, token, plane = served.kernel()["plane_url"], served.token(), plane_process(served)
    kill_and_wait(int(served.kernel()["pid"]))

    code, _ = served.refusal("up", "--detach", "--port", str(taken_port))

    assert code == 7
    assert is_alive(plane)
    assert ask(url, token) == 200
    served.up()
    assert plane_process(served) == plane


@pytest.mark.timeout(120)
def test_a_killed_plane_is_back_on_its_port_with_its_models(served: Home) -> None:
    url, token = served.kernel()["plane_url"], served.token()
    before = plane_process(served)
    kill_and_wait(before.pid)

    until(lambda: ask(url, token) == 200, "an answer on the same port", 20)

    assert plane_process(served) != before
    assert served.json("services", "diabetes")["phase"] == "live"


@pytest.mark.timeout(180)
def test_a_killed_warm_parent_costs_a_build_nothing_but_time(home: Home, diabetes: Path) -> None:
    build = home.json("run", str(diabetes / "app.py"), "--detach")["id"]
    until(lambda: [r for r in home.json("ps")["runs"] if r["kind"] == "trial"], "a trial")

    kill_and_wait(warm_parent(home))
    view = ended(home, build)

    assert view["state"] == "done", view["reason"]
    assert events(home, "run.lost")
    assert len(ends(home)) == len(set(ends(home)))
    until(lambda: len(marked(home)) <= 1, "workers to be gone")


@pytest.mark.timeout(120)
def test_an_orderly_end_leaves_no_process(served: Home) -> None:
    plane = plane_process(served)
    assert marked(served)

    served.down()

    assert not is_alive(plane)
    assert marked(served) == set()
    assert not (served.path / "kernel.json").exists()
    assert not (served.path / "kernel.sock").exists()


# Tampered with


def live_package(home: Home) -> Path:
    store = SqlStore(f"sqlite:///{home.path / 'catalog.db'}", SystemClock())
    store.open()
    with store.read() as reader:
        digest = resolve(reader, Ref("/packages/diabetes", "live")).digest.removeprefix("sha256:")
    store.close()
    return home.path / "blobs" / digest[:2] / digest[2:]


def service(home: Home) -> dict[str, Any]:
    view: dict[str, Any] = home.json("services", "diabetes")
    return view


@pytest.mark.timeout(120)
def test_a_package_with_a_flipped_byte_is_not_served(served: Home) -> None:
    served.down()
    file = live_package(served)
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])

    served.up()

    until(lambda: service(served)["phase"] == "stopped", "the service to be stopped")
    assert "did not load" in service(served)["reason"]
    assert ask(served.kernel()["plane_url"], served.token()) == 503
    assert served.json("audit", "verify")["ok"]

    file.write_bytes(whole)
    until(lambda: service(served)["phase"] == "live", "the service to be live again")
    assert ask(served.kernel()["plane_url"], served.token()) == 200


@pytest.mark.timeout(120)
def test_a_package_signed_by_another_key_is_not_served(served: Home) -> None:
    """The home gets another key: what the old one signed is a stranger's now."""
    served.down()
    for file in (served.path / "keys").iterdir():
        if file.name != "kernel.secret":
            file.unlink()

    served.up()

    until(lambda: service(served)["phase"] == "stopped", "the service to be stopped")
    assert "trust" in service(served)["reason"]
    assert ask(served.kernel()["plane_url"], served.token()) == 503


@pytest.mark.timeout(180)
def test_a_damaged_live_version_gives_way_to_the_one_before(served: Home, small: Path) -> None:
    small.write_text(
        small.read_text().replace('canary="20% for 5s", ', "").replace("C: float = 1.0", "C: float = 0.1")
    )
    served.json("run", str(small))
    until(lambda: service(served)["live"] == 2, "version 2 to be live")
    served.down()
    file = live_package(served)
    file.chmod(0o600)
    file.write_bytes(b"nothing of a package")

    served.up()

    until(lambda: service(served)["live"] == 1, "version 1 to be live again")
    assert "did not load" in service(served)["reason"]
    until(lambda: ask(served.kernel()["plane_url"], served.token()) == 200, "an answer")


# Time


def test_a_wall_clock_that_goes_back_a_day_confuses_nothing(tmp_path: Path) -> None:
    """Times in the journal never fall; what waits is started, what runs ends, what is known stays."""
    clock, executor = ManualClock(), ManualExecutor()
    store = SqlStore(f"sqlite:///{tmp_path}/catalog.db", clock)
    store.open()
    kernel = Kernel(
        store,
        executor,
        KernelSettings(cpus=1.0, memory_bytes=2**30, run_memory_bytes=2**20),
        tmp_path,
        clock,
        settle=lambda tx, record, result: result,
        token_for=lambda run: "token",
        socket="",
    )
    try:
        kernel.start()
        runs = [kernel.submit(RunSpec("step", "m", f"s{number}", "ann", entry="m:f")) for number in range(3)]
        for number, seconds in enumerate((-86_400, 3600, -7200), 1):
            executor.wait_for(lambda number=number: len(executor.started) == number)  # type: ignore[misc] # a bound default
            clock.jump_wall(seconds)
            executor.end(executor.started[-1], ok={})
            clock.advance(1.0)
        ended = [kernel.wait(run.id, 20.0) for run in runs]
        kernel.check()
        with store.read() as reader:
            times = [event.at_ms for event in reader.events()]
    finally:
        kernel.stop()
        report = verify(store)
        store.close()

    assert [run.state for run in ended] == ["done"] * 3
    assert times == sorted(times)
    assert all((run.started_ms or 0) <= (run.ended_ms or 0) for run in ended)
    assert report.ok
