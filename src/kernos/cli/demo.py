"""`kernos demo`: the whole loop on real data, told as it happens. Nothing but the public commands, and a client of the service."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import DeadlineError, FailedError, NotFoundError
from kernos.cli.patients import Patients, older_and_heavier, some_very_old
from kernos.cli.session import Home, Json
from kernos.client.home import need_kernel, read_token

BURST = 2_000
PER_S = 120.0
DRIFT_DEADLINE_S = 60.0
SWAP_DEADLINE_S = 40.0
_ROLES = ("model", "code", "author", "data", "feedback", "source", "gate", "signer")
_REFUSED = 6
"""The exit code of a refusal by a gate or a contract."""

Said = dict[str, Any]


@dataclass(slots=True)
class Story:
    """What the demo has seen so far; `verdict` is its last line."""

    build: Said = field(default_factory=dict)
    bad_batch_refused: bool = False
    drift: Said = field(default_factory=dict)
    rows_before_shift: int = 0
    drift_to_live_s: float = 0.0
    retrained: bool = False
    refused: Said = field(default_factory=dict)
    rolled_back: bool = False
    rollback_reason: str = ""
    service: Said = field(default_factory=dict)
    lineage: Said = field(default_factory=dict)
    audit: Said = field(default_factory=dict)
    data_versions: list[str] = field(default_factory=list)
    live: str = ""
    requests: int = 0
    failed: int = 0
    rescued: int = 0
    seconds: float = 0.0

    def verdict(self) -> Said:
        alarm = self.drift.get("rows_to_alarm")
        return {
            "data_versions": self.data_versions,
            "live": self.live,
            "gates": self.build.get("verdicts", []),
            "drift": {
                "alarm": bool(self.drift.get("alarm")),
                "rows_to_alarm": None if alarm is None else alarm - self.rows_before_shift,
                "bound": self.drift.get("e_bound"),
            },
            "bad_batch_refused": self.bad_batch_refused,
            "retrained": self.retrained,
            "drift_to_live_seconds": round(self.drift_to_live_s, 1),
            "refused_bad_model": bool(self.refused),
            "rolled_back": self.rolled_back,
            "requests": self.requests,
            "failed_requests": self.failed,
            "rescued_requests": self.rescued,
            "audit_ok": bool(self.audit.get("ok")),
            "seconds": round(self.seconds, 1),
        }

    def is_good(self) -> bool:
        said = self.verdict()
        wanted = ("bad_batch_refused", "retrained", "refused_bad_model", "rolled_back", "audit_ok")
        gates = said["gates"]
        return (
            all(said[name] for name in wanted)
            and bool(gates)
            and all(gate["passed"] for gate in gates)
            and said["drift"]["alarm"]
            and said["failed_requests"] == 0
        )


def demo(
    home: Home = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the kernel up, for a look at the console.", show_default=False),
    ] = False,
    as_json: Json = False,
) -> None:
    """The whole loop on real data: build, serve, drift, retrain, refuse, roll back."""
    folder = home.resolve() if home else Path(tempfile.mkdtemp(prefix="kernos-demo-"))
    out = _console(stderr=as_json)
    show = Demo(folder, find_examples(), out)
    try:
        story = show.run()
        link = show.console_link() if keep else ""
    finally:
        if not keep:
            show.stop()
    out.print()
    out.print(summary(story, link))
    if not keep:
        out.print(
            f"The kernel has stopped; its home is {folder}. To look around: kernos demo --keep", style="dim"
        )
    if as_json:
        sys.stdout.write(json.dumps(story.verdict()) + "\n")
    if not story.is_good():
        raise FailedError(
            "Not all of it came true.", hint=f"kernos up --home {folder}; kernos events --home {folder}"
        )


class Demo:
    def __init__(self, home: Path, examples: Path, out: Console, clock: Clock | None = None) -> None:
        self._home = home
        self._work = home / "demo"
        self._examples = examples
        self._out = out
        self._clock = clock or SystemClock()
        self._pause = threading.Event()
        self.story = Story()

    def run(self) -> Story:
        """All of it, in order. The kernel stays up; the caller decides."""
        started_s = self._clock.monotonic_s()
        self._start()
        self._write_data()
        self._refuse_bad_batch()
        self._first_build()
        patients = self._patients()
        try:
            self._serve(patients)
            self._drift(patients)
            self._bad_models(patients)
        finally:
            patients.stop()
        self._look_back(patients)
        self.story.seconds = self._clock.monotonic_s() - started_s
        return self.story

    def stop(self) -> None:
        self._command("down", "--yes")

    def console_link(self) -> str:
        return str(self._kernos("console")["url"])

    # The chapters

    def _start(self) -> None:
        with self._chapter("start", "a kernel of its own, on loopback and free ports") as told:
            self._kernos("up", "--detach")
            told(f"home {self._home}")

    def _write_data(self) -> None:
        with self._chapter(
            "data", "scikit-learn's diabetes data: 442 patients, outcome above the median or not"
        ):
            data = self._examples / "data.py"
            subprocess.run([sys.executable, str(data), str(self._work)], check=True, capture_output=True)
            for name in ("app.py", "shuffled.py", "brittle.py"):
                (self._work / name).write_text((self._examples / name).read_text())

    def _refuse_bad_batch(self) -> None:
        with self._chapter("contract", "a batch with a bmi of 700 meets the data contract") as told:
            self._kernos("apps", "add", str(self._work / "app.py"))
            header = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progressed\n"
            (self._work / "bad.csv").write_text(f"{header}59,2,700,101,157,93.2,38,4,4.86,87,1\n")
            refusal = self._refusal(
                "ingest", str(self._work / "bad.csv"), "--name", "diabetes", "--app", "diabetes"
            )
            self.story.bad_batch_refused = bool(refusal)
            told(refusal.get("detail", "it was not refused"))

    def _first_build(self) -> None:
        with self._chapter("build", "ingest, 8 trials, train, gate, package, sign, deploy") as told:
            self.story.build = self._kernos("run", str(self._work / "app.py"))
            best = self.story.build["best"]
            told(f"best {_params(best)}; {self.story.build['package']} is live")
        self._out.print(_gates(self.story.build["verdicts"]))

    def _serve(self, patients: Patients) -> None:
        with self._chapter("serve", f"{BURST} patients ask the service") as told:
            patients.burst(BURST, lambda done: None)
            told(f"{patients.requests} requests, {patients.failed} failed")

    def _drift(self, patients: Patients) -> None:
        with self._chapter(
            "drift", "patients become 12 years older, 6 kg/m² heavier, 10 mmHg higher; labels come late"
        ) as told:
            before = self._service()
            self.story.rows_before_shift = (before.get("drift") or {}).get("rows", 0)
            self.story.rows_before_shift = max(self.story.rows_before_shift, patients.requests)
            patients.shift = older_and_heavier
            shifted_s = self._clock.monotonic_s()
            patients.start()
            service = self._until(
                DRIFT_DEADLINE_S, "the drift alarm", lambda s: bool((s.get("drift") or {}).get("alarm"))
            )
            self.story.drift = service["drift"]
            rows = self.story.drift["rows_to_alarm"] - self.story.rows_before_shift
            told(
                f"alarm {rows} rows after the shift; false alarms: at most one in {self.story.drift['e_bound']:,.0f} rows"
            )
        with self._chapter(
            "retrain", "the loop grows the data by the labelled rows and builds again, unasked"
        ) as told:
            service = self._until(DRIFT_DEADLINE_S, "the retrained version", lambda s: (s["live"] or 0) > 1)
            self.story.drift_to_live_s = self._clock.monotonic_s() - shifted_s
            self.story.retrained = True
            told(
                f"version {service['live']} is live {self.story.drift_to_live_s:.0f} s after the shift: {service['reason']}"
            )

    def _bad_models(self, patients: Patients) -> None:
        with self._chapter("refuse", "a model trained on shuffled labels meets the gate") as told:
            self.story.refused = self._refusal("run", str(self._work / "shuffled.py"))
            told(self.story.refused.get("detail", "it was not refused"))
        with self._chapter(
            "roll back", "a model that passes the gate and fails on patients of 100 meets the canary rule"
        ) as told:
            live = self._service()["live"]
            patients.shift = some_very_old
            self._kernos("run", str(self._work / "brittle.py"), "--detach")
            service = self._until(SWAP_DEADLINE_S, "the rollback", lambda s: s["phase"] == "rolled_back")
            self.story.rolled_back = service["live"] == live
            self.story.rollback_reason = service["reason"]
            told(f"version {live} stays live: {service['reason']}")

    def _look_back(self, patients: Patients) -> None:
        with self._chapter(
            "look back", "from one prediction to rows, code, gate and signer; the journal is verified"
        ) as told:
            self.story.requests, self.story.failed = patients.requests, patients.failed
            self.story.service = self._service()
            moves = self.story.service["history"]
            self.story.rescued = sum(move["payload"].get("rescued", 0) for move in moves)
            self.story.lineage = self._lineage(patients.last_prediction)
            self.story.audit = self._kernos("audit", "verify")
            lines = self._kernos("ls", "/data/diabetes")
            newest = next(line["newest"] for line in lines if line["path"] == "/data/diabetes")
            self.story.data_versions = [f"/data/diabetes@{version}" for version in range(1, newest + 1)]
            models = self._kernos("ls", "/models/diabetes")
            self.story.live = f"/models/diabetes@{models[0]['names']['live']}"
            told(f"{self.story.audit['size']} events, root {self.story.audit['root'][:16]}…")

    # The means

    def _patients(self) -> Patients:
        rows = json.loads((self._work / "rows.json").read_text())
        return Patients(need_kernel(self._home).plane_url, read_token(self._home), rows, per_s=PER_S)

    def _service(self) -> Said:
        service: Said = self._kernos("services", "diabetes")
        return service

    def _lineage(self, prediction: str) -> Said:
        """The log takes a prediction in within a few seconds."""
        deadline_s = self._clock.monotonic_s() + 15.0
        while True:
            code, said = self._command("lineage", f"pred:{prediction}")
            if code == 0:
                lineage: Said = said
                return lineage
            if self._clock.monotonic_s() > deadline_s:
                raise NotFoundError(f"Prediction {prediction} did not reach the log.", hint="kernos ps --all")
            self._pause.wait(0.5)

    def _until(self, limit_s: float, what: str, holds: Callable[[Said], bool]) -> Said:
        deadline_s = self._clock.monotonic_s() + limit_s
        while self._clock.monotonic_s() < deadline_s:
            service = self._service()
            if holds(service):
                return service
            self._pause.wait(0.3)
        raise DeadlineError(
            f"{what} did not come within {limit_s:.0f} s.", hint="kernos ps --all; kernos events"
        )

    def _refusal(self, *words: str) -> Said:
        """The problem document of a command that must be refused; empty if it was not."""
        code, said = self._command(*words)
        return {"detail": said.get("detail") or said.get("reason")} if code == _REFUSED else {}

    def _kernos(self, *words: str) -> Any:
        code, said = self._command(*words)
        if code:
            problem = said if isinstance(said, dict) else {}
            raise FailedError(
                f"kernos {' '.join(words)} failed: {problem.get('detail', said)}",
                hint=str(problem.get("hint", "")),
            )
        return said

    def _command(self, *words: str) -> tuple[int, Any]:
        command = [sys.executable, "-m", "kernos.cli.main", *words, "--home", str(self._home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return done.returncode, json.loads(done.stdout)
        except json.JSONDecodeError:
            return done.returncode, done.stdout + done.stderr

    def _chapter(self, name: str, what: str) -> _Chapter:
        return _Chapter(self._out, name, what, self._clock)


def _console(*, stderr: bool) -> Console:
    """Wide where nobody's terminal sets the width, so that nothing is cut in a log."""
    out = Console(stderr=stderr, highlight=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=200)


