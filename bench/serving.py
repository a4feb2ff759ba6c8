"""CPU time per request of the data plane and of its peers, side by side in one run.

    python bench/serving.py [--seconds 5] [--rounds 3] [--peer-venv bentoml=DIR] [--peer-venv mlserver=DIR]

Model: gradient boosting, 100 trees, 30 features, fitted on scikit-learn's breast cancer data, as ONNX.
Load: wrk, one thread, 64 connections, one row a request. The server is pinned to core 0, wrk to core 1.
The figure is the CPU time (user + system) of the server's whole process tree in the load window, divided
by the requests that were answered; Kernos has token check, counters and prediction log on. Servers
alternate within each round; Kernos runs twice a round, as A and B, and their ratio is the noise. The best
round counts. Peers whose environment is not given are skipped.

A peer's environment: `pip install bentoml==1.4.39 onnxruntime` or `pip install mlserver==1.7.1 onnxruntime`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import polars as pl
from machine import (
    Arguments,
    Goal,
    fingerprint,
    free_port,
    memory,
    noise,
    peer_pythons,
    show,
    show_goals,
    tree,
    tree_cpu_s,
    versions,
    write,
)
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

from kernos.base.digests import of_bytes
from kernos.models.package import PackageManifest, seal, statement
from kernos.runtime.convert import to_onnx
from kernos.runtime.signature import Signature
from kernos.runtime.wanted import Caller, Revision, Route, Wanted
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

TOKEN = "kernos_bench"
CONNECTIONS = 64
START_S = 90.0
PEERS = Path(__file__).with_name("peers")
"""The servers that run in the peers' environments."""
SERVERS = ("mlserver", "bentoml")
PACKAGES = ("kernos", "onnxruntime", "uvloop", "httptools", "msgspec", "numpy", "skl2onnx", "scikit-learn")
CAVEATS = [
    "wrk takes the other core of two; requests per second and latency depend on it, CPU time per request hardly.",
    "A small model: what a request costs around the model, not in it. Kernos checks a token, counts and logs; peers do not.",
    "PSS is smaller where other processes map the same libraries.",
]


@dataclass(frozen=True)
class Window:
    server: str
    cpu_us_per_request: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int
    pss_mib: float
    first_answer_s: float


@dataclass(frozen=True)
class Target:
    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    path: str
    body: bytes
    folder: Path
    expected: float
    """A number that a right answer holds."""


def main() -> int:
    parser = Arguments(__doc__, "serving", rounds=3, peers=SERVERS)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    machine = fingerprint()
    pythons, skipped = peer_pythons(given.peer_venv, SERVERS)
    with tempfile.TemporaryDirectory() as name:
        targets = prepare(Path(name), pythons)
        windows = [measure(target, given.seconds) for _ in range(given.rounds) for target in targets]
    report(given.out, machine, windows, skipped, versions(PACKAGES, pythons))
    return 0 if all(window.errors == 0 for window in windows) else 1


def prepare(folder: Path, pythons: dict[str, Path]) -> list[Target]:
    """The servers to measure, in the order of a round."""
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    model = GradientBoostingClassifier(n_estimators=100, random_state=0).fit(data.data, data.target)
    converted = to_onnx(model, pl.DataFrame(data.data[:5], schema=names))
    row = data.data[:1].astype(np.float32)
    spec = converted.signature.inputs[0]
    tensor = {"name": spec.name, "shape": [1, 30], "datatype": "FP32", "data": row[0].tolist()}
    infer = json.dumps({"inputs": [tensor]}).encode()
    (folder / "model.onnx").write_bytes(converted.onnx)
    right = reference(converted.onnx, row)
    targets = [
        kernos(folder / name, converted.onnx, converted.signature, infer, right)
        for name in ("kernos", "kernos B")
    ]
    for name, python in pythons.items():
        targets.insert(1, peer(name, python, folder, infer, row, right))
    return targets


def kernos(home: Path, onnx: bytes, signature: Signature, body: bytes, right: float) -> Target:
    """A home with one signed package, served by `kernos.serve.plane`."""
    key = SigningKey.load_or_create(home / "keys")
    digest = of_bytes(onnx)
    manifest = PackageManifest(
        1, "tiny", digest, signature, "target", digest, [], 0, {}, {}, version("kernos")
    )
    files = dict.fromkeys(("gates.json", "lineage.json", "reference.json", "replay.json"), b"{}")
    files |= {"card.md": b"# tiny\n", "model.onnx": onnx, "manifest.json": msgspec.json.encode(manifest)}
    envelope = sign_statement(
        statement({name: of_bytes(data) for name, data in files.items()}, manifest), key
    )
    package = home / "tiny.kpkg"
    sealed = seal(package, files, envelope)
    wanted = Wanted(
        generation=1,
        revisions=[Revision("tiny", 1, str(package), sealed)],
        routes=[Route("tiny", 1)],
        callers=[Caller("bench", hashlib.sha256(TOKEN.encode()).hexdigest())],
        trusted_keys=[key.public_pem],
    )
    (home / "plane").mkdir(parents=True)
    (home / "plane" / "wanted.json").write_bytes(msgspec.json.encode(wanted))
    port = free_port()
    command = [sys.executable, "-m", "kernos.serve.plane", "--home", str(home), "--port", str(port)]
    return Target(home.name, command, {}, port, "/v2/models/tiny/infer", body, home, right)


