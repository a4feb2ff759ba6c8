"""What a step costs beyond its own work: 20 trivial steps in a row, each with arguments it has not had before.

    python bench/steps.py [--rounds 5] [--peer-rounds 2] [--peer-venv metaflow=DIR] [--peer-venv prefect=DIR]
                          [--peer-venv dagster=DIR]

Every step notes when its work begins and ends. The overhead of a step is the time from the end of one step's work to the
beginning of the next one's, so it is the same thing for all: hand over the result, record it, choose what is next, start
it, hand over its arguments. Kernos is warm (its worker's libraries are loaded; one run before is not counted) and runs twice
a round, as A and B: the noise. Peers run between the two, in environments that are given.

A Kernos step is a process of its own with limits, a log and a durable record; so is Metaflow's, and Dagster's with its default
executor. Prefect's tasks run in the flow's process, and so do Dagster's ops with the other executor.
A peer's environment: `pip install metaflow`, `pip install prefect 'fastapi<0.140'` (3.8.8 does not start with a newer one) or
`pip install dagster`.

The second figure is `kernos run` with nothing changed: the whole command, for this App and for the diabetes App.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from home import EXAMPLE, Home
from machine import (
    Arguments,
    Goal,
    fingerprint,
    middle,
    noise,
    peer_pythons,
    share,
    show,
    show_goals,
    versions,
    write,
)

STEPS = 20
PEERS = ("metaflow", "prefect", "dagster")
PLACE = Path(__file__).parent
LIMIT_S = 300.0
CAVEATS = [
    "The steps do nothing, so the figure is latency: a flow with steps side by side hides part of it.",
    "Prefect and Dagster's one-process executor start no process for a step; a step cannot be stopped or limited there.",
    "Metaflow's and Dagster's whole commands include their start; the overhead of a step does not.",
]
METAFLOW_STEP = """
    @step
    def add_{number}(self):
        begin_s = time.perf_counter()
        self.value = self.value + {number}
        self.times = [*self.times, [begin_s, time.perf_counter()]]
        self.next(self.{after})
"""
METAFLOW = """
import json, sys, time
from pathlib import Path
from metaflow import FlowSpec, Parameter, step

class Steps(FlowSpec):
    out = Parameter("out", type=str)

    @step
    def start(self):
        self.value, self.times = 0, []
        self.next(self.add_0)
{steps}
    @step
    def end(self):
        Path(self.out).write_text(json.dumps({{"steps": self.times}}))

if __name__ == "__main__":
    Steps()
"""
"""Metaflow reads the graph from the source, so the source is written out."""


@dataclass(frozen=True)
class Flow:
    command_s: float
    overhead_ms: list[float]
    """Between one step's work and the next one's."""
    flow_ms_per_step: float | None
    """From before the first call to after the last, without the work; where the flow itself can tell."""


def told(out: Path, command_s: float) -> Flow:
    said = json.loads(out.read_text())
    steps = said["steps"]
    assert len(steps) == STEPS
    gaps = [(after[0] - before[1]) * 1000 for before, after in pairwise(steps)]
    whole = None
    if "flow" in said:
        work_s = sum(end - begin for begin, end in steps)
        whole = round((said["flow"][1] - said["flow"][0] - work_s) * 1000 / STEPS, 3)
    return Flow(round(command_s, 3), [round(gap, 3) for gap in gaps], whole)


class Ours:
    """Both Apps in one home."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._first = 0
        chance = np.random.default_rng(0)
        x = chance.normal(size=400)
        pl.DataFrame({"x": x, "above": (x > 0).astype(int)}).write_csv(folder / "rows.csv")
        (folder / "app.py").write_text((PLACE / "steps_app.py").read_text())
        subprocess.run([sys.executable, EXAMPLE / "data.py", folder / "diabetes"], check=True)
        (folder / "diabetes" / "app.py").write_text((EXAMPLE / "app.py").read_text())
        home.kernos("run", str(folder / "diabetes" / "app.py"))

    def steps(self) -> Flow:
        self._first += 1_000_000
        return told(self._out, self._run())

    def unchanged_s(self) -> float:
        """Right after `steps`: the same once more."""
        return self._run()

    def unchanged_diabetes_s(self) -> float:
        return self._home.kernos("run", str(self._folder / "diabetes" / "app.py")).wall_s

    @property
    def _out(self) -> Path:
        return self._folder / f"times-{self._first}.json"

    def _run(self) -> float:
        settings = [f"first={self._first}", f"count={STEPS}", f"out={self._out}"]
        words = [word for setting in settings for word in ("--set", setting)]
        return self._home.kernos("run", str(self._folder / "app.py"), *words).wall_s


