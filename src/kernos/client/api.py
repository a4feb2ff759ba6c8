"""The control plane as Python methods: one a route, plain JSON values in and out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from kernos.base.errors import KernosError, UnavailableError
from kernos.client.home import need_kernel, read_token
from kernos.client.http import Http

_LONG_S = 600.0
"""For what answers only when its work is done: loading an App, comparing datasets, checking the journal."""

Json = dict[str, Any]


class Client:
    """Every method raises the KernosError that the kernel told of."""

    def __init__(self, http: Http, plane: Http | None = None) -> None:
        """`plane`: the inference data plane, for `infer` and `feedback`."""
        self._http = http
        self._plane = plane

    @classmethod
    def from_home(cls, home: Path, *, patience_s: float = 0.0) -> Client:
        """As the administrator of the kernel that runs for this home."""
        file, token = need_kernel(home), read_token(home)
        plane = Http.tcp(file.plane_url, token, patience_s=patience_s) if file.plane_url else None
        return cls(Http.tcp(file.url, token, patience_s=patience_s), plane)

    @classmethod
    def from_url(cls, url: str, token: str, *, patience_s: float = 0.0) -> Client:
        """As whoever holds the token, from anywhere. The data plane is asked for when it is needed."""
        return cls(Http.tcp(url, token, patience_s=patience_s))

    @classmethod
    def for_worker(cls, socket: str, token: str, *, patience_s: float) -> Client:
        """As one Run, over the kernel's socket; waits out a restart for `patience_s`."""
        return cls(Http.unix(socket, token, patience_s=patience_s))

    def health(self) -> Any:
        return self._get("/v1/health")

    def home(self) -> Any:
        return self._get("/v1/home")

    def devices(self) -> Any:
        return self._get("/v1/devices")

    def register_app(self, files: dict[str, str], main: str) -> Any:
        """`files`: name -> source, as `kernos.spec.code.bundle` makes it. Returns once the App is loaded."""
        return self._post("/v1/apps", {"files": files, "main": main}, timeout_s=_LONG_S)

    def apps(self) -> Any:
        return self._get("/v1/apps")

    def app(self, name: str) -> Any:
        return self._get(f"/v1/apps/{quote(name, safe='')}")

    def start_build(self, app: str, folder: str = "", args: Json | None = None) -> Any:
        """`folder`: where relative sources of `app.read` are looked for, on the kernel's machine."""
        return self._post("/v1/builds", {"app": app, "folder": folder, "args": args or {}})

    def build(self, build: int) -> Any:
        return self._get(f"/v1/builds/{build}")

    def runs(self, **filters: Any) -> Any:
        """`state`, `kind`, `app`, `parent`, `limit`, `below`; a list means any of them."""
        return self._get("/v1/runs", **filters)

    def run(self, run: int) -> Any:
        return self._get(f"/v1/runs/{run}")

    def why(self, run: int) -> Any:
        return self._get(f"/v1/runs/{run}/why")

    def log(self, run: int, offset: int = 0, limit: int = 1 << 16) -> Any:
        return self._get(f"/v1/runs/{run}/log", offset=offset, limit=limit)

    def wait(self, run: int, timeout_s: float) -> Any:
        """The Run once it has ended, or as it is when the time is up."""
        return self._http.request(
            "GET", f"/v1/runs/{run}/wait?{urlencode({'timeout_s': timeout_s})}", timeout_s=timeout_s + 30
        )

    def stop(self, run: int) -> Any:
        return self._post(f"/v1/runs/{run}/stop")

    def nice(self, run: int, klass: str = "", weight: float | None = None) -> Any:
        """An empty class and no weight leave the Run's own."""
        given = {"class": klass, "weight": weight}
        wanted = {name: value for name, value in given.items() if value not in (None, "")}
        return self._post(f"/v1/runs/{run}/nice", wanted)

    def ingest(self, source: str, name: str, app: str = "") -> Any:
        return self._post("/v1/data", {"source": source, "name": name, "app": app})

    def artifacts(self, prefix: str = "") -> Any:
        return self._get("/v1/artifacts", prefix=prefix)

    def versions(self, path: str) -> Any:
        return self._get("/v1/artifacts/versions", path=path)

    def artifact(self, ref: str) -> Any:
        return self._get("/v1/artifacts/one", ref=ref)

    def lineage(self, ref: str) -> Any:
        """`ref`: `/data/income@3`, a digest, or `pred:` and a prediction's id."""
        return self._get("/v1/lineage", ref=ref)

    def diff(self, a: str, b: str) -> Any:
        return self._http.request("GET", f"/v1/diff?{urlencode({'a': a, 'b': b})}", timeout_s=_LONG_S)

    def services(self) -> Any:
        return self._get("/v1/services")

    def service(self, app: str) -> Any:
        return self._get(f"/v1/services/{quote(app, safe='')}")

    def deploy(self, app: str, version: int) -> Any:
        return self._post(f"/v1/services/{quote(app, safe='')}/deploy", {"version": version})

    def rollback(self, app: str) -> Any:
        return self._post(f"/v1/services/{quote(app, safe='')}/rollback")

    def prediction(self, prediction: str) -> Any:
        return self._get(f"/v1/predictions/{quote(prediction, safe='')}")

    def events(self, after: int | None = None, limit: int = 100, subject: str = "") -> Any:
        """Events after `after`, oldest first; without it, the newest `limit`."""
        return self._get("/v1/events", after=after, limit=limit, subject=subject)

    def follow_events(self, after: int | None = None) -> Iterator[Json]:
        """Events as they happen; ends when the kernel ends. UnavailableError when the connection breaks."""
        path = "/v1/events/stream" if after is None else f"/v1/events/stream?after={after}"
        for event in self._http.stream(path):
            value = msgspec.json.decode(event.data)
            if not isinstance(value, dict):
                raise KernosError(
                    "The stream holds something that is no Event.", hint="Is this a Kernos kernel?"
                )
            yield value

    def audit(self) -> Any:
        return self._http.request("GET", "/v1/audit", timeout_s=_LONG_S)

    def principals(self) -> Any:
        return self._get("/v1/principals")

    def add_principal(self, name: str, kind: str, role: str) -> Any:
        return self._post("/v1/principals", {"name": name, "kind": kind, "role": role})

    def console_code(self) -> Any:
        """`{"url": …}`: a link that opens the console once."""
        return self._post("/v1/console/code")

    def child(self, run: int, verb: str, body: Json) -> Any:
        """What a worker asks for its own Run: read, call, trial, wait, sign."""
        return self._post(f"/v1/child/{run}/{verb}", body)

    def infer(self, app: str, request: Json) -> Any:
        """One request of the Open Inference Protocol v2."""
        return self._data_plane().request("POST", f"/v2/models/{quote(app, safe='')}/infer", request)

    def model(self, app: str) -> Any:
        """What the live model takes and gives: the protocol's model metadata."""
        return self._data_plane().request("GET", f"/v2/models/{quote(app, safe='')}")

    def feedback(self, prediction: str, values: Json) -> Any:
        """What turned out to be true of a prediction, or of one of its rows: `<id>:<row>`."""
        return self._data_plane().request(
            "POST", "/v2/feedback", {"items": [{"id": prediction, "values": values}]}
        )

    def _data_plane(self) -> Http:
        if self._plane is None:
            urls = [str(service["url"]) for service in self.services() if service["url"]]
            if not urls:
                raise UnavailableError("Nothing is in service.", hint="Build an App: `kernos run app.py`.")
            self._plane = self._http.beside(urls[0].partition("/v2/")[0])
        return self._plane

    def _get(self, route: str, **query: Any) -> Any:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        text = urlencode(given, doseq=True)
        return self._http.request("GET", f"{route}?{text}" if text else route)

    def _post(self, path: str, body: Any = None, *, timeout_s: float = 60.0) -> Any:
        return self._http.request("POST", path, body, timeout_s=timeout_s)
