"""What an exit means for its Run: done with a result, failed with a problem and a reason in words, or lost.
Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from kernos.base.errors import FailedError, KernosError, LimitError, UnavailableError, to_problem
from kernos.base.units import show_bytes, show_seconds
from kernos.catalog.records import RunRecord, RunState
from kernos.kernel.folder import Result
from kernos.kernel.run import Exit
from kernos.kernel.scheduler import Outcome


@dataclass(frozen=True, slots=True)
class Finding:
    outcome: Outcome
    reason: str
    result: dict[str, Any]
    """What the worker returned, or `{"error": problem}`."""
    usage: dict[str, float]

    @property
    def state(self) -> RunState:
        """The Run's, where this was its last attempt."""
        return "done" if self.outcome == "done" else "failed"


def judge(record: RunRecord, exit_: Exit, result: Result | None, process_limit: int) -> Finding:
    """A whole result counts, however its process ended afterwards."""
    usage = {
        "cpu_s": round(exit_.cpu_s, 6),
        "peak_rss_bytes": float(exit_.peak_rss_bytes),
        "wall_s": round(exit_.wall_s, 6),
        "log_bytes": float(exit_.log_bytes),
    }
    if result is not None and result.ok is not None:
        return Finding("done", "done", result.ok, usage)
    if result is not None and result.error is not None:
        return Finding("failed", str(result.error.get("detail", "failed")), {"error": result.error}, usage)
    error = _error(record, exit_, process_limit)
    outcome: Outcome = "lost" if exit_.reason in {"lost", "stopped"} else "failed"
    return Finding(outcome, error.message, {"error": to_problem(error)}, usage)


def failed(finding: Finding, error: KernosError) -> Finding:
    """The same end, where its result could not be taken."""
    return Finding("failed", error.message, {"error": to_problem(error)}, finding.usage)


def _error(record: RunRecord, exit_: Exit, process_limit: int) -> KernosError:
    logs = f"kernos logs {record.id}"
    match exit_.reason:
        case "memory":
            limit = show_bytes(record.memory_bytes)
            return LimitError(
                f"memory: it used more than {limit} and was killed.", hint="Ask for more: memory='4GiB'."
            )
        case "time":
            limit = show_seconds(record.wall_s)
            return LimitError(
                f"time: it ran longer than {limit} and was killed.", hint="Ask for more: time='2h'."
            )
        case "processes":
            return LimitError(f"processes: it had more than {process_limit} and was killed.", hint=logs)
        case "lost" | "stopped":
            return UnavailableError("lost: the process that ran it is gone.", hint="kernos doctor")
    if exit_.signal is not None:
        return FailedError(f"It died by {_signal_name(exit_.signal)}.", hint=logs)
    return FailedError(f"It exited with {exit_.code} and left no result.", hint=logs)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
