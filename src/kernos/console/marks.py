"""One small drawing per state, so that shape says what colour says. Each is drawn on a 16 by 16 grid in the text's colour."""

from __future__ import annotations

from markupsafe import Markup

_RING = '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5"/>'
_DISC = '<circle cx="8" cy="8" r="6.25" fill="currentColor"/>'
_TICK = (
    '<path d="M3 8.6 6.4 12 13 4.6" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round"/>'
)
_CROSS = '<path d="M4 4l8 8M12 4l-8 8" fill="none" stroke="currentColor" stroke-width="2.25" stroke-linecap="round"/>'
_DASHED = '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="2.4 2.4"/>'
_PLAY = '<path d="M4 2.6v10.8L13.4 8z" fill="currentColor"/>'
_SQUARE = '<rect x="3.5" y="3.5" width="9" height="9" fill="currentColor"/>'
_EQUAL = '<path d="M3.5 6h9M3.5 10h9" stroke="currentColor" stroke-width="2" stroke-linecap="round"/>'
_HALF = f'{_RING}<path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor"/>'
_BACK = (
    '<path d="M6.5 3 3 6.5 6.5 10M3.5 6.5H10a3 3 0 0 1 0 6H7" fill="none" stroke="currentColor" '
    'stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"/>'
)
_TRIANGLE = (
    '<path d="M8 2 14.5 13.5h-13z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/>'
    '<path d="M8 6.4v3.2M8 11.4v.2" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/>'
)
_INFO = (
    f'{_RING}<path d="M8 7.4v3.4M8 5v.2" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>'
)

_SHAPES = {
    "idle": _RING,
    "queued": _DASHED,
    "waiting": _DASHED,
    "running": _PLAY,
    "done": _TICK,
    "passed": _TICK,
    "cached": _EQUAL,
    "failed": _CROSS,
    "error": _CROSS,
    "alarm": _TRIANGLE,
    "warning": _TRIANGLE,
    "drifted": _TRIANGLE,
    "info": _INFO,
    "stopped": _SQUARE,
    "live": _DISC,
    "canary": _HALF,
    "rolled_back": _BACK,
    "previous": _RING,
}

_TONES = {
    "failed": "bad",
    "error": "bad",
    "alarm": "warn",
    "warning": "warn",
    "drifted": "warn",
    "rolled_back": "warn",
    "running": "on",
    "live": "on",
    "canary": "on",
    "queued": "soft",
    "waiting": "soft",
    "idle": "soft",
    "stopped": "soft",
    "previous": "soft",
}

_BRAND = (
    (13.5, 8, 1.6), (11.9, 11.9, 1.35), (8, 13.5, 1.35), (4.1, 11.9, 1.35),
    (2.5, 8, 1.35), (4.1, 4.1, 1.35), (8, 2.5, 1.35), (11.9, 4.1, 1.35),
)  # fmt: skip


def shape(state: str) -> Markup:
    """The drawing's inside, for use in a larger SVG; an unknown state is an open ring."""
    return Markup(_SHAPES.get(state, _RING))  # noqa: S704 - constants above


def mark(state: str) -> Markup:
    """The drawing for use in text. Decoration: the word stands beside it."""
    return Markup(
        '<svg class="mark" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>'
    ).format(shape(state))


def tone(state: str) -> str:
    """The colour's role: `on` (accent), `bad`, `warn`, `soft`, or plain ink."""
    return _TONES.get(state, "plain")


def brand() -> Markup:
    """The sign of Kernos: the loop's eight stages."""
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="{r}"/>' for x, y, r in _BRAND)
    return Markup(
        '<svg class="brand-mark" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>'
    ).format(
        Markup(dots)  # noqa: S704 - numbers above
    )
