from __future__ import annotations

from typing import Any


def test_events_are_a_table(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/events"] = {"events": [views.event(4)], "next_after": 4}

    out = kernos("events", "--subject", "run:13").out

    assert kernel.asked[0][1] == "/v1/events?limit=30&subject=run%3A13"
    assert out.splitlines()[1].split()[0] == "4"
    assert "reason=ended" in out


def test_following_prints_lines_until_the_kernel_ends(kernel: Any, kernos: Any, views: Any) -> None:
    kernel.answers["GET /v1/events"] = {"events": [views.event(4)], "next_after": 4}
    kernel.answers["GET /v1/events/stream"] = {}

    done = kernos("events", "-f", "--json")

    assert done.out.splitlines()[0].startswith('{"seq":4')
    assert done.code == 7


def test_an_intact_journal_is_told_with_its_signer(kernel: Any, kernos: Any) -> None:
    view = {
        "ok": True,
        "size": 1200,
        "root": "ab",
        "problems": [],
        "signed_size": 1199,
        "key_id": "ed25519:12",
    }
    kernel.answers["GET /v1/audit"] = view

    assert "1,199 events by ed25519:12" in kernos("audit", "verify").out
    assert kernos("audit", "verify", "--json").json == view


def test_a_changed_journal_fails_the_command(kernel: Any, kernos: Any) -> None:
    view = {
        "ok": False,
        "size": 9,
        "root": "ab",
        "problems": ["event 3 was edited"],
        "signed_size": 0,
        "key_id": "",
    }
    kernel.answers["GET /v1/audit"] = view

    plain, as_json = kernos("audit", "verify"), kernos("audit", "verify", "--json")

    assert plain.code == as_json.code == 9
    assert "event 3 was edited" in plain.err
    assert as_json.json == view


def test_principals_are_listed_and_added(kernel: Any, kernos: Any) -> None:
    kernel.answers["GET /v1/principals"] = [{"name": "ann", "kind": "person", "role": "viewer", "at_ms": 0}]
    kernel.answers["POST /v1/principals"] = {"name": "bob", "token": "kernos_" + "t" * 43}

    assert "ann" in kernos("principals", "list").out
    added = kernos("principals", "add", "bob", "--role", "infer", "--kind", "service")
    assert added.out.splitlines()[0] == "kernos_" + "t" * 43
    assert kernel.asked[-1][2] == {"name": "bob", "kind": "service", "role": "infer"}


def test_devices_say_what_is_absent(kernel: Any, kernos: Any) -> None:
    kernel.answers["GET /v1/devices"] = [
        {"name": "cpu", "kind": "cpu", "state": "available", "detail": {"cores": 2}},
        {"name": "gpu", "kind": "gpu", "state": "unavailable: no driver", "detail": {}},
    ]

    out = kernos("devices").out

    assert "unavailable: no driver" in out
    assert "cores" in out
