"""From nothing to ready, and the memory that it takes: `kernos up` beside `mlflow server`.

    python bench/start.py [--rounds 5] [--peer-venv mlflow=DIR]

Each start is in a fresh folder, so both make their SQLite database; programs are in the page cache. Kernos is ready when
`kernos up --detach` returns, its data plane included; MLflow at its first 200 from /health, asked every 20 ms. CPU time
is of the command and of the whole process tree. MLflow goes on starting after its first answer, so memory is read when
the tree has come to rest (under a tenth of a core), summed over the tree, and again after Kernos has built the diabetes
App and answered 2,000 predictions; what the warm parent holds (the libraries of workers to come, given back after 300 s
without work) stands apart. Kernos starts twice a round, as A and B: the noise. `slim` is MLflow with one worker and
without its processes for background jobs. A peer's environment: `pip install mlflow`.

`pss` is what the system charges; `alone` counts each shared file page once in full, as on a machine where nothing else
maps the same libraries.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from home import EXAMPLE, Home
from machine import (
    Arguments,
    Goal,
    Memory,
    fingerprint,
    free_port,
    memory,
    middle,
    noise,
    peer_pythons,
    show,
    show_goals,
    tree,
    tree_cpu_s,
    versions,
    write,
)

from kernos.cli.patients import Patients

READY_LIMIT_S = 120.0
SETTLE_S = 3.0
IDLE_S = 3.0
RESTING = 0.1
PREDICTIONS = 2_000
CAVEATS = [
    "MLflow is asked for its tracking server alone; it serves no model here, Kernos' data plane is up and serves.",
    "Both start with their programs in the page cache; a first start after boot reads them from disk.",
    "PSS is smaller where other processes map the same libraries; `alone` is not.",
]


@dataclass(frozen=True)
class Start:
    ready_s: float
    cpu_s: float
    rest_s: float
    """From the start until less than a tenth of a core is used."""
    rest_cpu_s: float
    idle_cpu_share: float
    """Of one core, at rest."""
    ready: Memory
    """At rest."""


@dataclass(frozen=True)
class Serving:
    kernel_and_plane: Memory
    warm_parent: Memory


def kernos() -> Start:
    with Home() as home:
        begin_s = time.perf_counter()
        up = home.kernos("up", "--detach")
        return started(home.kernel_pid(), begin_s, up.wall_s, up.cpu_s)


def mlflow(python: Path, *, is_slim: bool) -> Start:
    """As it comes, or slim: one worker, and no processes for background jobs."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python.with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command += ["--default-artifact-root", f"{folder}/artifacts"]
        command += ["--workers", "1"] if is_slim else []
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HOME": folder}
        quiet |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} if is_slim else {}
        path = f"{python.parent}:{os.environ['PATH']}"
        with (Path(folder) / "log").open("wb") as log:
            begin_s = time.perf_counter()
            process = subprocess.Popen(
                command,
                env={**os.environ, **quiet, "PATH": path},
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            while not is_healthy(port):
                if process.poll() is not None or time.perf_counter() - begin_s > READY_LIMIT_S:
                    raise SystemExit(f"MLflow does not start:\n{(Path(folder) / 'log').read_text()[-3000:]}")
                time.sleep(0.02)
            return started(process.pid, begin_s, time.perf_counter() - begin_s, 0.0)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def started(root: int, begin_s: float, ready_s: float, spent_s: float) -> Start:
    """`spent_s`: CPU time that is not the tree's own."""
    cpu_s = spent_s + tree_cpu_s(root)
    idle = 1.0
    while idle > RESTING and time.perf_counter() - begin_s < READY_LIMIT_S:
        before_s, since_s = tree_cpu_s(root), time.perf_counter()
        time.sleep(IDLE_S)
        idle = (tree_cpu_s(root) - before_s) / (time.perf_counter() - since_s)
    rest_s = time.perf_counter() - begin_s - IDLE_S
    return Start(
        ready_s=round(ready_s, 3),
        cpu_s=round(cpu_s, 3),
        rest_s=round(rest_s, 1),
        rest_cpu_s=round(spent_s + tree_cpu_s(root), 2),
        idle_cpu_share=round(idle, 4),
        ready=memory(tree(root)),
    )


def serving() -> Serving:
    """A home that has built the diabetes App and answers predictions."""
    with Home() as home, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, EXAMPLE / "data.py", folder], check=True)
        (folder / "app.py").write_text((EXAMPLE / "app.py").read_text())
        home.kernos("up", "--detach")
        home.kernos("run", str(folder / "app.py"))
        rows = json.loads((folder / "rows.json").read_text())
        patients = Patients(home.plane_url(), home.token(), rows, per_s=1.0)
        patients.burst(PREDICTIONS, lambda done: None)
        if patients.failed:
            raise SystemExit(f"{patients.failed} predictions failed: {patients.last_failure}")
        wait_for_work_to_end(home)
        root = home.kernel_pid()
        pids = tree(root)
        warm = {pid for pid in pids if "kernos.kernel.warm" in arguments_of(pid)}
        warm |= {pid for parent in warm for pid in tree(parent)}
        return Serving(memory(set(pids) - warm), memory(warm))


