"""The data plane: who may ask, which version answers, what is counted, what a swap and a broken canary do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import UnavailableError
from kernos.base.settings import PlaneSettings
from kernos.runtime.signature import Signature, TensorSpec
from kernos.runtime.wanted import Route
from kernos.testing.wire import Bench, bench, broken, get, infer_body, post, summing

PATH = "/v2/models/m/infer"


@pytest.fixture
def one() -> Iterator[Bench]:
    with bench() as made:
        yield made


def test_a_prediction_is_answered_counted_and_recorded(one: Bench) -> None:
    one.serve({3: summing})

    answer = one.ask(post(PATH, infer_body([[1, 2, 3], [0, 1, 0]], id="q7")))

    assert answer.status == 200
    assert answer.json["parameters"]["prediction_id"] == "boot-0"
    assert (answer.json["id"], answer.json["model_version"]) == ("q7", "3")
    (traffic,) = one.plane.traffic
    assert (traffic.app, traffic.version, traffic.requests, traffic.rows, traffic.errors) == ("m", 3, 1, 2, 0)
    assert sum(traffic.latency_ms_buckets) == 1
    (answered,) = one.notebook.answered
    assert (answered.model.version, answered.first, answered.rows, answered.principals) == (
        3,
        0,
        [2],
        ["ann"],
    )
    assert answered.outputs[1].tolist() == [[6.0], [1.0]]


def test_prediction_ids_are_never_given_twice(one: Bench) -> None:
    one.serve({1: summing})
    wire = one.wire()
    wire.send(post(PATH, infer_body()) * 20)
    one.turn(20)

    ids = {answer.json["parameters"]["prediction_id"] for answer in wire.take()}
    assert len(ids) == 20


@pytest.mark.parametrize("token", ["", "kernos_wrong"])
@pytest.mark.parametrize("path", [PATH, "/v2/feedback", "/v2/models/nothing/infer", "/nowhere"])
def test_the_unknown_caller_learns_nothing(one: Bench, token: str, path: str) -> None:
    one.serve({1: summing})

    answer = one.ask(post(path, infer_body(), token=token))

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "header", ["Authorization: Basic a2Vybm9z", "Authorization: Bearer", "Authorization: \xff"]
)
def test_other_credentials_are_none(one: Bench, header: str) -> None:
    one.serve({1: summing})

    assert one.ask(post(PATH, infer_body(), header, token="")).status == 401


def test_the_scheme_is_spelt_in_any_case(one: Bench) -> None:
    one.serve({1: summing})

    assert one.ask(post(PATH, infer_body(), "Authorization: bearer  kernos_test ", token="")).status == 200


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/v2/models/m2/infer", 404, "Did you mean 'm'"),
        ("/v2/models/m/versions/9/infer", 404, "Loaded: 1"),
        ("/v2/models/m/versions/x/infer", 404, "nothing at this path"),
        ("/v2/models/m/infers", 404, "nothing at this path"),
        ("/v3", 404, "nothing at this path"),
        ("/v2/models/m", 405, "Use GET, HEAD."),
    ],
)
def test_a_wrong_path_is_told_what_is_right(one: Bench, path: str, status: int, told: str) -> None:
    one.serve({1: summing})

    answer = one.ask(post(path, infer_body()))

    assert answer.status == status
    assert told in answer.json["error"] + answer.json["hint"]


@pytest.mark.parametrize(
    "path", ["/v2/models/m/infer?x=1", "/v2/models/%6d/infer", "/v2/models/m/infer/", "http://h" + PATH]
)
def test_a_path_may_be_spelt_otherwise(one: Bench, path: str) -> None:
    one.serve({1: summing})

    assert one.ask(post(path, infer_body())).status == 200


def test_the_rest_of_the_protocol(one: Bench) -> None:
    assert one.ask(get("/v2/health/live", token="")).status == 200
    assert one.ask(get("/v2/health/ready", token="")).status == 503, "nothing was wanted yet"

    one.serve({1: summing, 2: summing})

    assert one.ask(get("/v2/health/ready", token="")).json == {"ready": True}
    assert one.ask(get("/v2")).json["name"] == "kernos"
    assert one.ask(get("/v2/models/m")).json["versions"] == ["1", "2"]
    assert one.ask(get("/v2/models/m/versions/2")).status == 200
    assert one.ask(get("/v2/models/m/ready")).json == {"name": "m", "ready": True}
    assert one.ask(get("/v2/models/m/versions/2/ready", method="HEAD")).status == 200
    assert one.ask(post("/v2/models/m/versions/2/infer", infer_body())).json["model_version"] == "2"


def test_a_live_version_that_did_not_load_makes_the_model_unready(one: Bench) -> None:
    one.serve({}, Route("m", 4), failures=[("m", 4, "It is not signed.")])

    answer = one.ask(post(PATH, infer_body()))
    assert answer.status == 503
    assert "It is not signed." in answer.json["error"]
    assert one.ask(get("/v2/models/m")).status == 503
    assert one.ask(get("/v2/models/m/ready")).status == 503
    assert one.ask(get("/v2/health/ready", token="")).status == 503
    assert one.plane.failures == [("m", 4, "It is not signed.")]


def test_the_version_before_answers_on_while_the_new_one_does_not_load(one: Bench) -> None:
    one.serve({1: summing})
    one.serve({1: summing}, Route("m", 2), failures=[("m", 2, "It is not signed.")])

    assert one.ask(post(PATH, infer_body())).json["model_version"] == "1"


def test_a_canary_gets_its_share(one: Bench) -> None:
    one.serve({1: summing, 2: summing}, Route("m", 1, canary=2, share=0.2))
    wire = one.wire()
    wire.send(post(PATH, infer_body()) * 50)
    one.turn(20)

    versions = [answer.json["model_version"] for answer in wire.take()]
    assert (versions.count("1"), versions.count("2")) == (40, 10)


def test_the_live_version_answers_what_the_canary_fails_on(one: Bench) -> None:
    one.serve({1: summing, 2: broken}, Route("m", 1, canary=2, share=0.5))
    wire = one.wire()
    wire.send(post(PATH, infer_body()) * 10)
    one.turn(20)

    answers = wire.take()
    assert [answer.status for answer in answers] == [200] * 10
    assert {answer.json["model_version"] for answer in answers} == {"1"}
    live, canary = one.plane.traffic
    assert (canary.requests, canary.errors, canary.rescued) == (5, 5, 5)
    assert (live.requests, live.errors, live.rescued) == (10, 0, 0)
    assert sum(len(answered.rescued) for answered in one.notebook.answered) == 5


def test_a_canary_that_wants_other_inputs_is_rescued_too(one: Bench) -> None:
    wide = Signature("other", [TensorSpec("wide", "FP32", [-1, 9])], [TensorSpec("y", "FP32", [-1])])
    one.serve({1: summing, 2: summing}, Route("m", 1, canary=2, share=1.0), signatures={2: wide})

    assert one.ask(post(PATH, infer_body())).json["model_version"] == "1"
    assert one.plane.traffic[1].rescued == 1


def test_a_callers_mistake_is_no_error_of_the_canary(one: Bench) -> None:
    one.serve({1: summing, 2: summing}, Route("m", 1, canary=2, share=1.0))

    assert one.ask(post(PATH, b"{}")).status == 400
    assert one.plane.traffic[1].errors == 0
    assert one.plane.server.refused == 1


def test_who_asks_for_the_canary_by_number_sees_it_fail(one: Bench) -> None:
    one.serve({1: summing, 2: broken}, Route("m", 1, canary=2, share=0.0))

    answer = one.ask(post("/v2/models/m/versions/2/infer", infer_body()))

    assert answer.status == 500
    assert answer.json["code"] == "failed"
    assert "m version 2" in answer.json["error"]


def test_when_both_fail_the_caller_learns_of_it(one: Bench) -> None:
    one.serve({1: broken, 2: broken}, Route("m", 1, canary=2, share=1.0))

    assert one.ask(post(PATH, infer_body())).status == 500
    live, canary = one.plane.traffic
    assert (live.errors, canary.errors, canary.rescued) == (1, 1, 0)


def test_a_model_that_answers_nan_has_failed(one: Bench) -> None:
    one.serve({1: lambda inputs: summing(inputs) | {"sum": np.full((len(inputs["input"]), 1), np.nan)}})

    assert one.ask(post(PATH, infer_body())).status == 500


@pytest.mark.parametrize("is_threaded", [False, True])
def test_a_swap_answers_what_was_asked_before_and_closes_the_old(one: Bench, is_threaded: bool) -> None:
    one.serve({1: summing}, is_threaded=is_threaded)
    before, after = one.wire(), one.wire()
    before.send(post(PATH, infer_body()))
    one.serve({2: summing}, is_threaded=is_threaded)
    after.send(post(PATH, infer_body()))
    one.wait(lambda: one.closed == [1] and one.plane.queued_rows == 0)

    assert before.take()[0].json["model_version"] == "1"
    assert after.take()[0].json["model_version"] == "2"
    assert one.plane.loaded == [("m", 2)]


def test_a_body_that_is_coming_in_during_a_swap_is_answered_by_the_new(one: Bench) -> None:
    one.serve({1: summing})
    wire = one.wire()
    data = post(PATH, infer_body())
    wire.send(data[:-5])
    one.serve({2: summing})
    wire.send(data[-5:])
    one.turn()

    assert wire.take()[0].json["model_version"] == "2"


def test_a_model_that_is_no_longer_wanted_is_gone(one: Bench) -> None:
    one.serve({1: summing})
    one.serve({})

    assert one.ask(post(PATH, infer_body())).status == 404 or one.closed == [1]
    assert one.plane.loaded == []


def test_a_distrusted_revision_stops_serving(one: Bench) -> None:
    one.serve({1: summing})
    one.serve({1: summing}, Route("m", 1), failures=[("m", 1, "Its signer is no longer trusted.")])

    assert one.ask(post(PATH, infer_body())).status == 503
    assert one.closed == [1]


def test_feedback_is_acknowledged_when_it_is_kept(one: Bench) -> None:
    one.serve({1: summing})
    body = json.dumps({"items": [{"id": "b-0", "values": {"y": 1}}]}).encode()

    answer = one.ask(post("/v2/feedback", body))

    assert (answer.status, answer.json) == (202, {"accepted": 1})
    assert one.notebook.feedback[0].values == {"y": 1}
    one.notebook.problem = UnavailableError("The disk is full.")
    assert one.ask(post("/v2/feedback", body)).status == 503
    assert one.ask(post("/v2/feedback", b"{}")).status == 400


def test_metrics_tell_of_every_revision(one: Bench) -> None:
    one.serve({1: summing})
    one.ask(post(PATH, infer_body()))
    one.ask(post(PATH, b"{}"))

    answer = one.ask(get("/metrics"))

    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert 'kernos_requests_total{app="m",version="1"} 1' in text
    assert "kernos_refused_requests_total 1" in text
    assert "kernos_dropped_predictions_total 7" in text


@given(st.binary(max_size=300), st.booleans())
def test_no_body_makes_the_plane_fail(noise: bytes, is_wrapped: bool) -> None:
    with bench(PlaneSettings(body_limit_bytes=1000)) as one:
        one.serve({1: summing})
        data = infer_body()[:-10] + noise if is_wrapped else noise

        assert one.ask(post(PATH, data)).status in (400, 200)
