"""Why a Run is in its state: the nearest cause first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.store import SqlStore
from kernos.kernel import lifecycle
from kernos.kernel.run import RunSpec, Why
from kernos.kernel.why import explain

Spec = Callable[..., RunSpec]


def why(store: SqlStore, run: RunId) -> Why:
    with store.read() as reader:
        return explain(reader, run, lambda waiting: "waits for 1.0 cpu")


def queue(store: SqlStore, spec: RunSpec) -> RunId:
    return store.write(lambda tx: lifecycle.queue(tx, spec, KernelSettings(), 2**30)).id


def end(store: SqlStore, run: RunId, state: Any, reason: str) -> None:
    store.write(lambda tx: lifecycle.end(tx, lifecycle.find(tx, run), state, reason, {}))


def test_a_failed_run_is_traced_to_the_child_that_failed(store: SqlStore, spec: Spec) -> None:
    build = queue(store, spec("nightly", kind="build", entry=""))
    step = queue(store, spec(parent=build))
    end(store, step, "failed", "ValueError: no rows")
    end(store, build, "failed", "its step failed")

    assert why(store, build) == Why(
        [
            "run 1 (build nightly) is failed: its step failed",
            "run 2 (step train) is failed: ValueError: no rows",
        ],
        "kernos logs 2",
    )


def test_a_queued_run_says_what_it_waits_for(store: SqlStore, spec: Spec) -> None:
    run = queue(store, spec())

    assert why(store, run) == Why(
        ["run 1 (step train) is queued: waits for 1.0 cpu"], "kernos nice 1 interactive"
    )


def test_a_done_run_needs_no_next_command(store: SqlStore, spec: Spec) -> None:
    run = queue(store, spec())
    end(store, run, "done", "done")

    assert why(store, run) == Why(["run 1 (step train) is done"], "")