class _Chapter:
    """A line that says what is going on, then what came of it and how long it took."""

    def __init__(self, out: Console, name: str, what: str, clock: Clock) -> None:
        self._out = out
        self._name = name
        self._status = out.status(f"[bold]{name:<10}[/] {what}")
        self._what = what
        self._told = ""
        self._clock = clock
        self._started_s = clock.monotonic_s()

    def __enter__(self) -> Callable[[str], None]:
        self._status.start()
        return self._tell

    def _tell(self, text: str) -> None:
        self._told = text

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._status.stop()
        mark = "[red]✗[/]" if kind else "[green]✓[/]"
        seconds = self._clock.monotonic_s() - self._started_s
        self._out.print(f"{mark} [bold]{self._name:<10}[/] {self._what} [dim]{seconds:.1f} s[/]")
        if self._told:
            self._out.print(f"             [dim]{self._told}[/]")


def find_examples() -> Path:
    """The example App: beside the sources, or inside the installed package."""
    here = Path(__file__).resolve()
    for candidate in (here.parents[3] / "examples" / "diabetes", here.parents[1] / "examples" / "diabetes"):
        if (candidate / "app.py").exists():
            return candidate
    raise NotFoundError("The example App is not installed.", hint="Run the demo from a checkout: make demo.")


