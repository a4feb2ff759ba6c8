"""Templates to HTML. Every value is escaped; a name a template misspells is an error, never an empty place."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kernos.base.clock import Clock, iso
from kernos.base.units import show_bytes, show_seconds
from kernos.console import charts, commands, graph, marks, ring, show

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


class Renderer:
    """Jinja is imported and its environment made with the first page, not with the kernel."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def html(self, template: str, **context: Any) -> str:
        return self._environment.get_template(template).render(now_ms=self._clock.wall_ms(), **context)

    @cached_property
    def _environment(self) -> jinja2.Environment:
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(
            bytes=show_bytes, seconds=show_seconds, iso=iso, share=show.share, count=show.count, figure=show.figure,
            short=show.short, plain=show.plain, url=lambda text: quote(str(text), safe=""),
        )  # fmt: skip
        environment.globals.update(
            mark=marks.mark, tone=marks.tone, brand=marks.brand, ring=ring.ring, strip=ring.strip, loop_of=ring.loop_of,
            charts=charts, commands=commands, lineage_graph=graph.graph, ago=show.ago, took=show.took, plural=show.plural,
            best=show.best,
        )  # fmt: skip
        return environment
