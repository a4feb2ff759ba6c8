from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from kernos.api.views import BuildView
from kernos.cli.build import failure_of, progress


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("import polars\n")
    return path


@pytest.fixture
def known(kernel: Any, views: Any) -> Any:
    kernel.answers["POST /v1/apps"] = {"app": "diabetes", "version": 1, "run": 1}
    kernel.answers["POST /v1/builds"] = views.build(state="running", ended_ms=None, verdicts=[])
    kernel.answers["GET /v1/runs/12/wait"] = views.run(id=12)
    kernel.answers["GET /v1/builds/12"] = views.build()
    kernel.answers["GET /v1/services"] = [views.service()]
    return kernel


def test_run_hands_in_the_bundle_and_follows_to_live(known: Any, kernos: Any, module: Path) -> None:
    done = kernos("run", str(module), "--set", "C=0.5")

    assert known.asked[0][2] == {"files": {"app.py": "import polars\n"}, "main": "app.py"}
    assert known.asked[1][2] == {"app": "diabetes", "folder": str(module.parent), "args": {"C": 0.5}}
    assert done.code == 0
    assert done.out.splitlines()[-1] == "LIVE  http://127.0.0.1:8080/v2/models/diabetes/infer"
    assert "accuracy >= 0.65" in done.out
    assert "gate     done    gate it" in done.out


def test_a_canary_is_called_one(known: Any, kernos: Any, views: Any, module: Path) -> None:
    known.answers["GET /v1/services"] = [views.service(live=1, canary=2, share=0.1, phase="canary")]

    assert kernos("run", str(module)).out.splitlines()[-1].startswith("CANARY 10%")


def test_a_cached_build_says_so(known: Any, kernos: Any, views: Any, module: Path) -> None:
    known.answers["POST /v1/builds"] = views.build(state="cached", cached=True)

    assert "all from cache" in kernos("run", str(module)).out


def test_json_is_the_build(known: Any, kernos: Any, module: Path) -> None:
    done = kernos("run", str(module), "--json")

    assert (done.code, done.json["package"], done.err) == (0, "/packages/diabetes@2", "")


def test_detach_leaves_at_once(known: Any, kernos: Any, module: Path) -> None:
    done = kernos("run", str(module), "--detach", "--json")

    assert done.json["id"] == 12
    assert len(known.asked) == 2


def test_a_refusal_shows_the_verdicts_and_ends_with_its_code(
    known: Any, kernos: Any, views: Any, module: Path
) -> None:
    known.answers["GET /v1/builds/12"] = views.build(
        state="failed", reason="refused by the gate: accuracy", verdicts=[views.verdict(passed=False)]
    )

    plain, as_json = kernos("run", str(module)), kernos("run", str(module), "--json")

    assert plain.code == as_json.code == 6
    assert "refused" in plain.out
    assert "refused by the gate" in plain.err
    assert as_json.json["code"] == "refused"


def test_a_file_that_is_not_there_is_told(known: Any, kernos: Any) -> None:
    assert kernos("run", "nowhere.py").code == 3


def _build(views: Any, **fields: Any) -> BuildView:
    return msgspec.convert(views.build(**fields), BuildView)


def test_a_failure_is_that_of_the_first_run_that_failed(views: Any) -> None:
    child = views.run(id=9, state="failed", error={"code": "limit", "detail": "out of memory", "hint": ""})
    error = failure_of(_build(views, state="failed", verdicts=[], children=[child]))

    assert error is not None
    assert (error.code, error.message, error.hint) == ("limit", "out of memory", "kernos logs 9")


def test_a_stopped_build_fails_and_a_good_one_does_not(views: Any) -> None:
    error = failure_of(_build(views, state="stopped", reason="stopped by ann", verdicts=[]))

    assert error is not None
    assert error.exit == 1
    assert failure_of(_build(views)) is None


def test_progress_shows_stages_busy_runs_and_one_mark_a_trial(views: Any) -> None:
    children = [
        views.run(id=1, kind="tune"),
        *(
            views.run(id=2 + i, kind="trial", state=state)
            for i, state in enumerate(["done", "running", "queued", "failed"])
        ),
    ]
    out = io.StringIO()

    Console(file=out, width=120).print(progress(_build(views, state="running", children=children), 0))

    text = out.getvalue()
    assert "●◐○×  2 of 4" in text
    assert text.count("trial") == 2
    assert "ingest it" in text