def wait_for_work_to_end(home: Home) -> None:
    """Drift checks come and go; memory is read between two of them."""
    time.sleep(SETTLE_S)
    give_up_s = time.perf_counter() + READY_LIMIT_S
    while home.kernos("ps").said["runs"]:
        if time.perf_counter() > give_up_s:
            raise SystemExit("The kernel does not come to rest.")
        time.sleep(0.1)


def arguments_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def main() -> int:
    parser = Arguments(__doc__, "start", rounds=5, peers=["mlflow"])
    given = parser.parse_args()
    machine = fingerprint()
    pythons, skipped = peer_pythons(given.peer_venv, ["mlflow"])
    starts: dict[str, Callable[[], Start]] = {"kernos": kernos}
    if "mlflow" in pythons:
        starts["mlflow, as it comes"] = lambda: mlflow(pythons["mlflow"], is_slim=False)
        starts["mlflow, slim"] = lambda: mlflow(pythons["mlflow"], is_slim=True)
    starts["kernos B"] = kernos
    for start in starts.values():
        start()  # into the page cache
    samples: dict[str, list[Start]] = {name: [] for name in starts}
    for _ in range(given.rounds):
        for name, start in starts.items():
            samples[name].append(start())
            print(name, samples[name][-1], file=sys.stderr)
    served = [serving() for _ in range(given.rounds)]
    report(given.out, machine, samples, served, skipped, versions(["kernos"], pythons))
    return 0


def report(
    out: Path,
    machine: dict[str, object],
    samples: dict[str, list[Start]],
    served: list[Serving],
    skipped: dict[str, str],
    found: dict[str, str],
) -> None:
    lines = [
        (
            name,
            f"{middle(s.ready_s for s in starts):.2f}",
            f"{middle(s.cpu_s for s in starts):.2f}",
            f"{middle(s.rest_s for s in starts):.1f}",
            f"{middle(s.rest_cpu_s for s in starts):.1f}",
            starts[0].ready.processes,
            *(mib(middle(getattr(s.ready, part) for s in starts)) for part in ("pss_bytes", "alone_bytes")),
            f"{middle(s.idle_cpu_share for s in starts):.1%}",
        )
        for name, starts in samples.items()
    ]
    for name in ("kernel_and_plane", "warm_parent"):
        parts = [getattr(one, name) for one in served]
        pss, alone = (
            mib(middle(getattr(part, field) for part in parts)) for field in ("pss_bytes", "alone_bytes")
        )
        lines.append(
            (f"serving: {name.replace('_', ' ')}", "", "", "", "", parts[0].processes, pss, alone, "")
        )
    show(["", "ready s", "CPU s", "rest s", "CPU s", "processes", "PSS MiB", "alone MiB", "idle CPU"], lines)
    ours = [*samples["kernos"], *samples["kernos B"]]
    ready_s = middle(start.ready_s for start in ours)
    goals = [Goal("kernos up to ready", "<= 2 s", f"{ready_s:.2f} s", ready_s <= 2)]
    held = {"ready": [start.ready for start in ours], "serving": [one.kernel_and_plane for one in served]}
    for when, memories in held.items():
        pss_mb = middle(one.pss_bytes for one in memories) / 1e6
        alone_mb = middle(one.alone_bytes for one in memories) / 1e6
        goals.append(Goal(f"memory when {when}, PSS", "<= 150 MB", f"{pss_mb:.0f} MB", pss_mb <= 150))
        goals.append(Goal(f"memory when {when}, alone", "<= 150 MB", f"{alone_mb:.0f} MB", alone_mb <= 150))
    show_goals(goals)
    write(
        out,
        {
            "versions": found,
            "caveats": CAVEATS,
            "skipped": skipped,
            "noise": noise([s.ready_s for s in samples["kernos"]], [s.ready_s for s in samples["kernos B"]]),
            "goals": [asdict(goal) for goal in goals],
            "starts": {name: [asdict(start) for start in starts] for name, starts in samples.items()},
            "serving": [asdict(one) for one in served],
        },
        machine=machine,
    )


def mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
