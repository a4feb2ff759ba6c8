"""A worker leaves a result or a problem."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from kernos.base.errors import InvalidError
from kernos.base.ids import RunId
from kernos.kernel import worker
from kernos.kernel.folder import Result, read_result, write_task
from kernos.kernel.run import Task


def run(folder: Path, entry: str, payload: dict[str, Any] | None = None) -> tuple[int, Result]:
    write_task(Task(RunId(7), entry, payload or {}, str(folder), str(folder), "", "", 1))
    code = worker.main(folder, 1.0)
    result = read_result(folder, 1)
    assert result is not None
    return code, result


def problem(result: Result) -> dict[str, Any]:
    assert result.error is not None
    return result.error


@pytest.mark.parametrize("entry", ["kernos.testing.misdeeds:echo", "kernos.testing.misdeeds.echo"])
def test_a_step_is_found_by_both_spellings(tmp_path: Path, entry: str) -> None:
    assert run(tmp_path, entry, {"a": 1}) == (0, Result(1, ok={"payload": {"a": 1}, "attempt": 1}))


@pytest.mark.parametrize(
    "entry", ["kernos.nowhere:step", "kernos.testing.misdeeds:nowhere", "kernos.base.ids:re"]
)
def test_a_step_that_is_not_there_is_a_problem(tmp_path: Path, entry: str) -> None:
    code, result = run(tmp_path, entry)

    assert code == 1
    assert problem(result)["code"] == "invalid"


def test_an_error_keeps_its_type_message_and_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = run(tmp_path, "kernos.testing.misdeeds:fail")

    error = problem(result)
    assert code == 1
    assert (error["code"], error["detail"]) == ("failed", "ValueError: this step raises")
    assert error["details"]["type"] == "ValueError"
    assert len(error["details"]["traceback"]) <= 12
    assert "ValueError: this step raises" in capsys.readouterr().err


def test_a_kernos_error_keeps_its_code_hint_and_details(tmp_path: Path) -> None:
    _, result = run(tmp_path, "kernos.testing.misdeeds:refuse")

    error = problem(result)
    assert (error["code"], error["hint"], error["details"]["rows"]) == ("refused", "correct them", [1, 2])


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (None, "returned NoneType, not a dict"),
        ({"a": object()}, "TypeError: Encoding objects of type object is unsupported"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (InvalidError("odd", thing=object()), "odd"),
    ],
)
def test_whatever_a_step_does_is_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, detail: str
) -> None:
    def step(task: Task) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    module = types.ModuleType("odd_steps")
    module.step = step  # type: ignore[attr-defined] # a module made for this test
    monkeypatch.setitem(sys.modules, "odd_steps", module)

    code, result = run(tmp_path, "odd_steps:step")

    assert code == 1
    assert detail in problem(result)["detail"]
