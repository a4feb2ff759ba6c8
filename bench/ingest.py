"""CSV into a versioned dataset, beside pandas `read_csv` and `to_parquet`, in one run.

    python bench/ingest.py [--megabytes 256 1024] [--rounds 3] [--peer-python PYTHON]

Kernos does more than pandas here: SHA-256 of the source, the shape of every line, a contract on four columns, statistics,
content-addressed parts, fsync. Each run is a process of its own; the figures are its wall time from the first call to
the last, without imports, its CPU time and its peak resident memory. Runs alternate; Kernos runs twice a round, as A
and B, and their ratio is the noise. The best round counts. The file was just written, so the disk is warm for all.

`--peer-python` is a Python that has pandas and pyarrow; the default is this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from kernos.base.clock import SystemClock, iso

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


def compare(source: Path, rounds: int, peer: str) -> dict[str, object]:
    runs: dict[str, list[Measured]] = {"kernos A": [], "pandas": [], "kernos B": []}
    for _ in range(rounds):
        for name, measured in runs.items():
            program, python = (PANDAS, peer) if name == "pandas" else (KERNOS, sys.executable)
            measured.append(measure(python, program, source))
    best = {name: min(run.wall_s for run in measured) for name, measured in runs.items()}
    ours = [run for name in ("kernos A", "kernos B") for run in runs[name]]
    return {
        "source_bytes": source.stat().st_size,
        "wall_ratio_pandas_over_kernos": best["pandas"] / min(best["kernos A"], best["kernos B"]),
        "noise_a_over_b": best["kernos A"] / best["kernos B"],
        "megabytes_per_s": source.stat().st_size / 1e6 / min(best["kernos A"], best["kernos B"]),
        "peak_rss_bytes_kernos": max(run.peak_rss_bytes for run in ours),
        "peak_rss_bytes_pandas": max(run.peak_rss_bytes for run in runs["pandas"]),
        "stored_ratio_kernos_over_pandas": ours[0].stored_bytes / runs["pandas"][0].stored_bytes,
        "runs": {name: [asdict(run) for run in measured] for name, measured in runs.items()},
    }


def machine() -> dict[str, object]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "polars": version("polars"),
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the files lie; a temporary folder by default"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ingest.json")
    options = parser.parse_args()
    peer = subprocess.run(
        [options.peer_python, "-c", "import pandas, pyarrow; print(pandas.__version__, pyarrow.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    sizes = " ".join(map(str, options.megabytes))
    result: dict[str, object] = {
        "at": iso(SystemClock().wall_ms()),
        "command": f"python bench/ingest.py --megabytes {sizes} --rounds {options.rounds}",
        "machine": machine() | {"pandas": peer[0], "pyarrow": peer[1]},
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for megabytes in options.megabytes:
            source = Path(folder) / f"{megabytes}.csv"
            with source.open("w", encoding="utf-8") as file:
                file.writelines(chunks(megabytes))
            result[f"{megabytes} MB"] = told = compare(source, options.rounds, options.peer_python)
            source.unlink()
            print(f"{megabytes} MB:", json.dumps({k: v for k, v in told.items() if k != "runs"}, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
