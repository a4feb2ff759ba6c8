"""Lineage as a drawing in layers: sources left, what was made from them right. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from kernos.api.views import EdgeView, LineageView
from kernos.console.show import short

_CHARACTER, _PADDING, _NODE_HEIGHT = 7.3, 12.0, 42.0
_COLUMN_GAP, _ROW_GAP, _MARGIN = 64.0, 16.0, 8.0
_SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    name: str
    """Its digest or id."""
    ref: str
    """What it is called: `/data/income@3`; empty for a table between two steps."""
    role: str
    layer: int
    """0 is what was asked for; a source stands in a higher layer than all that was made from it."""
    x: float
    y: float
    width: float

    @property
    def label(self) -> str:
        return _label(self.ref, self.name)

    @property
    def link(self) -> str:
        if self.ref.startswith("/"):
            return f"/catalog/version?ref={quote(self.ref)}"
        return f"/catalog/lineage?ref={quote(self.name)}" if self.name.startswith("sha256:") else ""


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: list[Box]
    edges: list[EdgeView]
    width: float
    height: float


def layers_of(edges: Sequence[EdgeView], root: str) -> dict[str, int]:
    """The longest way from each node to the root, in edges. A cycle, which lineage cannot have, is cut where it is met."""
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    layer: dict[str, int] = {root: 0}
    limit = len(edges) + 1
    queue = [root]
    while queue:
        target = queue.pop()
        for source in sources.get(target, []):
            if layer[target] + 1 > layer.get(source, -1) and layer[target] + 1 < limit:
                layer[source] = layer[target] + 1
                queue.append(source)
    return layer


def layout(view: LineageView) -> Layout:
    layer = layers_of(view.edges, view.root)
    edges = [edge for edge in view.edges if edge.target in layer and edge.source in layer and edge.target != edge.source]
    refs, roles = _names(view, edges)
    columns = _ordered(layer, edges)
    widths = [max(_width(_label(refs.get(name, ""), name), roles.get(name, "")) for name in column) for column in columns]
    tallest = max(len(column) for column in columns) * (_NODE_HEIGHT + _ROW_GAP) - _ROW_GAP
    boxes: list[Box] = []
    x = _MARGIN
    for index in range(len(columns) - 1, -1, -1):
        column = columns[index]
        used = len(column) * (_NODE_HEIGHT + _ROW_GAP) - _ROW_GAP
        for row, name in enumerate(column):
            y = _MARGIN + (tallest - used) / 2 + row * (_NODE_HEIGHT + _ROW_GAP)
            boxes.append(Box(name, refs.get(name, ""), roles.get(name, ""), index, x, y, widths[index]))
        x += widths[index] + _COLUMN_GAP
    return Layout(boxes, edges, x - _COLUMN_GAP + _MARGIN, tallest + 2 * _MARGIN)


def graph(key: str, view: LineageView) -> Markup:
    """An SVG at its natural size: put it into a container that scrolls. Boxes with a page of their own are links."""
    drawn = layout(view)
    places = {box.name: box for box in drawn.boxes}
    lines = [_edge(places[edge.source], places[edge.target], edge) for edge in drawn.edges]
    boxes = [_box(box, is_root=box.name == view.root) for box in drawn.boxes]
    words = f"{len(drawn.boxes)} things, {len(drawn.edges)} edges, sources left. The table below tells the same."
    return Markup(
        '<svg class="graph" width="{:.0f}" height="{:.0f}" viewBox="0 0 {:.0f} {:.0f}" role="group" '
        'aria-labelledby="{}-t {}-d"><title id="{}-t">Lineage</title><desc id="{}-d">{}</desc>{}{}</svg>'
    ).format(
        drawn.width, drawn.height, drawn.width, drawn.height, key, key, key, key, words,
        Markup("").join(lines), Markup("").join(boxes),
    )  # fmt: skip


def _names(view: LineageView, edges: Sequence[EdgeView]) -> tuple[dict[str, str], dict[str, str]]:
    refs: dict[str, str] = {}
    roles: dict[str, list[str]] = {}
    for edge in edges:
        refs[edge.target] = edge.target_ref or refs.get(edge.target, "")
        refs[edge.source] = edge.source_ref or refs.get(edge.source, "")
        if edge.role not in roles.setdefault(edge.source, []):
            roles[edge.source].append(edge.role)
    joined = {name: ", ".join(names) for name, names in roles.items()}
    joined[view.root] = "asked for"
    return refs, joined


def _ordered(layer: Mapping[str, int], edges: Sequence[EdgeView]) -> list[list[str]]:
    """Columns from the root on; within each, the order with few crossings that barycentres find."""
    columns: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in layer:
        columns[layer[name]].append(name)
    near: dict[str, list[str]] = {name: [] for name in layer}
    for edge in edges:
        near[edge.source].append(edge.target)
        near[edge.target].append(edge.source)
    place = {name: row / len(column) for column in columns for row, name in enumerate(column)}
    for _ in range(_SWEEPS):
        for column in columns:
            weight = {n: sum(place[m] for m in near[n]) / len(near[n]) if near[n] else place[n] for n in column}
            column.sort(key=lambda name: (weight[name], name))
            place.update({name: (row + 0.5) / len(column) for row, name in enumerate(column)})
    return columns


def _label(ref: str, name: str) -> str:
    return ref or short(name)


def _width(label: str, role: str) -> float:
    return max(len(label) * _CHARACTER, len(role) * _CHARACTER * 0.85) + 2 * _PADDING


def _edge(source: Box, target: Box, edge: EdgeView) -> Markup:
    x1, y1 = source.x + source.width, source.y + _NODE_HEIGHT / 2
    x2, y2 = target.x - 5, target.y + _NODE_HEIGHT / 2
    bend = max(24.0, (x2 - x1) / 2)
    return Markup(
        '<g class="edge"><path d="M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"/>'
        '<path class="head" d="M{:.1f} {:.1f}l-6 -3.5v7z"/><title>{} → {} as {}</title></g>'
    ).format(
        x1, y1, x1 + bend, y1, x2 - bend, y2, x2 - 4, y2, x2 + 4, y2, source.label, target.label, edge.role
    )  # fmt: skip


def _box(box: Box, *, is_root: bool) -> Markup:
    body = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.0f}" rx="3"/>'
        '<text class="name" x="{:.1f}" y="{:.1f}">{}</text><text class="role" x="{:.1f}" y="{:.1f}">{}</text>'
    ).format(
        box.x, box.y, box.width, _NODE_HEIGHT, box.x + _PADDING, box.y + 18, box.label,
        box.x + _PADDING, box.y + 33, box.role,
    )  # fmt: skip
    group = Markup('<g class="box {}">{}</g>').format("is-root" if is_root else "", body)
    if not box.link or is_root:
        return group
    return Markup('<a href="{}" aria-label="{}, {}">{}</a>').format(box.link, box.label, box.role, group)
