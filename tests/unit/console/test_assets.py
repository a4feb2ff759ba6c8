from __future__ import annotations

from typing import Any

import pytest

from kernos.console.assets import STATIC


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("console.css", "text/css"),
        ("live.js", "text/javascript"),
        ("morph.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_files_come_without_a_session_and_only_once(anonymous: Any, name: str, kind: str) -> None:
    first = anonymous.get(f"/console/static/{name}")
    again = anonymous.get(f"/console/static/{name}", headers={"If-None-Match": first.headers["etag"]})

    assert first.content == (STATIC / name).read_bytes()
    assert first.headers["content-type"].startswith(kind)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["none.js", "..%2Fpages.py", "..%2f..%2fbase%2fids.py", "%2Fetc%2Fpasswd"])
def test_nothing_else_can_be_read(anonymous: Any, name: str) -> None:
    assert anonymous.get(f"/console/static/{name}").status_code == 404


def test_all_scripts_together_stay_small() -> None:
    lines = sum(len(script.read_text(encoding="utf-8").splitlines()) for script in STATIC.glob("*.js"))

    assert lines <= 800


def test_live_parts_are_never_swapped_whole() -> None:
    for script in STATIC.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert "innerHTML" not in text
        assert "outerHTML" not in text
        assert "eval(" not in text


def test_every_file_is_on_the_list(anonymous: Any) -> None:
    for file in STATIC.iterdir():
        assert anonymous.get(f"/console/static/{file.name}").status_code == 200
