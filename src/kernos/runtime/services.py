"""Which revision answers a request: the live one, the canary for its share, or the one asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernos.base.errors import KernosError, NotFoundError, UnavailableError
from kernos.runtime.lane import Lane
from kernos.runtime.wanted import Route


class Splitter:
    """Of every n requests n·share, rounded down, go to the canary, evenly spread: no chance, so one can
    count."""

    def __init__(self, share: float) -> None:
        self.share = min(max(share, 0.0), 1.0)
        self._asked = 0

    def is_canary(self) -> bool:
        before = math.floor(self._asked * self.share + 1e-9)
        self._asked += 1
        return math.floor(self._asked * self.share + 1e-9) > before


class Service:
    """One app's routing. Lasts as long as its app is wanted; `point` changes it between two requests."""

    def __init__(self, app: str) -> None:
        self.app = app
        self.live: Lane | None = None
        self.canary: Lane | None = None
        self.versions: dict[int, Lane] = {}
        self.why = "it is not loaded yet"
        """Why there is no live revision."""
        self._splitter = Splitter(0.0)
        self._route: Route | None = None

    def point(
        self, route: Route, lanes: Mapping[tuple[str, int], Lane], failures: Mapping[tuple[str, int], str]
    ) -> None:
        """Obey `route`. Where its live revision did not load, the one before answers on, if still wanted."""
        self.versions = {version: lane for (app, version), lane in lanes.items() if app == self.app}
        before = self.live.loaded.version if self.live else None
        live = self.versions.get(route.live)
        if live is None and before is not None:
            live = self.versions.get(before)
        self.live = live
        self.why = failures.get((self.app, route.live), "it is not among the wanted revisions")
        self.canary = (
            None if route.canary is None or route.canary == route.live else self.versions.get(route.canary)
        )
        if self._route is None or (route.canary, route.share) != (self._route.canary, self._route.share):
            self._splitter = Splitter(route.share)
        self._route = route

    @property
    def is_ready(self) -> bool:
        return self.live is not None

    def pick(self) -> Lane | None:
        """The lane of the next request."""
        if self.canary is not None and self._splitter.is_canary():
            return self.canary
        return self.live

    def missing(self, version: int | None) -> KernosError:
        """Why `pick` or `versions` had nothing."""
        if version is None:
            hint = "Run: kernos services"
            return UnavailableError(f"No version of {self.app!r} is serving: {self.why}.", hint=hint)
        known = ", ".join(map(str, sorted(self.versions))) or "none"
        return NotFoundError(f"Version {version} of {self.app!r} is not loaded.", hint=f"Loaded: {known}.")
