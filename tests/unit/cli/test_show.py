from __future__ import annotations

import io
from typing import Any

import msgspec
from rich.console import Console

from kernos.api.views import AppView, BuildView, HomeView, LineageView, RunView
from kernos.cli import show


def _text(drawing: Any, **options: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=160, markup=False, **options).print(drawing)
    return out.getvalue()


def test_numbers_stand_to_the_right(views: Any) -> None:
    runs = msgspec.convert([views.run(id=7), views.run(id=1234)], list[RunView])

    lines = _text(show.runs_table(runs)).splitlines()

    assert lines[1].startswith("   7 ")
    assert lines[2].startswith("1234 ")


def test_names_from_outside_are_not_markup(views: Any) -> None:
    runs = msgspec.convert([views.run(reason="[red]x[/red]", name="train")], list[RunView])

    assert "[red]x[/red]" in _text(show.runs_table(runs))


def test_no_colour_says_the_same(views: Any) -> None:
    home = msgspec.convert(views.home(), HomeView)

    plain = _text(show.home_group(home, 0), no_color=True, force_terminal=False)

    assert "\x1b" not in plain
    assert "running" in plain
    assert "live" in plain


def test_an_empty_home_says_what_to_do(views: Any) -> None:
    home = msgspec.convert(views.home(running=[], services=[], attention=[]), HomeView)

    assert "kernos run app.py" in _text(show.home_group(home, 0))


def test_an_app_and_the_list_of_them(views: Any) -> None:
    app = msgspec.convert(views.app(), AppView)

    assert "Diabetes." in _text(show.app_details(app, 0))
    assert "on drift" in _text(show.apps_table([app]))
    assert show.apps_table([msgspec.convert(views.app(builds=[], live=None), AppView)]).row_count == 1


def test_a_lineage_with_a_circle_ends(views: Any) -> None:
    edges = [
        {"target": "a", "target_ref": "a", "source": "b", "source_ref": "b", "role": "data", "run": None},
        {"target": "b", "target_ref": "b", "source": "a", "source_ref": "a", "role": "data", "run": None},
    ]
    view = msgspec.convert({"root": "/x/y@1", "edges": edges}, LineageView)

    assert _text(show.lineage_tree(view)).count("data") == 2


def test_every_verdict_is_a_line(views: Any) -> None:
    build = msgspec.convert(views.build(), BuildView)

    assert show.verdicts_table(build.verdicts).row_count == 1
