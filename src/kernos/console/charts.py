"""Data drawn as SVG text, each drawing with a title and a description. Pure: no script, no style, colours by class.

Plots have no view box: their x positions are shares of the width, so that text and strokes keep their size at any width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kernos.base.units import show_seconds
from kernos.console.show import figure, share

_TOP, _HEIGHT = 14.0, 120.0
_LABEL_GAP = 14.0
_BOUND = re.compile(r"(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)\s*(%?)\s*$")


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[tuple[int, float]]
    """(time in ms, value), by time."""


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    role: str
    """live | canary | previous: the class of its colour and pattern."""
    share: float


def line_chart(key: str, title: str, unit: str, series: Sequence[Series]) -> Markup:
    """Lines over time from zero up, each named at its end. `key` makes the ids unique on a page. Needs two points in one series."""
    times = [at for one in series for at, _ in one.points]
    first, last = min(times), max(times)
    span = max(1, last - first)
    ticks = nice_ticks(max((value for one in series for _, value in one.points), default=0.0))
    top = ticks[-1]
    grid = [_grid_line(tick, top) for tick in ticks]
    labels = [_grid_label(tick, top, unit if tick == top else "") for tick in ticks]
    lines = [_line(one, index, first, span, top) for index, one in enumerate(series)]
    nested = Markup(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 1000 {}" preserveAspectRatio="none">{}</svg>'
    ).format(_TOP, _HEIGHT, _HEIGHT, Markup("").join(lines))
    body = Markup("").join([*grid, nested, *labels, *_end_labels(series, top), *_time_labels(span)])
    return _figure("plot", key, title, _summary(series, unit, span), body)


def nice_ticks(top: float) -> list[float]:
    """Three to five round values from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / 3
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [round(step * index, 12) for index in range(math.ceil(top / step - 1e-9) + 1)]


def share_bar(key: str, title: str, parts: Sequence[Part]) -> Markup:
    """Shares of one whole, side by side. Names stand in the table beside it and, where there is room, on the bar."""
    left, pieces = 0.0, []
    for part in parts:
        width = max(0.0, min(1.0 - left, part.share))
        if width > 0:
            pieces.append(_bar_part(part, left, width))
        left += width
    text = ", ".join(f"{part.name} {share(part.share)}" for part in parts)
    return _figure("bar", key, title, text or "no traffic", Markup("").join(pieces))


def whisker(
    key: str, rule: str, value: float | None, low: float | None, high: float | None, *, passed: bool
) -> Markup:
    """A value as a dot with its 95 % interval, the rule's bound as a line, on a scale that holds all of them."""
    bound = bound_of(rule)
    known = [number for number in (value, low, high, bound) if number is not None]
    if value is None or not known:
        return Markup("")
    least, most = _scale(known)
    at = {
        name: f"{(number - least) / (most - least) * 100:.2f}%"
        for name, number in _named(value, low, high, bound)
    }
    body = [
        Markup('<line class="axis" x1="0%" x2="100%" y1="12" y2="12"/>'),
        Markup('<text x="0%" dx="-9" y="16" text-anchor="end">{}</text>').format(figure(least)),
        Markup('<text x="100%" dx="9" y="16">{}</text>').format(figure(most)),
    ]
    if "bound" in at:
        body.append(Markup('<line class="bound" x1="{0}" x2="{0}" y1="2" y2="22"/>').format(at["bound"]))
    if "low" in at and "high" in at:
        body.append(
            Markup('<line class="span" x1="{}" x2="{}" y1="12" y2="12"/>').format(at["low"], at["high"])
        )
        foot = Markup('<line class="span" x1="{0}" x2="{0}" y1="8" y2="16"/>')
        body += [foot.format(at["low"]), foot.format(at["high"])]
    body.append(Markup('<circle class="dot" cx="{}" cy="12" r="4.5"/>').format(at["value"]))
    ends = f"scale {figure(least)} to {figure(most)}"
    words = f"{figure(value)}, interval {figure(low)} to {figure(high)}, bound {figure(bound)}, {ends}"
    return _figure(
        f"whisker {'is-passed' if passed else 'is-failed'}", key, rule, words, Markup("").join(body)
    )


def bound_of(rule: str) -> float | None:
    """The number a rule such as `accuracy >= 0.65` or `errors > 1%` compares with; 0 for a comparison with the live version."""
    match = _BOUND.search(rule)
    if match:
        return float(match[2]) / (100 if match[3] else 1)
    return 0.0 if rule.startswith("not worse") else None


def evidence_bar(key: str, e_value: float, bound: float) -> Markup:
    """How far the evidence against "nothing has changed" has come, on a log scale from 1 (none) to the alarm's bound."""
    reach = math.log10(max(bound, 10.0))
    done = min(1.0, max(0.0, math.log10(max(e_value, 1.0)) / reach))
    tone = "is-over" if e_value >= bound else ""
    body = [
        Markup('<rect class="track" x="0" y="5" width="100%" height="6"/>'),
        Markup('<rect class="fill" x="0" y="5" width="{:.2f}%" height="6"/>').format(done * 100),
        Markup('<line class="bound" x1="100%" x2="100%" y1="0" y2="16"/>'),
    ]
    words = f"e-value {figure(e_value)} against the alarm's bound {figure(bound)}, log scale from 1"
    return _figure(f"meter {tone}", key, "Evidence of drift", words, Markup("").join(body))