def metaflow(python: Path, folder: Path) -> Flow:
    names = [f"add_{number}" for number in range(STEPS)] + ["end"]
    steps = "".join(METAFLOW_STEP.format(number=n, after=names[n + 1]) for n in range(STEPS))
    (folder / "flow.py").write_text(METAFLOW.format(steps=steps))
    out = folder / "times.json"
    command = [str(python), "flow.py", "--quiet", "--no-pylint", "run", "--out", str(out)]
    quiet = {"USERNAME": "bench", "HOME": str(folder), "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder)}
    return told(out, timed(command, folder, quiet))


def prefect(python: Path, folder: Path) -> Flow:
    out = folder / "times.json"
    command = [str(python), str(PLACE / "peers" / "prefect_steps.py"), str(STEPS), str(out)]
    quiet = {
        "PREFECT_HOME": str(folder),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "DO_NOT_TRACK": "1",
    }
    return told(out, timed(command, folder, quiet))


def dagster(python: Path, folder: Path, executor: str) -> Flow:
    out = folder / "times.json"
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    file = str(PLACE / "peers" / "dagster_steps.py")
    command = [str(python.with_name("dagster")), "job", "execute", "-f", file, "-j", "steps"]
    quiet = {"DAGSTER_HOME": str(folder), "STEPS": str(STEPS), "OUT": str(out), "HOME": str(folder)}
    quiet["EXECUTOR"] = executor
    return told(out, timed(command, folder, quiet))


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> float:
    path = f"{Path(command[0]).parent}:{os.environ['PATH']}"
    begin_s = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    took_s = time.perf_counter() - begin_s
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return took_s


def in_folder(measure: Callable[[Path, Path], Flow], python: Path) -> Callable[[], Flow]:
    def run() -> Flow:
        with tempfile.TemporaryDirectory() as folder:
            return measure(python, Path(folder))

    return run


def peers_of(pythons: Mapping[str, Path]) -> dict[str, Callable[[], Flow]]:
    ways: dict[str, tuple[str, Callable[[Path, Path], Flow]]] = {
        "metaflow": ("metaflow", metaflow),
        "prefect, in process": ("prefect", prefect),
        "dagster": ("dagster", lambda python, folder: dagster(python, folder, "processes")),
        "dagster, in process": ("dagster", lambda python, folder: dagster(python, folder, "one_process")),
    }
    return {
        label: in_folder(measure, pythons[name]) for label, (name, measure) in ways.items() if name in pythons
    }


def main() -> int:
    parser = Arguments(__doc__, "steps", rounds=5, peers=PEERS)
    parser.add_argument("--peer-rounds", type=int, default=2)
    given = parser.parse_args()
    machine = fingerprint()
    pythons, skipped = peer_pythons(given.peer_venv, PEERS)
    peers = peers_of(pythons)
    samples: dict[str, list[Flow]] = {name: [] for name in ("kernos", *peers, "kernos B")}
    unchanged: dict[str, list[float]] = {"this App": [], "diabetes": []}
    with Home() as home, tempfile.TemporaryDirectory() as name:
        home.kernos("up", "--detach")
        ours = Ours(home, Path(name))
        ours.steps()
        for number in range(given.rounds):
            samples["kernos"].append(ours.steps())
            unchanged["this App"].append(ours.unchanged_s())
            unchanged["diabetes"].append(ours.unchanged_diabetes_s())
            if number < given.peer_rounds:
                for label, run in peers.items():
                    samples[label].append(run())
                    print(label, samples[label][-1], file=sys.stderr)
            samples["kernos B"].append(ours.steps())
            unchanged["this App"].append(ours.unchanged_s())
            unchanged["diabetes"].append(ours.unchanged_diabetes_s())
    report(given.out, machine, samples, unchanged, skipped, versions(["kernos"], pythons))
    return 0


def report(
    out: Path,
    machine: dict[str, object],
    samples: dict[str, list[Flow]],
    unchanged: dict[str, list[float]],
    skipped: dict[str, str],
    found: dict[str, str],
) -> None:
    gaps = {name: [gap for flow in flows for gap in flow.overhead_ms] for name, flows in samples.items()}
    show(
        ["", "p50 ms", "p95 ms", "best ms", "command s"],
        [
            (
                name,
                f"{middle(gaps[name]):.1f}",
                f"{share(gaps[name], 0.95):.1f}",
                f"{min(gaps[name]):.1f}",
                f"{middle(flow.command_s for flow in flows):.2f}",
            )
            for name, flows in samples.items()
        ],
    )
    ours = [*samples["kernos"], *samples["kernos B"]]
    per_step = middle(flow.flow_ms_per_step for flow in ours if flow.flow_ms_per_step is not None)
    goals = [Goal("overhead per step", "<= 30 ms", f"{per_step:.1f} ms", per_step <= 30)]
    for name, values in unchanged.items():
        value = middle(values)
        goals.append(
            Goal(f"kernos run, nothing changed ({name})", "<= 0.5 s", f"{value:.2f} s", value <= 0.5)
        )
    show_goals(goals)
    write(
        out,
        {
            "versions": found,
            "caveats": CAVEATS,
            "skipped": skipped,
            "noise": noise(gaps["kernos"], gaps["kernos B"]),
            "goals": [asdict(goal) for goal in goals],
            "flows": {name: [asdict(flow) for flow in flows] for name, flows in samples.items()},
            "unchanged_s": {
                name: [round(value, 3) for value in values] for name, values in unchanged.items()
            },
        },
        machine=machine,
    )


if __name__ == "__main__":
    sys.exit(main())
