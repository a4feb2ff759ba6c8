"""Lineage as a drawing in layers: sources left, what was made from them right. Pure.

Layers by longest path, order within a layer by barycentres, long edges through places of their own (Sugiyama, Tagawa and
Toda 1981), so that no edge runs behind a box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote

from markupsafe import Markup

from kernos.api.views import EdgeView, LineageView
from kernos.console.show import short

_CHARACTER, _PADDING = 7.25, 10.0
_BOX_HEIGHT, _LANE_HEIGHT = 42.0, 8.0
_COLUMN_GAP, _ROW_GAP, _MARGIN = 44.0, 14.0, 4.0
_SWEEPS = 8


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
    """Of its top left corner."""
    width: float

    @property
    def label(self) -> str:
        return short(self.ref or self.name)

    @property
    def link(self) -> str:
        if self.ref.startswith("/"):
            return f"/catalog/version?ref={quote(self.ref)}"
        return f"/catalog/lineage?ref={quote(self.name)}" if self.name.startswith("sha256:") else ""


@dataclass(frozen=True, slots=True)
class Line:
    edge: EdgeView
    points: list[tuple[float, float]]
    """From the source's right side to the target's left side; between, both ends of each column it passes."""


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float


def root_of(view: LineageView) -> str:
    """The name under which the edges know what was asked for: by its name or by what it is called."""
    return next(
        (edge.target for edge in view.edges if view.root in (edge.target, edge.target_ref)), view.root
    )


def layers_of(edges: Sequence[EdgeView], root: str) -> dict[str, int]:
    """The longest way from each node to the root, in edges. A cycle, which lineage cannot have, is cut where it is met."""
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    order, cut = _finished(sources, root)
    layer: dict[str, int] = {root: 0}
    for target in reversed(order):
        for source in sources.get(target, []):
            if (target, source) not in cut:
                layer[source] = max(layer.get(source, 0), layer[target] + 1)
    return layer


def layout(view: LineageView) -> Layout:
    root = root_of(view)
    layer = layers_of(view.edges, root)
    edges = [e for e in view.edges if e.target in layer and layer.get(e.source, -1) > layer[e.target]]
    refs, roles = _names(edges, root)
    chains = [_chain(index, edge, layer) for index, edge in enumerate(edges)]
    near = _neighbours(chains)
    columns = _ordered(layer, chains, near)
    centre = _placed(columns, near, layer)
    widths = [
        max(
            _width(short(refs.get(name, "") or name), roles.get(name, "")) for name in column if name in layer
        )
        for column in columns
    ]
    lefts = [
        _MARGIN + sum(widths[i + 1 :]) + _COLUMN_GAP * (len(columns) - 1 - i) for i in range(len(columns))
    ]
    boxes = []
    for name, depth in layer.items():
        top = centre[name] - _BOX_HEIGHT / 2
        box = Box(name, refs.get(name, ""), roles.get(name, ""), depth, lefts[depth], top, widths[depth])
        boxes.append(box)
    lines = [
        Line(e, _points(c, layer[e.target], lefts, widths, centre))
        for e, c in zip(edges, chains, strict=True)
    ]
    bottom = max(box.y + _BOX_HEIGHT for box in boxes)
    return Layout(boxes, lines, lefts[0] + widths[0] + _MARGIN, bottom + _MARGIN)


def graph(key: str, view: LineageView) -> Markup:
    """An SVG at its natural size: put it into a container that scrolls. Boxes with a page of their own are links."""
    drawn = layout(view)
    words = (
        f"{len(drawn.boxes)} things, {len(drawn.lines)} edges, sources left. The table below tells the same."
    )
    names = {box.name: box.label for box in drawn.boxes}
    body = Markup("").join(
        [*(_line(line, names) for line in drawn.lines), *(_box(box) for box in drawn.boxes)]
    )
    return Markup(
        '<svg class="graph" width="{:.0f}" height="{:.0f}" viewBox="0 0 {:.0f} {:.0f}" role="group" '
        'aria-labelledby="{}-t {}-d"><title id="{}-t">Lineage</title><desc id="{}-d">{}</desc>{}</svg>'
    ).format(drawn.width, drawn.height, drawn.width, drawn.height, key, key, key, key, words, body)


def _finished(sources: Mapping[str, Sequence[str]], root: str) -> tuple[list[str], set[tuple[str, str]]]:
    """Depth first from the root: each node after all its sources, and the edges that would close a cycle."""
    order: list[str] = []
    cut: set[tuple[str, str]] = set()
    path, seen = {root}, {root}
    stack = [(root, iter(sources.get(root, ())))]
    while stack:
        node, rest = stack[-1]
        source = next(rest, None)
        if source is None:
            stack.pop()
            path.discard(node)
            order.append(node)
        elif source in path:
            cut.add((node, source))
        elif source not in seen:
            path.add(source)
            seen.add(source)
            stack.append((source, iter(sources.get(source, ()))))
    return order, cut


def _names(edges: Sequence[EdgeView], root: str) -> tuple[dict[str, str], dict[str, str]]:
    """What each node is called, and as what it went into others."""
    refs: dict[str, str] = {}
    roles: dict[str, list[str]] = {}
    for edge in edges:
        refs[edge.target] = edge.target_ref or refs.get(edge.target, "")
        refs[edge.source] = edge.source_ref or refs.get(edge.source, "")
        if edge.role not in roles.setdefault(edge.source, []):
            roles[edge.source].append(edge.role)
    return refs, {name: ", ".join(names) for name, names in roles.items()} | {root: "asked for"}


def _chain(index: int, edge: EdgeView, layer: Mapping[str, int]) -> list[str]:
    """The edge as one step a layer: target, a lane in each layer between, source."""
    lanes = [f"lane {index} {depth}" for depth in range(layer[edge.target] + 1, layer[edge.source])]
    return [edge.target, *lanes, edge.source]


def _neighbours(chains: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    near: dict[str, list[str]] = {}
    for chain in chains:
        for target, source in pairwise(chain):
            near.setdefault(target, []).append(source)
            near.setdefault(source, []).append(target)
    return near


def _ordered(
    layer: Mapping[str, int], chains: Sequence[Sequence[str]], near: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """Columns from the root on; within each, the order with few crossings that barycentres find."""
    columns: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for name, depth in layer.items():
        columns[depth].append(name)
    for chain in chains:
        for step, lane in enumerate(chain[1:-1], start=layer[chain[0]] + 1):
            columns[step].append(lane)
    place = {name: (row + 0.5) / len(column) for column in columns for row, name in enumerate(column)}
    for _ in range(_SWEEPS):
        for column in columns:
            weight = {
                name: _mean([place[other] for other in near.get(name, ())], place[name]) for name in column
            }
            column.sort(key=lambda name: (weight[name], name))
            place.update({name: (row + 0.5) / len(column) for row, name in enumerate(column)})
    return columns


def _placed(
    columns: Sequence[Sequence[str]], near: Mapping[str, Sequence[str]], layer: Mapping[str, int]
) -> dict[str, float]:
    """The y of each centre: near its neighbours, in order, never closer than the row gap."""
    half = {
        name: (_BOX_HEIGHT if name in layer else _LANE_HEIGHT) / 2 for column in columns for name in column
    }
    centre = {name: 0.0 for column in columns for name in column}
    for sweep in range(_SWEEPS):
        for column in columns[:: 1 if sweep % 2 else -1]:
            wanted = [_mean([centre[other] for other in near.get(name, ())], centre[name]) for name in column]
            low, found = float("-inf"), []
            for name, y in zip(column, wanted, strict=True):
                found.append(max(y, low + half[name]))
                low = found[-1] + half[name] + _ROW_GAP
            shift = _mean([y - at for y, at in zip(wanted, found, strict=True)], 0.0)
            centre.update({name: at + shift for name, at in zip(column, found, strict=True)})
    top = min(at - half[name] for name, at in centre.items())
    return {name: at - top + _MARGIN for name, at in centre.items()}


def _points(
    chain: Sequence[str],
    depth: int,
    lefts: Sequence[float],
    widths: Sequence[float],
    centre: Mapping[str, float],
) -> list[tuple[float, float]]:
    points = [(lefts[depth], centre[chain[0]])]
    for step, name in enumerate(chain[1:], start=depth + 1):
        points.append((lefts[step] + widths[step], centre[name]))
        points.append((lefts[step], centre[name]))
    return points[:-1][::-1]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _width(label: str, role: str) -> float:
    return max(len(label) * _CHARACTER, len(role) * _CHARACTER * 0.85) + 2 * _PADDING


def _line(line: Line, names: Mapping[str, str]) -> Markup:
    x, y = line.points[-1]
    points = [*line.points[:-1], (x - 5, y)]
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for index in range(1, len(points)):
        (x1, y1), (x2, y2) = points[index - 1], points[index]
        bend = (x2 - x1) / 2
        crosses = index % 2 == 0
        path.append(
            f"H{x2:.1f}"
            if crosses
            else f"C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        )
    told = f"{names[line.edge.source]} → {names[line.edge.target]} as {line.edge.role}"
    return Markup(
        '<g class="edge"><path d="{}"/><path class="head" d="M{:.1f} {:.1f}l-6 -3.5v7z"/><title>{}</title></g>'
    ).format("".join(path), x, y, told)


def _box(box: Box) -> Markup:
    body = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.0f}" rx="3"/>'
        '<text class="name" x="{:.1f}" y="{:.1f}">{}</text><text class="role" x="{:.1f}" y="{:.1f}">{}</text>'
    ).format(
        box.x, box.y, box.width, _BOX_HEIGHT,
        box.x + _PADDING, box.y + 18, box.label, box.x + _PADDING, box.y + 33, box.role,
    )  # fmt: skip
    group = Markup('<g class="box{}">{}</g>').format("" if box.layer else " is-root", body)
    if not box.link or box.layer == 0:
        return group
    return Markup('<a href="{}" aria-label="{}, {}">{}</a>').format(box.link, box.label, box.role, group)
