from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "in come.csv"
    path.write_text("a\n1\n")
    return path


def test_ingest_waits_and_tells_the_version(kernel: Any, kernos: Any, views: Any, csv: Path) -> None:
    kernel.answers["POST /v1/data"] = views.run(kind="ingest")
    kernel.answers["GET /v1/runs/13/wait"] = views.run(
        kind="ingest", state="done", outputs=["/data/income@1"], metrics={"rows": 442.0}
    )

    done = kernos("ingest", str(csv), "--app", "diabetes")

    assert done.out == "/data/income@1, 442 rows\n"
    assert kernel.asked[0][2] == {"source": str(csv), "name": "in_come", "app": "diabetes"}


def test_a_refused_file_ends_with_its_refusal(kernel: Any, kernos: Any, views: Any, csv: Path) -> None:
    error = {
        "code": "refused",
        "detail": "bmi is 700 in row 1",
        "hint": "Correct it.",
        "details": {"rows": [1]},
    }
    kernel.answers["POST /v1/data"] = views.run(state="failed", error=error)

    done = kernos("ingest", str(csv), "--name", "income", "--json")

    assert (done.code, done.json["detail"]) == (6, "bmi is 700 in row 1")


def test_a_missing_file_is_told_before_anything_is_sent(kernel: Any, kernos: Any) -> None:
    assert kernos("ingest", "nowhere.csv").code == 3
    assert kernel.asked == []


def test_ls_lists_paths_with_names(kernel: Any, kernos: Any) -> None:
    kernel.answers["GET /v1/artifacts"] = [
        {
            "path": "/data/income",
            "kind": "dataset",
            "newest": 3,
            "names": {"live": 2},
            "size_bytes": 2048,
            "at_ms": 0,
        }
    ]

    out = kernos("ls", "/data").out

    assert kernel.asked[0][1] == "/v1/artifacts?prefix=%2Fdata"
    assert out.splitlines()[1].split()[:6] == ["/data/income", "3", "dataset", "live=2", "2.0", "KiB"]
    kernel.answers["GET /v1/artifacts"] = []
    assert kernos("ls", "/none").out == "Nothing below /none.\n"


def test_show_takes_a_run_an_artifact_or_an_app(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs/13"] = views.run(error={"detail": "boom", "hint": "kernos logs 13"})
    kernel.answers["GET /v1/artifacts/one"] = views.version()
    kernel.answers["GET /v1/apps/diabetes"] = views.app()

    assert "boom" in kernos("show", "13").out
    assert "rows" in kernos("show", "/packages/diabetes@3").out
    app = kernos("show", "diabetes").out
    assert "accuracy >= 0.65" in app
    assert "/packages/diabetes@2" in app


def test_lineage_is_a_tree_that_opens_each_thing_once(kernel: Any, kernos: Any) -> None:
    def edge(target: str, source: str, role: str) -> dict[str, Any]:
        return {
            "target": target,
            "target_ref": target,
            "source": source,
            "source_ref": source,
            "role": role,
            "run": 7,
        }

    kernel.answers["GET /v1/lineage"] = {
        "root": "/packages/d@1",
        "edges": [
            edge("/packages/d@1", "/models/d@1", "model"),
            edge("/packages/d@1", "sha256:" + "c" * 64, "gate"),
            edge("/models/d@1", "/data/d@1", "data"),
            edge("sha256:" + "c" * 64, "/models/d@1", "model"),
        ],
    }

    out = kernos("lineage", "/packages/d@1").out

    assert out.splitlines()[0] == "/packages/d@1"
    assert out.count("/data/d@1") == 1
    assert "gate  sha256:cccccccccccc…" in out
    kernel.answers["GET /v1/lineage"] = {"root": "/data/d@1", "edges": []}
    assert "from outside" in kernos("lineage", "/data/d@1").out


def test_diff_shows_any_document(kernel: Any, kernos: Any) -> None:
    kernel.answers["GET /v1/diff"] = {
        "a": "/data/d@1", "rows_added": 3, "columns": {"added": ["x"]}, "samples": [{"x": 1, "y": None}],
    }  # fmt: skip

    out = kernos("diff", "/data/d@1", "@2").out

    assert "rows_added" in out
    assert kernos("diff", "/data/d@1", "@2", "--json").json["rows_added"] == 3
