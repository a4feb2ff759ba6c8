from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

from kernos.api.present.builds import RING
from kernos.api.views import StageView
from kernos.console.ring import STAGES, loop_of, ring, strip


def test_the_stages_are_the_loops() -> None:
    assert STAGES == RING


def test_a_stage_nobody_tells_of_is_idle_and_the_order_is_the_loops() -> None:
    loop = loop_of([StageView("deploy", "done", ""), StageView("train", "failed", "")])

    assert [stage.name for stage in loop] == list(STAGES)
    assert [stage.state for stage in loop] == [
        "idle",
        "idle",
        "failed",
        "idle",
        "idle",
        "done",
        "idle",
        "idle",
    ]


def test_every_stage_has_its_place_its_name_and_its_word() -> None:
    svg = ElementTree.fromstring(
        ring("k", [StageView("train", "failed", "")], "The loop", ["live @2", "build 3"])
    )
    nodes = [node for node in svg.iter("g") if "node " in node.get("class", "")]
    discs = [
        (float(c.get("cx", 0)), float(c.get("cy", 0))) for c in svg.iter("circle") if c.get("class") == "disc"
    ]
    words = ["".join(text.itertext()) for text in svg.iter("text")]

    assert len(nodes) == 8
    assert min(math.dist(a, b) for i, a in enumerate(discs) for b in discs[i + 1 :]) > 60
    assert set(STAGES) <= set(words)
    assert words.count("idle") == 7
    assert words[-2:] == ["live @2", "build 3"]
    assert "train failed" in (svg.findtext("desc") or "")


def test_an_arc_is_solid_once_its_stage_has_come_through() -> None:
    svg = ElementTree.fromstring(
        ring("k", [StageView("ingest", "done", ""), StageView("prepare", "cached", "")], "t", [])
    )
    arcs = [node.get("class", "") for node in svg.iter("g") if "arc" in node.get("class", "")]

    assert [("is-through" in arc) for arc in arcs] == [True, True, *[False] * 6]


def test_a_strip_says_in_words_what_it_draws() -> None:
    line = strip([StageView("gate", "failed", "")])

    assert "gate failed" in line
    assert line.count("<svg") == 8


def test_names_are_escaped() -> None:
    assert "<b>" not in ring("k", [StageView("train", "<b>", "")], "<b>", ["<b>"])
