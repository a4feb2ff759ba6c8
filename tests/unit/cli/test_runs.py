from __future__ import annotations

from typing import Any


def test_ps_shows_the_living_by_default(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs"] = views.page(views.run())

    done = kernos("ps")

    assert kernel.asked[0][1] == "/v1/runs?state=queued&state=running&limit=50"
    header, row = done.out.splitlines()
    assert header.split()[:4] == ["run", "kind", "name", "app"]
    assert row.split()[:5] == ["13", "step", "train", "diabetes", "running"]
    assert "3.1 s" in row
    assert "50.0 MiB" in row


def test_ps_all_pages_and_says_where_the_older_are(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs"] = views.page(views.run(state="done", outputs=["/models/d@1"]), below=13)

    done = kernos("ps", "--all", "--app", "d", "--parent", "3", "--below", "20", "-n", "1")

    assert kernel.asked[0][1] == "/v1/runs?app=d&parent=3&below=20&limit=1"
    assert "/models/d@1" in done.out
    assert "kernos ps --all --below 13" in done.out
    assert kernos("ps", "--json").json["next_below"] == 13


def test_ps_of_nothing_says_so(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs"] = views.page()

    assert "kernos ps --all" in kernos("ps").out


def test_top_is_one_shot_in_a_pipe(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/home"] = views.home()

    done = kernos("top")

    assert "1 of 2 cpus" in done.out
    assert "warning: diabetes drifts" in done.out
    assert "1,234" in done.out
    assert kernos("top", "--json").json["queued"] == 3


def test_why_tells_causes_events_and_the_next_command(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs/13/why"] = {
        "run": views.run(state="queued", reason="waits"), "because": ["run 13 waits", "run 9 holds the core"],
        "events": [views.event()], "next": "kernos stop 9",
    }  # fmt: skip

    out = kernos("why", "13").out

    assert "because  run 13 waits" in out
    assert "run 9 holds the core" in out
    assert "next     kernos stop 9" in out


def test_why_of_an_app_is_that_of_its_newest_build(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs"] = views.page(views.run(id=12, kind="build"))
    kernel.answers["GET /v1/runs/12/why"] = {"run": views.run(), "because": [], "events": [], "next": ""}

    assert kernos("why", "diabetes").code == 0
    kernel.answers["GET /v1/runs"] = views.page()
    assert kernos("why", "nobody").code == 3


def test_logs_print_what_there_is_and_follow_to_the_end(kernel: Any, kernos: Any, turns: Any) -> None:
    parts = [
        {"text": "one\n", "next_offset": 4, "ended": False},
        {"text": "", "next_offset": 4, "ended": False},
        {"text": "two [x]\n", "next_offset": 12, "ended": True},
    ]
    kernel.answers["GET /v1/runs/13/log"] = turns(*parts)

    assert kernos("logs", "13").out == "one\n"
    kernel.answers["GET /v1/runs/13/log"] = turns(*parts)
    assert kernos("logs", "13", "-f").out == "one\ntwo [x]\n"


def test_stopping_one_run_needs_no_agreement_a_build_does(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/runs/13"] = views.run()
    kernel.answers["POST /v1/runs/13/stop"] = views.run()
    kernel.answers["GET /v1/runs/12"] = views.run(id=12, kind="build")
    kernel.answers["POST /v1/runs/12/stop"] = views.run(id=12, kind="build")

    assert "Run 13 (step train)" in kernos("stop", "13").out
    refused = kernos("stop", "12")
    assert (refused.code, "This stops build 12" in refused.err) == (2, True)
    assert kernos("stop", "12", "--yes").code == 0


def test_nice_changes_class_and_weight(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["POST /v1/runs/13/nice"] = views.run(**{"class": "interactive"})

    assert "Run 13 is interactive, weight 1." in kernos("nice", "13", "interactive", "--weight", "2").out
    assert kernel.asked[-1][2] == {"class": "interactive", "weight": 2.0}
    assert kernos("nice", "13").code == 2
