"""What an exit means, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernos.base.errors import RefusedError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel import lifecycle, outcome
from kernos.kernel.folder import Result
from kernos.kernel.run import Exit, RunSpec


@pytest.fixture
def record(store: SqlStore, spec: Callable[..., RunSpec]) -> RunRecord:
    return store.write(lambda tx: lifecycle.queue(tx, spec(wall_s=90.0), KernelSettings(), 2**30))


@pytest.mark.parametrize(
    ("exit_", "state", "reason"),
    [
        ({"code": 3}, "failed", "It exited with 3 and left no result."),
        ({"signal": 11}, "failed", "It died by SIGSEGV."),
        ({"signal": 64}, "failed", "It died by SIGRTMAX."),
        ({"signal": 99}, "failed", "It died by signal 99."),
        ({"signal": 9, "reason": "memory"}, "failed", "memory: it used more than 1.0 GiB and was killed."),
        ({"signal": 9, "reason": "time"}, "failed", "time: it ran longer than 90.0 s and was killed."),
        ({"signal": 9, "reason": "processes"}, "failed", "processes: it had more than 64 and was killed."),
        ({"reason": "lost"}, "lost", "lost: the process that ran it is gone."),
        ({"signal": 9, "reason": "stopped"}, "lost", "lost: the process that ran it is gone."),
    ],
)
def test_an_exit_without_result(record: RunRecord, exit_: dict[str, Any], state: str, reason: str) -> None:
    finding = outcome.judge(record, Exit(record.id, 1, **exit_), None, 64)

    assert (finding.outcome, finding.reason) == (state, reason)
    assert finding.state == "failed"
    assert finding.result["error"]["detail"] == reason
    assert finding.result["error"]["hint"]


def test_a_whole_result_counts_however_the_process_ended(record: RunRecord) -> None:
    exit_ = Exit(record.id, 1, signal=9, reason="time", cpu_s=1.0, peak_rss_bytes=5, wall_s=2.0, log_bytes=7)

    finding = outcome.judge(record, exit_, Result(1, ok={"a": 1}), 64)

    assert (finding.outcome, finding.state, finding.result) == ("done", "done", {"a": 1})
    assert finding.usage == {"cpu_s": 1.0, "peak_rss_bytes": 5.0, "wall_s": 2.0, "log_bytes": 7.0}


def test_a_problem_becomes_the_reason(record: RunRecord) -> None:
    finding = outcome.judge(record, Exit(RunId(1), 1, code=1), Result(1, error={"detail": "no rows"}), 64)

    assert (finding.outcome, finding.reason, finding.result) == (
        "failed",
        "no rows",
        {"error": {"detail": "no rows"}},
    )


def test_a_result_that_could_not_be_taken_fails_the_run(record: RunRecord) -> None:
    finding = outcome.judge(record, Exit(record.id, 1, code=0, cpu_s=1.0), Result(1, ok={}), 64)

    failed = outcome.failed(finding, RefusedError("no"))

    assert (failed.outcome, failed.reason, failed.usage) == ("failed", "no", finding.usage)
