"""The kernel is killed at a hundred random points while builds, ingests and predictions go on. Nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.errors import KernosError
from kernos.base.processes import identify
from kernos.client.api import Client
from kernos.kernel import tree

if TYPE_CHECKING:
    from tests.conftest import Home

KILLS = 100
ENDED = {"done", "cached", "failed", "stopped"}
ROW = {"age": 59, "bmi": 32.1, "bp": 101, "s1": 157, "s2": 93.2, "s3": 38, "s4": 4, "s5": 4.86, "s6": 87}


class Asking:
    """A client of the data plane that never pauses for long; every answer but 200 is a failure."""

    def __init__(self, url: str, token: str) -> None:
        tensors = [{"name": n, "shape": [1, 1], "datatype": "FP32", "data": [v]} for n, v in ROW.items()]
        self._request = urllib.request.Request(
            f"{url}/v2/models/diabetes/infer",
            data=json.dumps({"inputs": tensors}).encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(0.02):
            try:
                with urllib.request.urlopen(self._request, timeout=10) as response:
                    json.loads(response.read())
                self.answered += 1
            except (OSError, urllib.error.HTTPError) as error:
                self.failures.append(repr(error))


class Asked:
    """What a kernel has acknowledged: Runs by id, and dataset versions."""

    def __init__(self) -> None:
        self.runs: set[int] = set()

    def ask(self, home: Home, folder: Path, chance: random.Random) -> None:
        """One more request, which the kernel's death may cut off; only what was acknowledged counts."""
        client = Client.from_home(home.path)
        try:
            match chance.randrange(3):
                case 0:
                    self.runs.add(client.start_build("diabetes", str(folder))["id"])
                case 1:
                    table = folder / f"table{chance.randrange(10**9)}.csv"
                    table.write_text("a,b\n" + "".join(f"{chance.random()},{n}\n" for n in range(50)))
                    self.runs.add(client.ingest(str(table), "tables")["id"])
                case 2:
                    # other arguments: nothing is known yet, so every stage runs
                    source = folder / f"data{chance.randrange(10**9)}.parquet"
                    source.write_bytes((folder / "diabetes.parquet").read_bytes())
                    self.runs.add(client.start_build("diabetes", str(folder), {"source": source.name})["id"])
        except KernosError:
            return


@pytest.mark.timeout(900)
def test_a_hundred_kills_lose_nothing(home: Home, diabetes: Path) -> None:
    chance = random.Random(7)
    text = (diabetes / "app.py").read_text().replace('tune={"C": (0.001, 10.0)}, trials=8, ', "")
    (diabetes / "app.py").write_text(text)
    home.json("run", str(diabetes / "app.py"))
    asked = Asked()

    with Asking(home.kernel()["plane_url"], home.token()) as asking:
        for _ in range(KILLS):
            for _ in range(chance.randrange(3)):
                asked.ask(home, diabetes, chance)
            threading.Event().wait(chance.random() * 0.5)
            kill(home)
            home.up()
        runs = settled(home, asked.runs)

    assert asking.failures == []
    assert asking.answered > 100
    assert asked.runs <= runs.keys()
    assert {run["state"] for run in runs.values()} <= {"done", "cached"}, broken(runs)
    assert home.json("audit", "verify")["ok"]
    assert ended_twice(home) == []
    assert left_over(home) == []


def kill(home: Home) -> None:
    """Kill the kernel and wait until it is gone, as the next one must find it."""
    pid = int(home.kernel()["pid"])
    os.kill(pid, signal.SIGKILL)
    deadline_s = SystemClock().monotonic_s() + 10
    while identify(pid) is not None and SystemClock().monotonic_s() < deadline_s:
        threading.Event().wait(0.005)


def settled(home: Home, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """Every Run once no build, ingest or step is at work any more."""
    client = Client.from_home(home.path, patience_s=10)
    deadline_s = SystemClock().monotonic_s() + 240
    while SystemClock().monotonic_s() < deadline_s:
        open_runs = client.runs(state=["queued", "running"], limit=100)["runs"]
        if not [run for run in open_runs if run["kind"] not in {"monitor", "replica"}]:
            break
        threading.Event().wait(0.5)
    found: dict[int, dict[str, Any]] = {}
    below = None
    while True:
        page = client.runs(limit=100, **({} if below is None else {"below": below}))
        found |= {run["id"]: run for run in page["runs"] if run["kind"] != "monitor" or run["id"] in wanted}
        below = page["next_below"]
        if below is None:
            return {run: view for run, view in found.items() if view["kind"] != "report"}


def broken(runs: dict[int, dict[str, Any]]) -> list[str]:
    return [
        f"{r['id']} {r['kind']} {r['state']}: {r['reason']}"
        for r in runs.values()
        if r["state"] not in {"done", "cached"}
    ]


def ended_twice(home: Home) -> list[str]:
    """Runs that the journal tells the end of more than once."""
    client = Client.from_home(home.path)
    ends: dict[str, int] = {}
    after = -1
    while True:
        page = client.events(after=after, limit=1000)
        for event in page["events"]:
            if event["kind"] in {f"run.{state}" for state in ENDED}:
                ends[event["subject"]] = ends.get(event["subject"], 0) + 1
        if page["next_after"] == after or not page["events"]:
            return [subject for subject, count in ends.items() if count > 1]
        after = page["next_after"]


def left_over(home: Home) -> list[str]:
    """Runs that are queued or at work, and processes of workers, once the last look at the log has had its time."""
    client = Client.from_home(home.path)
    deadline_s = SystemClock().monotonic_s() + 30
    while True:
        runs = client.runs(state=["queued", "running"], limit=100)["runs"]
        warm = tree.marked(f"KERNOS_WARM_OF={home.path}")
        found = [f"run {run['id']} {run['kind']} {run['state']}" for run in runs]
        found += [f"process {pid}" for pid in warm] if len(warm) > 1 else []
        if not found or SystemClock().monotonic_s() > deadline_s:
            return found
        threading.Event().wait(0.2)