def peer(name: str, python: Path, folder: Path, infer: bytes, row: np.ndarray, right: float) -> Target:
    """A peer at its best for one core: one process, batching on where it has it, logs off."""
    port = free_port()
    place = folder / name
    place.mkdir()
    environment = {
        "MODEL": str(folder / "model.onnx"),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(place),
    }
    if name == "bentoml":
        command = [str(python), "-m", "bentoml", "serve", "bento_service:Tiny", "--api-workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(PEERS)]
        body = json.dumps({"rows": row.tolist()}).encode()
        environment |= {"BENTOML_HOME": str(place), "BENTOML_DO_NOT_TRACK": "True"}
        return Target(name, command, environment, port, "/predict", body, place, right)
    settings: dict[str, object] = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    (place / "settings.json").write_text(json.dumps(settings | {"use_structured_logging": False}))
    model = {
        "name": "tiny",
        "implementation": "mlserver_model.Tiny",
        "max_batch_size": 64,
        "max_batch_time": 0.001,
    }
    (place / "model-settings.json").write_text(json.dumps(model))
    environment["PYTHONPATH"] = str(PEERS)
    command = [str(python.parent / "mlserver"), "start", str(place)]
    return Target(name, command, environment, port, "/v2/models/tiny/infer", infer, place, right)


def measure(target: Target, seconds: float) -> Window:
    with running(target) as (process, first_answer_s):
        load(target, 2.0)
        before_s = tree_cpu_s(process.pid)
        told = load(target, seconds)
        cpu_s = tree_cpu_s(process.pid) - before_s
        held = memory(tree(process.pid))
    window = Window(
        target.name,
        cpu_us_per_request=round(cpu_s * 1e6 / told["requests"], 2),
        requests_per_s=round(told["requests"] / told["seconds"], 1),
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        requests=int(told["requests"]),
        errors=int(told["errors"]),
        pss_mib=round(held.pss_bytes / 2**20, 1),
        first_answer_s=first_answer_s,
    )
    print(window, file=sys.stderr)
    return window


@contextmanager
def running(target: Target) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The server on core 0, and the seconds to its first good answer."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    start_s = time.monotonic()
    with (target.folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *target.command],
            env={**os.environ, **threads, **target.environment},
            cwd=target.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while not answers(target):
            if process.poll() is not None or time.monotonic() - start_s > START_S:
                raise SystemExit(
                    f"{target.name} does not start:\n{(target.folder / 'server.log').read_text()[-3000:]}"
                )
            time.sleep(0.05)
        yield process, round(time.monotonic() - start_s, 2)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(target: Target) -> bool:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"http://127.0.0.1:{target.port}{target.path}", target.body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            told = json.load(answer)
    except (OSError, http.client.HTTPException):
        return False
    if not any(abs(number - target.expected) < 1e-5 for number in numbers(told)):
        raise SystemExit(f"{target.name} answers wrongly: {told}")
    return True


def load(target: Target, seconds: float) -> dict[str, float]:
    """One window of wrk on core 1."""
    (target.folder / "body.json").write_bytes(target.body)
    script = Path(__file__).with_name("serving.lua")
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script)]
    command += [f"http://127.0.0.1:{target.port}{target.path}", "--", str(target.folder / "body.json"), TOKEN]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def report(
    out: Path,
    machine: dict[str, object],
    windows: list[Window],
    skipped: dict[str, str],
    found: dict[str, str],
) -> None:
    """The best window of each server, and how far our own two lie apart."""
    best: dict[str, Window] = {}
    for window in windows:
        if window.server not in best or window.cpu_us_per_request < best[window.server].cpu_us_per_request:
            best[window.server] = window
    ours = min(best["kernos"].cpu_us_per_request, best["kernos B"].cpu_us_per_request)
    show(
        ["", "CPU us", "/kernos", "requests/s", "p50 ms", "p99 ms", "errors", "PSS MiB", "first answer s"],
        [
            (
                name,
                f"{window.cpu_us_per_request:.1f}",
                f"{window.cpu_us_per_request / ours:.1f}",
                f"{window.requests_per_s:.0f}",
                window.p50_ms,
                window.p99_ms,
                window.errors,
                window.pss_mib,
                window.first_answer_s,
            )
            for name, window in best.items()
        ],
    )
    goals = [Goal("CPU time per request", "<= 40 us", f"{ours:.1f} us", ours <= 40)]
    show_goals(goals)
    cpu_us = {
        name: [w.cpu_us_per_request for w in windows if w.server == name] for name in ("kernos", "kernos B")
    }
    result = {
        "versions": found,
        "caveats": CAVEATS,
        "skipped": skipped,
        "noise": noise(cpu_us["kernos"], cpu_us["kernos B"]),
        "goals": [asdict(goal) for goal in goals],
        "best": {name: asdict(window) for name, window in best.items()},
        "cpu_ratios": {
            name: round(window.cpu_us_per_request / ours, 2)
            for name, window in best.items()
            if not name.startswith("kernos")
        },
        "windows": [asdict(window) for window in windows],
    }
    write(out, result, machine=machine)


def reference(onnx: bytes, row: np.ndarray) -> float:
    """The probability that the model gives outside any server."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return float(session.run(["probabilities"], {"input": row})[0][0, 1])


def numbers(value: object) -> Iterator[float]:
    """Every number in a JSON value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)


if __name__ == "__main__":
    sys.exit(main())