def summary(story: Story, console_url: str) -> Table:
    """What happened, for a person."""
    said = story.verdict()
    drift = said["drift"]
    table = Table(
        box=None, show_header=False, padding=(0, 2, 0, 0), title="What happened", title_justify="left"
    )
    table.add_column(style="dim")
    table.add_column()
    table.add_row("live", said["live"])
    table.add_row("data", " → ".join(said["data_versions"]))
    if drift["alarm"]:
        table.add_row(
            "drift",
            f"alarm after {drift['rows_to_alarm']} shifted rows, new version live in {story.drift_to_live_s:.0f} s",
        )
    table.add_row("bad model", str(story.refused.get("detail", "not refused")))
    table.add_row("brittle model", f"rolled back: {story.rollback_reason or 'no'}")
    table.add_row(
        "requests",
        f"{story.requests} sent, {story.failed} failed, {story.rescued} answered by the live version for a failing canary",
    )
    table.add_row("lineage", _lineage_lines(story.lineage))
    table.add_row(
        "journal", f"{story.audit.get('size')} events, {'verified' if said['audit_ok'] else 'NOT verified'}"
    )
    table.add_row("time", f"{story.seconds:.0f} s")
    if console_url:
        table.add_row("console", console_url)
    return table


def _lineage_lines(lineage: Said) -> str:
    """What stands behind one prediction, a role a line."""
    behind: dict[str, list[str]] = {}
    for edge in lineage.get("edges", []):
        source = _short(edge["source_ref"] or edge["source"])
        if source not in behind.setdefault(edge["role"], []):
            behind[edge["role"]].append(source)
    lines = [f"{role:<9} {', '.join(behind[role][:4])}" for role in _ROLES if role in behind]
    return "\n".join([f"{'from':<9} {lineage.get('root', '')}", *lines])


def _short(source: str) -> str:
    """A digest by its first twelve digits; a path or a name as it is."""
    digest = source.removeprefix("sha256:")
    return f"{digest[:12]}…" if len(digest) == 64 else source


def _gates(verdicts: list[Said]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 13), show_header=False)
    for verdict in verdicts:
        mark = "[green]PASS[/]" if verdict["passed"] else "[red]REFUSED[/]"
        value = "" if verdict["value"] is None else f"{verdict['value']:.3f}"
        low, high = verdict["low"], verdict["high"]
        interval = "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
        table.add_row(mark, verdict["rule"], value, interval, f"[dim]{verdict['note']}[/]")
    return table


def _params(best: Said) -> str:
    shown = ", ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in best.get("params", {}).items()
    )
    return shown or "parameters as given"
