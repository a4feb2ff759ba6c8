"""What every measurement shares: its arguments, the machine it ran on, its noise, and the file it leaves."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kernos.base.clock import SystemClock, iso
from kernos.base.processes import cpu_seconds

RESULTS = Path(__file__).parent / "results"


class Arguments(argparse.ArgumentParser):
    """`--rounds`, `--out` and, where there are peers, `--peer-venv NAME=DIR`; a script adds its own."""

    def __init__(self, doc: str | None, name: str, *, rounds: int, peers: Sequence[str] = ()) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--rounds", type=int, default=rounds)
        self.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
        if peers:
            known = ", ".join(peers)
            self.add_argument(
                "--peer-venv",
                action="append",
                default=[],
                metavar="NAME=DIR",
                help=f"a peer's environment; {known}",
            )


def peer_pythons(given: Iterable[str], names: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each peer that has an environment, and why the others are skipped."""
    venvs = dict(text.split("=", 1) for text in given)
    if unknown := venvs.keys() - set(names):
        raise SystemExit(f"No such peer: {', '.join(sorted(unknown))}. Known: {', '.join(names)}.")
    pythons, skipped = {}, {}
    for name in names:
        python = Path(venvs.get(name, "")) / "bin" / "python"
        if name in venvs and python.exists():
            pythons[name] = python
        else:
            skipped[name] = "no environment given: see --peer-venv"
    return pythons, skipped


def versions(packages: Sequence[str], peers: Mapping[str, Path] | None = None) -> dict[str, str]:
    """Of our packages, and of each peer in its own environment."""
    found = {name: metadata.version(name) for name in packages}
    for name, python in (peers or {}).items():
        program = f"from importlib.metadata import version; print(version({name!r}))"
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
        found[name] = done.stdout.strip()
    return found


def fingerprint() -> dict[str, object]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    release = re.match(r"[\d.]+", platform.release())
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "linux": release.group() if release else platform.system(),
        "python": platform.python_version(),
        "load_1_5_15_min": os.getloadavg(),
    }


def repeat(arguments: Sequence[str]) -> str:
    """The command that measures the same again, with its folders left for the reader to fill in."""
    script, *rest = arguments
    words = ["python", f"bench/{Path(script).name}"]
    for word in rest:
        if words[-1] == "--out":
            words.pop()
            continue
        name, equals, value = word.rpartition("=")
        words.append(f"{name}{equals}DIR" if value.startswith(("/", "~", ".")) else word)
    return " ".join(words)


@dataclass(frozen=True)
class Goal:
    what: str
    target: str
    measured: str
    met: bool


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def noise(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """How far two series of the same thing lie apart: the ratio of their medians, and the spread of all."""
    every = [*a, *b]
    return {
        "a_over_b": round(middle(a) / middle(b), 3),
        "worst_over_best": round(max(every) / min(every), 3),
    }


def write(out: Path, result: Mapping[str, Any], *, machine: Mapping[str, object]) -> None:
    """`machine`: the fingerprint taken before the work, so that its load is the load of others."""
    told = {"at": iso(SystemClock().wall_ms()), "repeat": repeat(sys.argv), "machine": machine, **result}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=1) + "\n")


def show(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, its first column to the left and the others to the right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells[1:]]).rstrip())


def show_goals(goals: Sequence[Goal]) -> None:
    print()
    show(
        ["goal", "target", "measured", "met?"],
        [[goal.what, goal.target, goal.measured, "yes" if goal.met else "NO"] for goal in goals],
    )


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def tree_cpu_s(root: int) -> float:
    """User and system time of a process tree, with what its ended children took."""
    total_s = 0.0
    for pid in tree(root):
        total_s += cpu_seconds(pid)
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total_s += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total_s


@dataclass(frozen=True)
class Memory:
    """Of several processes together."""

    processes: int
    pss_bytes: int
    """What the system charges them: smaller while others map the same libraries."""
    alone_bytes: int
    """What they would be charged on a machine of their own: each shared file page once, in full."""
    rss_bytes: int


def memory(pids: Iterable[int]) -> Memory:
    processes = pss = rss = anonymous = 0
    files: dict[tuple[str, str], int] = {}
    for pid in pids:
        try:
            rollup = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
            mappings = list(_mappings(Path(f"/proc/{pid}/smaps").read_text()))
        except OSError:
            continue
        processes += 1
        pss, rss = pss + rollup["Pss"], rss + rollup["Rss"]
        anonymous += rollup["Pss_Anon"]
        for place, fields in mappings:
            files[place] = max(files.get(place, 0), fields["Rss"] - fields["Anonymous"])
    return Memory(processes, pss * 1024, (anonymous + sum(files.values())) * 1024, rss * 1024)


def _mappings(smaps: str) -> Iterable[tuple[tuple[str, str], dict[str, int]]]:
    """(file, offset) and figures of each mapping of a file."""
    heads = list(re.finditer(r"^[0-9a-f]+-[0-9a-f]+ \S+ (\S+) \S+ (\d+) *(.*)$", smaps, re.MULTILINE))
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        offset, inode, path = head.groups()
        if inode != "0":
            yield (path, offset), _fields(smaps[head.end() : after.start() if after else None])


def _fields(text: str) -> dict[str, int]:
    """`Pss:   12 kB` as figures in kB."""
    return {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
