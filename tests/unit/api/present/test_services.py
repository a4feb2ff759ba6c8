from __future__ import annotations

from typing import Any

import pytest

from kernos.api.present.services import accuracy_view, drift_view, service_stages
from kernos.catalog.records import DeploymentRecord, MonitorRecord
from kernos.runtime.wanted import Status, Traffic

LIVE = DeploymentRecord("a", 1, None, None, 0.0, "live", "first", 0, {})


def _monitor(**figures: Any) -> MonitorRecord:
    return MonitorRecord("a", 1, None, figures, False, 0)


def _status(requests: int = 0, failed: bool = False) -> Status:
    return Status(
        1,
        1,
        "http://p",
        failed=[("a", 1, "out of memory")] if failed else [],
        traffic=[Traffic("a", 1, requests)],
    )


@pytest.mark.parametrize(
    ("deployment", "status", "states"),
    [
        (None, None, ["idle", "idle", "idle"]),
        (LIVE, None, ["done", "failed", "waiting"]),
        (LIVE, _status(), ["done", "waiting", "waiting"]),
        (LIVE, _status(9), ["done", "running", "waiting"]),
        (LIVE, _status(9, failed=True), ["done", "failed", "waiting"]),
        (
            DeploymentRecord("a", 1, None, 2, 0.1, "canary", "", 0, {}),
            _status(),
            ["running", "waiting", "waiting"],
        ),
        (
            DeploymentRecord("a", 1, None, None, 0, "rolled_back", "errors", 0, {}),
            None,
            ["failed", "failed", "waiting"],
        ),
        (DeploymentRecord("a", 1, None, None, 0, "stopped", "", 0, {}), None, ["idle", "idle", "waiting"]),
    ],
)
def test_the_last_stages_follow_from_deployment_and_counters(
    deployment: DeploymentRecord | None, status: Status | None, states: list[str]
) -> None:
    assert [stage.state for stage in service_stages(deployment, None, status)] == states


def test_observing_tells_rows_and_alarm() -> None:
    quiet = _monitor(drift={"alarm": False, "rows": 1200})
    alarm = _monitor(drift={"alarm": True, "rows": 1300, "rows_to_alarm": 1250})

    assert service_stages(LIVE, quiet, None)[2].detail == "no drift in 1,200 rows"
    assert service_stages(LIVE, alarm, None)[2].detail == "drift after 1,250 rows"


def test_figures_become_views() -> None:
    column = {
        "column": "bmi",
        "test": "ks",
        "p_value": 0.001,
        "threshold": 0.005,
        "psi": 0.3,
        "drifted": True,
    }
    monitor = _monitor(
        drift={
            "alarm": True,
            "rows": 9,
            "e_value": 2.0,
            "e_bound": 1e4,
            "rows_to_alarm": 8,
            "columns": [column],
        },
        accuracy={"value": 0.7, "low": 0.6, "high": 0.8, "rows": 90},
    )

    drift, accuracy = drift_view(monitor), accuracy_view(monitor)

    assert drift is not None
    assert drift.columns[0].column == "bmi"
    assert accuracy is not None
    assert (accuracy.value, accuracy.rows) == (0.7, 90)
    assert drift_view(None) is None
    assert accuracy_view(_monitor()) is None
