from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernos.api.views import EdgeView, LineageView
from kernos.console.graph import graph, layers_of, layout, root_of


def edge(target: str, source: str, role: str = "data") -> EdgeView:
    return EdgeView(target, "", source, "", role, None)


def overlap(a: Any, b: Any) -> bool:
    return bool(a.x < b.x + b.width and b.x < a.x + a.width and abs(a.y - b.y) < 42)


graphs = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10)), max_size=20).map(
    lambda pairs: [edge(f"n{a}", f"n{a + b}") for a, b in pairs]
)


def test_a_source_stands_left_of_everything_made_from_it() -> None:
    layers = layers_of([edge("c", "b"), edge("b", "a"), edge("c", "a")], "c")

    assert layers == {"c": 0, "b": 1, "a": 2}


def test_a_cycle_ends() -> None:
    drawn = layout(LineageView("a", [edge("a", "b"), edge("b", "a"), edge("a", "a")]))

    assert {box.name for box in drawn.boxes} == {"a", "b"}


@given(graphs)
def test_boxes_never_overlap_and_stay_inside(edges: list[EdgeView]) -> None:
    drawn = layout(LineageView("n0", edges))

    for index, box in enumerate(drawn.boxes):
        assert box.x >= 0
        assert box.x + box.width <= drawn.width
        assert box.y >= 0
        assert box.y + 42 <= drawn.height
        assert not any(overlap(box, other) for other in drawn.boxes[index + 1 :])


@given(graphs)
def test_edges_lead_right_and_around_boxes(edges: list[EdgeView]) -> None:
    drawn = layout(LineageView("n0", edges))
    boxes = {box.name: box for box in drawn.boxes}

    for line in drawn.lines:
        assert boxes[line.edge.source].x < boxes[line.edge.target].x
        assert [x for x, _ in line.points] == sorted(x for x, _ in line.points)
        for (x1, y), (x2, _) in zip(line.points[1:-1:2], line.points[2:-1:2], strict=True):
            assert not any(
                box.x < x2 and x1 < box.x + box.width and box.y < y < box.y + 42 for box in drawn.boxes
            )


def test_the_root_is_found_by_what_it_is_called(sample: ModuleType) -> None:
    view = sample.sample_lineage("/packages/diabetes@2")

    assert root_of(view) == sample.digest("package")
    assert next(box for box in layout(view).boxes if box.layer == 0).ref == "/packages/diabetes@2"


def test_a_thing_without_sources_is_drawn_alone() -> None:
    drawn = layout(LineageView("sha256:" + "0" * 64, []))

    assert [box.layer for box in drawn.boxes] == [0]


def test_boxes_link_to_their_page_and_the_root_does_not(sample: ModuleType) -> None:
    svg = ElementTree.fromstring(graph("k", sample.sample_lineage("/packages/diabetes@2")))
    links = [node.get("href", "") for node in svg.iter("a")]

    assert "/catalog/version?ref=/data/diabetes%402" in links
    assert "/catalog/version?ref=/packages/diabetes%402" not in links
    assert any(link.startswith("/catalog/lineage?ref=sha256%3A") for link in links)
    assert not any("ed25519" in link for link in links)


def test_names_are_escaped() -> None:
    assert "<b>" not in graph("k", LineageView("a", [EdgeView("a", "<b>", "c", "<b>", "<b>", None)]))
