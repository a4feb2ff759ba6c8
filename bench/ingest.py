"""CSV into a versioned dataset, beside pandas `read_csv` and `to_parquet`, in one run.

    python bench/ingest.py [--megabytes 64 256 1024] [--rounds 3] [--peer-venv pandas=DIR] [--folder DIR]

Kernos does more than pandas here: SHA-256 of the source, the shape of every line, a contract on four columns, statistics,
content-addressed parts, fsync. Each run is a process of its own; the figures are its wall time from the first call to
the last, without imports, its CPU time and its peak resident memory. Runs alternate; Kernos runs twice a round, as A
and B, and their ratio is the noise. The best round counts. The file was just written, so the disk is warm for all.

Without `--peer-venv` pandas and pyarrow are this environment's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import Arguments, Goal, fingerprint, noise, peer_pythons, show, show_goals, versions, write

CHUNK_ROWS = 100_000
KERNOS = """
import sys, time
from pathlib import Path
from kernos.catalog.blobs import FileBlobs
from kernos.data.ingest import ingest
from kernos.spec.manifest import Column
source, folder = Path(sys.argv[1]), Path(sys.argv[2])
contract = [
    Column("id", "int", low=0), Column("age", "int", low=0, high=120),
    Column("score", "float", low=0, high=1), Column("city", "str", members=["Lagos", "Oslo", "Paris", "São Paulo"]),
]
start = time.perf_counter()
manifest = ingest(source, contract, FileBlobs(folder / "blobs"), folder)
print(time.perf_counter() - start, manifest.rows, manifest.size_bytes, end=" ")
"""
PANDAS = """
import sys, time
from pathlib import Path
import pandas
source, target = Path(sys.argv[1]), Path(sys.argv[2]) / "table.parquet"
start = time.perf_counter()
frame = pandas.read_csv(source, parse_dates=["seen"])
frame.to_parquet(target, compression="zstd")
print(time.perf_counter() - start, len(frame), target.stat().st_size, end=" ")
"""
PEAK = """
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
"""Of this program alone: `ru_maxrss` would count what its parent held when it was forked."""

CAVEATS = [
    "Kernos does more: SHA-256 of the source, a contract, statistics, content addresses, fsync. pandas does none of it.",
    "The best of the rounds counts for both; imports are not in it.",
]


@dataclass(frozen=True)
class Measured:
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    rows: int
    stored_bytes: int


def chunks(megabytes: int) -> Iterator[str]:
    random, size, first = np.random.default_rng(0), 0, 0
    while size < megabytes * 1_000_000:
        frame = pl.DataFrame(
            {
                "id": np.arange(first, first + CHUNK_ROWS),
                "age": random.integers(18, 90, CHUNK_ROWS),
                "score": random.random(CHUNK_ROWS),
                "x": random.normal(size=CHUNK_ROWS),
                "y": random.normal(size=CHUNK_ROWS).round(3),
                "city": random.choice(["Lagos", "Oslo", "Paris", "São Paulo"], CHUNK_ROWS),
                "seen": np.datetime64("2024-01-01T00:00:00", "us")
                + random.integers(0, 10**7, CHUNK_ROWS).astype("timedelta64[s]"),
                "paid": random.random(CHUNK_ROWS) < 0.5,
                "income": random.lognormal(10, 1, CHUNK_ROWS).round(2),
            }
        )
        text = frame.write_csv(include_header=first == 0, datetime_format="%Y-%m-%d %H:%M:%S")
        first, size = first + CHUNK_ROWS, size + len(text.encode())
        yield text


def measure(python: str, program: str, source: Path) -> Measured:
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        child = subprocess.Popen(
            [python, "-c", program + PEAK, source, folder], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        answer = child.stdout.read().split()
        child.stdout.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"A run failed with exit code {child.returncode}.")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Measured(float(answer[0]), cpu_s, int(answer[3]) * 1024, int(answer[1]), int(answer[2]))


