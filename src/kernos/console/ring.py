"""The loop of one App as a ring of its stages: shape, word and colour say the state of each. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from kernos.api.views import StageView
from kernos.console.marks import mark, shape, tone

STAGES = ("ingest", "prepare", "train", "gate", "package", "deploy", "infer", "observe")

_WIDTH, _HEIGHT = 440, 350
_X, _Y, _RADIUS, _NODE = 220.0, 175.0, 112.0, 17.0


def loop_of(stages: Sequence[StageView]) -> list[StageView]:
    """All eight stages in order; one that is not told of is idle."""
    told = {stage.name: stage for stage in stages}
    return [told.get(name) or StageView(name=name, state="idle", detail="") for name in STAGES]


def ring(key: str, stages: Sequence[StageView], title: str, centre: Sequence[str]) -> Markup:
    """An SVG of at most `_WIDTH` pixels; up to three short lines stand in the middle, the first large."""
    loop = loop_of(stages)
    arcs = [_arc(index, stage) for index, stage in enumerate(loop)]
    nodes = [_node(index, stage) for index, stage in enumerate(loop)]
    words = "; ".join(f"{stage.name} {stage.state}" for stage in loop)
    return Markup(
        '<svg class="ring" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}{}{}</svg>'
    ).format(
        _WIDTH, _HEIGHT, key, key, key, title, key, words,
        Markup("").join(arcs), Markup("").join(nodes), _centre(centre),
    )  # fmt: skip


def strip(stages: Sequence[StageView]) -> Markup:
    """The eight marks in one line, for a table's cell, with the words for those who do not see them."""
    loop = loop_of(stages)
    words = ", ".join(f"{stage.name} {stage.state}" for stage in loop)
    marks = [
        Markup('<span class="tone-{}">{}</span>').format(tone(stage.state), mark(stage.state))
        for stage in loop
    ]
    return Markup('<span class="strip" role="img" aria-label="{}">{}</span>').format(
        words, Markup("").join(marks)
    )


def _place(index: float, radius: float = _RADIUS) -> tuple[float, float]:
    angle = math.tau * index / len(STAGES) - math.pi / 2
    return _X + radius * math.cos(angle), _Y + radius * math.sin(angle)


def _arc(index: int, stage: StageView) -> Markup:
    """From this stage to the next, with an arrow's head; solid once this stage has come through."""
    gap = (_NODE + 7) / _RADIUS / math.tau * len(STAGES)
    (x1, y1), (x2, y2) = _place(index + gap), _place(index + 1 - gap)
    passed = stage.state in {"done", "cached"}
    angle = 360 * (index + 1 - gap) / len(STAGES)
    return Markup(
        '<g class="arc {}"><path d="M{:.1f} {:.1f}A{r:.0f} {r:.0f} 0 0 1 {:.1f} {:.1f}"/>'
        '<path class="head" transform="translate({:.1f} {:.1f}) rotate({:.0f})" d="M-4.5 -3.6 1.5 0 -4.5 3.6"/></g>'
    ).format("is-through" if passed else "is-open", x1, y1, x2, y2, x2, y2, angle, r=_RADIUS)


def _node(index: int, stage: StageView) -> Markup:
    x, y = _place(index)
    label = _label(index, stage)
    return Markup(
        '<g class="node node-{} tone-{}"><circle class="disc" cx="{:.1f}" cy="{:.1f}" r="{:.0f}"/>'
        '<g transform="translate({:.1f} {:.1f})">{}</g>{}</g>'
    ).format(stage.state, tone(stage.state), x, y, _NODE, x - 8, y - 8, shape(stage.state), label)


def _label(index: int, stage: StageView) -> Markup:
    side = 0 if index in (0, 4) else 1 if index < 4 else -1
    x, y = _place(index, _RADIUS + _NODE + (8 if index % 2 == 0 else 5))
    x += 5 * side * (index % 2)
    anchor = {0: "middle", 1: "start", -1: "end"}[side]
    lift = {0: -15, 4: 13}.get(index, -3)
    return Markup(
        '<text class="stage" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
        '<text class="word" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
    ).format(x, y + lift, anchor, stage.name, x, y + lift + 15, anchor, stage.state)


def _centre(lines: Sequence[str]) -> Markup:
    start = _Y + 5 - 10 * (len(lines) - 1)
    rows = [
        Markup('<text class="{}" x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text>').format(
            "core" if index == 0 else "core-more", _X, start + 20 * index, line
        )
        for index, line in enumerate(lines)
    ]
    return Markup("").join(rows)
