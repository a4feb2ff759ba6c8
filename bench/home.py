"""A home with a kernel of its own, driven by the public commands, and gone at the end."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

KERNOS = [str(Path(sys.executable).with_name("kernos"))]
EXAMPLE = Path(__file__).parents[1] / "examples" / "diabetes"


@dataclass(frozen=True)
class Timed:
    """A command that ended well."""

    wall_s: float
    cpu_s: float
    """Of the command's own process; the kernel's is not in it."""
    said: Any


class Home:
    """`with Home() as home`: a fresh folder; whatever kernel runs there at the end is stopped."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="kernos-bench-"))

    def __enter__(self) -> Home:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("down", "--yes")
        shutil.rmtree(self.path, ignore_errors=True)

    def kernos(self, *words: str) -> Timed:
        """A command that must succeed; its JSON and what it cost."""
        before_s, started_s = _children_cpu_s(), time.perf_counter()
        done = self._call(*words)
        wall_s, cpu_s = time.perf_counter() - started_s, _children_cpu_s() - before_s
        if done.returncode:
            raise SystemExit(f"kernos {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
        return Timed(wall_s, cpu_s, json.loads(done.stdout))

    def kernel_pid(self) -> int:
        return int(json.loads((self.path / "kernel.json").read_text())["pid"])

    def plane_url(self) -> str:
        return str(json.loads((self.path / "kernel.json").read_text())["plane_url"])

    def token(self) -> str:
        return (self.path / "token").read_text().strip()

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*KERNOS, *words, "--home", str(self.path), "--json"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
