from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from kernos.console.frame import Frame
from kernos.console.render import TEMPLATES, Renderer


def test_values_are_escaped(renderer: Renderer) -> None:
    page = renderer.html(
        "login.html",
        frame=Frame("<script>alert(1)</script>"),
        fragment=False,
        who=None,
        csrf="",
        newest=-1,
        problem=None,
    )

    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_a_name_that_is_not_given_is_an_error(renderer: Renderer) -> None:
    with pytest.raises(jinja2.UndefinedError):
        renderer.html("login.html")


def test_jinja_comes_with_the_first_page_and_not_before() -> None:
    code = (
        "import sys, kernos.console.render as r, kernos.base.clock as c;"
        "r.Renderer(c.SystemClock()); sys.exit('jinja2' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_template_holds_what_the_policy_forbids() -> None:
    for template in Path(TEMPLATES).glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert " style=" not in text, template
        assert "<style" not in text, template
        assert " onclick=" not in text, template
        assert "|safe" not in text, template
        assert text.count("<script") == (template.name == "base.html"), template
