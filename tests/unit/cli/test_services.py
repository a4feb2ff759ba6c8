from __future__ import annotations

from typing import Any

import pytest

MODEL = {
    "name": "diabetes",
    "inputs": [
        {"name": "X", "datatype": "FP32", "shape": [-1, 2], "parameters": {"columns": ["bmi", "age"]}}
    ],
}
ANSWER = {
    "model_name": "diabetes", "model_version": "2", "parameters": {"prediction_id": "p-1"},
    "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
    ],
}  # fmt: skip


@pytest.fixture
def served(kernel: Any, views: Any) -> Any:
    kernel.answers["GET /v1/services"] = [views.service(url=f"{kernel.url}/v2/models/diabetes/infer")]
    kernel.answers["GET /v1/services/diabetes"] = views.service()
    kernel.answers["GET /v2/models/diabetes"] = MODEL
    kernel.answers["POST /v2/models/diabetes/infer"] = ANSWER
    return kernel


def test_services_are_listed_or_one_is_told_in_full(served: Any, kernos: Any) -> None:
    assert "none in 1,300 rows" in kernos("services").out
    one = kernos("services", "diabetes").out
    assert "0.700 (0.600 to 0.800) on 90 rows" in one
    assert "deployment.live" in one
    assert kernos("services", "diabetes", "--json").json["live"] == 2


def test_no_services_say_what_to_do(kernel: Any, kernos: Any) -> None:
    kernel.answers["GET /v1/services"] = []

    assert "kernos run app.py" in kernos("services").out


@pytest.mark.parametrize(
    "words", [("bmi=24.5", "age=50"), ('{"age": 50, "bmi": 24.5}',), ('[{"age": 50, "bmi": 24.5}]',)]
)
def test_predict_asks_by_column(served: Any, kernos: Any, words: tuple[str, ...]) -> None:
    done = kernos("predict", "diabetes", *words)

    assert served.asked[-1][2] == {
        "inputs": [
            {"name": "bmi", "shape": [1], "datatype": "FP32", "data": [24.5]},
            {"name": "age", "shape": [1], "datatype": "FP32", "data": [50]},
        ]
    }
    assert done.out.splitlines()[:2] == ["label  scores[0]  scores[1]", "    1       0.25       0.75"] or (
        [line.split() for line in done.out.splitlines()[:2]]
        == [["label", "scores[0]", "scores[1]"], ["1", "0.25", "0.75"]]
    )
    assert "kernos lineage pred:p-1" in done.out


def test_predict_refuses_what_is_no_json(served: Any, kernos: Any) -> None:
    assert kernos("predict", "diabetes", "{bmi: 1}").code == 2


def test_feedback_is_sent_for_a_prediction(served: Any, kernos: Any) -> None:
    served.answers["POST /v2/feedback"] = {"accepted": 1}

    assert kernos("feedback", "p-1", "progressed=1").out == "Noted for p-1.\n"
    assert served.asked[-1][2] == {"items": [{"id": "p-1", "values": {"progressed": 1}}]}


def test_deploy_says_what_it_does_and_needs_agreement(served: Any, kernos: Any, views: Any) -> None:
    served.answers["GET /v1/artifacts/one"] = views.version()
    served.answers["POST /v1/services/diabetes/deploy"] = views.service(live=3)

    refused, done = kernos("deploy", "diabetes", "3"), kernos("deploy", "diabetes", "3", "--yes")

    assert refused.code == 2
    assert "This puts /packages/diabetes@3 into service. Live now: version 2." in done.err
    assert served.asked[-1] == ("POST", "/v1/services/diabetes/deploy", {"version": 3})
    assert done.code == 0


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({}, "This puts version 1 of diabetes live in place of version 2."),
        ({"canary": 3}, "This takes the canary, version 3 of diabetes, away; version 2 stays live."),
        ({"previous": None}, "diabetes has no version before 2."),
    ],
)
def test_rollback_says_what_it_does(served: Any, kernos: Any, views: Any, fields: Any, plan: str) -> None:
    served.answers["GET /v1/services/diabetes"] = views.service(**fields)
    served.answers["POST /v1/services/diabetes/rollback"] = views.service()

    assert kernos("rollback", "diabetes").code == 2
    done = kernos("rollback", "diabetes", "-y")
    assert plan in done.err
    assert done.code == 0