def meter(key: str, title: str, part: float, whole: float) -> Markup:
    """A part of a whole as a thin bar; the figures stand beside it in text."""
    done = min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
    body = Markup(
        '<rect class="track" x="0" y="5" width="100%" height="6"/>'
        '<rect class="fill" x="0" y="5" width="{:.2f}%" height="6"/>'
    ).format(done * 100)
    return _figure("meter", key, title, f"{share(done)} in use", body)


def sparkline(key: str, title: str, points: Sequence[tuple[int, float]]) -> Markup:
    """The last minutes in a table's cell; nothing for fewer than two points."""
    if len(points) < 2:
        return Markup("")
    first, last = points[0][0], points[-1][0]
    line = _path(points, first, max(1, last - first), max(value for _, value in points) or 1.0, 22.0)
    body = Markup(
        '<svg x="0" y="1" width="100%" height="22" viewBox="0 0 1000 22" preserveAspectRatio="none">'
        '<polyline class="line line-0" points="{}"/></svg>'
    ).format(line)
    return _figure("spark", key, title, f"now {figure(points[-1][1])}", body)


def _figure(kind: str, key: str, title: str, words: str, body: Markup) -> Markup:
    return Markup(
        '<svg class="{}" role="img" aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
    ).format(kind, key, key, key, title, key, words, body)


def _grid_line(tick: float, top: float) -> Markup:
    return Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(f"{_y(tick, top):.1f}")


def _grid_label(tick: float, top: float, unit: str) -> Markup:
    return Markup('<text x="0" y="{:.1f}">{}{}</text>').format(
        _y(tick, top) - 3, f"{tick:,g}", f" {unit}" if unit else ""
    )


def _line(one: Series, index: int, first: int, span: int, top: float) -> Markup:
    return Markup('<polyline class="line line-{}" points="{}"/>').format(
        index, _path(one.points, first, span, top, _HEIGHT)
    )


def _path(points: Sequence[tuple[int, float]], first: int, span: int, top: float, height: float) -> str:
    return " ".join(
        f"{(at - first) / span * 1000:.1f},{height - min(value, top) / top * (height - 1):.1f}"
        for at, value in points
    )


def _end_labels(series: Sequence[Series], top: float) -> list[Markup]:
    """Names with the newest value right of the plot, at least one line apart."""
    ends = sorted(
        ((_y(one.points[-1][1], top) + 4, index, one) for index, one in enumerate(series) if one.points),
        key=lambda end: (end[0], -end[1]),
        reverse=True,
    )
    labels, floor = [], math.inf
    for wanted, index, one in ends:
        y = min(wanted, floor - _LABEL_GAP)
        floor = y
        labels.append(
            Markup('<text class="end end-{}" x="100%" dx="6" y="{}">{} {}</text>').format(
                index, f"{y:.1f}", one.name, figure(one.points[-1][1])
            )
        )
    return labels


def _time_labels(span: int) -> list[Markup]:
    y = f"{_TOP + _HEIGHT + 16:.0f}"
    places = (("start", "0%", span), ("middle", "50%", span // 2), ("end", "100%", 0))
    return [
        Markup('<text class="time" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, y, anchor, f"−{show_seconds(back / 1000)}" if back else "now"
        )
        for anchor, x, back in places
    ]


def _summary(series: Sequence[Series], unit: str, span: int) -> str:
    parts = [
        f"{one.name} now {figure(one.points[-1][1])} {unit}, highest {figure(max(value for _, value in one.points))} {unit}"
        for one in series
        if one.points
    ]
    return f"The last {show_seconds(span / 1000)}: {'; '.join(parts)}. The table below has every point."


def _bar_part(part: Part, left: float, width: float) -> Markup:
    label = (
        Markup('<text x="{:.2f}%" dx="10" y="15">{}</text>').format(left * 100, part.name)
        if width > 0.3
        else ""
    )
    return Markup('<rect class="part part-{}" x="{:.2f}%" y="0" width="{:.2f}%" height="22"/>{}').format(
        part.role, left * 100, width * 100, label
    )


def _named(
    value: float, low: float | None, high: float | None, bound: float | None
) -> list[tuple[str, float]]:
    pairs = (("value", value), ("low", low), ("high", high), ("bound", bound))
    return [(name, number) for name, number in pairs if number is not None]


def _scale(known: Sequence[float]) -> tuple[float, float]:
    """0 to 1 for shares; around zero for differences; else from zero with room."""
    least, most = min(known), max(known)
    if least < 0:
        reach = nice_ticks(max(-least, most))[-1]
        return -reach, reach
    return (0.0, 1.0) if most <= 1 else (0.0, nice_ticks(most)[-1])


def _y(value: float, top: float) -> float:
    return _TOP + _HEIGHT - min(value, top) / top * (_HEIGHT - 1)