def compare(source: Path, rounds: int, peer: str) -> dict[str, Any]:
    runs: dict[str, list[Measured]] = {"kernos A": [], "pandas": [], "kernos B": []}
    for _ in range(rounds):
        for name, measured in runs.items():
            program, python = (PANDAS, peer) if name == "pandas" else (KERNOS, sys.executable)
            measured.append(measure(python, program, source))
    ours = [*runs["kernos A"], *runs["kernos B"]]
    best_s = min(run.wall_s for run in ours)
    return {
        "source_bytes": source.stat().st_size,
        "kernos_s": best_s,
        "pandas_s": min(run.wall_s for run in runs["pandas"]),
        "wall_ratio_pandas_over_kernos": min(run.wall_s for run in runs["pandas"]) / best_s,
        "cpu_ratio_pandas_over_kernos": min(run.cpu_s for run in runs["pandas"])
        / min(run.cpu_s for run in ours),
        "noise": noise([run.wall_s for run in runs["kernos A"]], [run.wall_s for run in runs["kernos B"]]),
        "megabytes_per_s": source.stat().st_size / 1e6 / best_s,
        "peak_rss_bytes_kernos": max(run.peak_rss_bytes for run in ours),
        "peak_rss_bytes_pandas": max(run.peak_rss_bytes for run in runs["pandas"]),
        "stored_ratio_kernos_over_pandas": ours[0].stored_bytes / runs["pandas"][0].stored_bytes,
        "runs": {name: [asdict(run) for run in measured] for name, measured in runs.items()},
    }


def main() -> int:
    parser = Arguments(__doc__, "ingest", rounds=3, peers=["pandas"])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--folder", type=Path, help="where the files lie; a temporary folder without it")
    given = parser.parse_args()
    machine = fingerprint()
    peer = peer_pythons(given.peer_venv, ["pandas"])[0].get("pandas", Path(sys.executable))
    sizes: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for megabytes in given.megabytes:
            source = Path(folder) / f"{megabytes}.csv"
            with source.open("w", encoding="utf-8") as file:
                file.writelines(chunks(megabytes))
            sizes[megabytes] = compare(source, given.rounds, str(peer))
            source.unlink()
    report(given.out, machine, sizes, versions(["kernos", "polars"], {"pandas": peer}))
    return 0


def report(
    out: Path, machine: dict[str, object], sizes: dict[int, dict[str, Any]], found: dict[str, str]
) -> None:
    show(
        ["", "kernos s", "pandas s", "pandas/kernos", "A/B", "MB/s", "kernos RSS MB", "pandas RSS MB"],
        [
            (
                f"{megabytes} MB",
                f"{told['kernos_s']:.2f}",
                f"{told['pandas_s']:.2f}",
                f"{told['wall_ratio_pandas_over_kernos']:.2f}",
                told["noise"]["a_over_b"],
                f"{told['megabytes_per_s']:.0f}",
                f"{told['peak_rss_bytes_kernos'] / 1e6:.0f}",
                f"{told['peak_rss_bytes_pandas'] / 1e6:.0f}",
            )
            for megabytes, told in sizes.items()
        ],
    )
    goals = []
    for megabytes, told in sizes.items():
        ratio, rss_mb = told["wall_ratio_pandas_over_kernos"], told["peak_rss_bytes_kernos"] / 1e6
        goals.append(Goal(f"{megabytes} MB: speed, in pandas' own", ">= 1", f"{ratio:.2f}", ratio >= 1))
        goals.append(Goal(f"{megabytes} MB: peak memory", "<= 500 MB", f"{rss_mb:.0f} MB", rss_mb <= 500))
    show_goals(goals)
    result = {
        "versions": found,
        "caveats": CAVEATS,
        "noise": {f"{megabytes} MB": told["noise"] for megabytes, told in sizes.items()},
        "goals": [asdict(goal) for goal in goals],
        "sizes": {f"{megabytes} MB": told for megabytes, told in sizes.items()},
    }
    write(out, result, machine=machine)


if __name__ == "__main__":
    sys.exit(main())
