from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.console.charts import (
    Part,
    Series,
    bound_of,
    evidence_bar,
    line_chart,
    meter,
    nice_ticks,
    share_bar,
    sparkline,
    whisker,
)

POINTS = [(0, 1.0), (1000, 3.0), (2000, 2.0)]
finite = st.floats(-1e9, 1e9, allow_nan=False)


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in drawn(svg).iter("text")]


@given(st.floats(1e-6, 1e12))
def test_ticks_start_at_zero_reach_the_top_and_are_few(top: float) -> None:
    ticks = nice_ticks(top)

    assert ticks[0] == 0
    assert ticks[-1] >= top * 0.999
    assert 3 <= len(ticks) <= 5
    assert ticks == sorted(ticks)


def test_without_a_value_the_scale_is_one() -> None:
    assert nice_ticks(0) == [0.0, 1.0]


def test_a_line_chart_names_each_line_with_its_newest_value() -> None:
    svg = line_chart("k", "Latency", "ms", [Series("p50", POINTS), Series("p99", [(0, 5.0), (2000, 9.0)])])

    assert {"p50 2", "p99 9", "now", "−2.0 s"} <= set(texts(svg))
    assert drawn(svg).find("title").text == "Latency"  # type: ignore[union-attr]
    assert "highest 9 ms" in drawn(svg).find("desc").text  # type: ignore[operator,union-attr]


def test_a_line_goes_through_its_points() -> None:
    svg = line_chart("k", "t", "", [Series("a", [(0, 0.0), (1000, 3.0)])])
    points = next(drawn(svg).iter("polyline")).get("points")

    assert points == "0.0,120.0 1000.0,1.0"


def test_names_at_the_end_never_touch() -> None:
    svg = line_chart("k", "t", "", [Series("a", [(0, 1.0), (9, 1.0)]), Series("b", [(0, 1.0), (9, 1.01)])])
    heights = [float(node.get("y", 0)) for node in drawn(svg).iter("text") if "end" in node.get("class", "")]

    assert abs(heights[0] - heights[1]) >= 14


def test_a_share_bar_draws_each_part_where_the_last_ends() -> None:
    svg = share_bar(
        "k",
        "Split",
        [Part("live @2", "live", 0.9), Part("canary @3", "canary", 0.1), Part("previous @1", "previous", 0)],
    )
    parts = [(node.get("x"), node.get("width")) for node in drawn(svg).iter("rect")]

    assert parts == [("0.00%", "90.00%"), ("90.00%", "10.00%")]
    assert texts(svg) == ["live @2"]
    assert drawn(svg).find("desc").text == "live @2 90 %, canary @3 10 %, previous @1 0 %"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rule", "bound"),
    [
        ("accuracy >= 0.65", 0.65),
        ("parity_gap(sex) <= 0.30", 0.30),
        ("errors > 1%", 0.01),
        ("not worse than live", 0.0),
        ("difference >= -0.05", -0.05),
        ("my_check", None),
    ],
)
def test_the_bound_is_read_from_the_rule(rule: str, bound: float | None) -> None:
    assert bound_of(rule) == bound


def test_a_whisker_stands_where_its_value_is() -> None:
    svg = whisker("k", "accuracy >= 0.5", 0.75, 0.6, 0.9, passed=True)
    dot = next(drawn(svg).iter("circle"))
    places = {line.get("class"): line.get("x1") for line in drawn(svg).iter("line")}

    assert dot.get("cx") == "75.00%"
    assert places["bound"] == "50.00%"
    assert texts(svg) == ["0", "1"]
    assert "is-passed" in drawn(svg).get("class", "")


def test_a_difference_has_zero_in_the_middle() -> None:
    svg = whisker("k", "not worse than live", -0.02, -0.05, 0.01, passed=False)
    bound = next(line for line in drawn(svg).iter("line") if line.get("class") == "bound")

    assert bound.get("x1") == "50.00%"
    assert "is-failed" in drawn(svg).get("class", "")


def test_without_a_value_there_is_no_whisker() -> None:
    assert whisker("k", "my_check", None, None, None, passed=False) == ""


@given(finite, finite, finite)
def test_a_whisker_stays_on_its_scale(value: float, low: float, high: float) -> None:
    svg = whisker("k", "m >= 0.5", value, low, high, passed=True)
    places = [
        float(node.get(name, "0%").rstrip("%"))
        for node in drawn(svg).iter()
        for name in ("x1", "cx")
        if node.get(name)
    ]

    assert all(-0.01 <= place <= 100.01 for place in places)


@pytest.mark.parametrize(
    ("e_value", "width"), [(0.0, "0.00%"), (1.0, "0.00%"), (100.0, "50.00%"), (1e9, "100.00%")]
)
def test_evidence_grows_on_a_log_scale(e_value: float, width: str) -> None:
    svg = evidence_bar("k", e_value, 10_000)
    fill = next(node for node in drawn(svg).iter("rect") if node.get("class") == "fill")

    assert fill.get("width") == width
    assert ("is-over" in drawn(svg).get("class", "")) == (e_value >= 10_000)


@pytest.mark.parametrize(("part", "whole", "width"), [(1, 4, "25.00%"), (9, 4, "100.00%"), (1, 0, "0.00%")])
def test_a_meter_never_leaves_its_track(part: float, whole: float, width: str) -> None:
    fill = next(
        node for node in drawn(meter("k", "CPU", part, whole)).iter("rect") if node.get("class") == "fill"
    )

    assert fill.get("width") == width


def test_a_sparkline_needs_two_points() -> None:
    assert sparkline("k", "t", [(0, 1.0)]) == ""
    assert "polyline" in sparkline("k", "t", POINTS)
    assert "polyline" in sparkline("k", "t", [(0, 0.0), (1, 0.0)])


def test_names_are_escaped() -> None:
    svg = line_chart("k", "<script>", "<b>", [Series("<i>", POINTS)]) + share_bar(
        "b", "</svg>", [Part("<a>", "live", 1)]
    )

    for tag in ("<script>", "<b>", "<i>", "<a>"):
        assert tag not in svg
