"""The main job: one command, the whole loop, unattended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_the_demo_tells_that_all_of_it_came_true(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernos.cli.main", "demo", "--home", str(tmp_path / "home"), "--json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)

    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["data_versions"] == ["/data/diabetes@1", "/data/diabetes@2"]
    assert said["live"] == "/models/diabetes@2"
    assert {gate["rule"] for gate in said["gates"]} >= {
        "accuracy >= 0.65",
        "parity_gap(sex) <= 0.3",
        "not worse than live",
    }
    assert all(gate["passed"] for gate in said["gates"])
    assert said["drift"]["alarm"]
    assert said["drift"]["rows_to_alarm"] > 0
    assert said["drift"]["bound"] >= 10_000
    for name in ("bad_batch_refused", "retrained", "refused_bad_model", "rolled_back", "audit_ok"):
        assert said[name] is True, name
    assert said["requests"] >= 2_000
    assert said["failed_requests"] == 0
    assert said["rescued_requests"] > 0
