"""The command line that does the same as a page or an action, ready to paste into a POSIX shell."""

from __future__ import annotations

from shlex import quote

BUILD = "kernos run app.py"
"""What makes the first of everything."""


def runs(state: str = "", kind: str = "", app: str = "", parent: int | None = None) -> str:
    given = {
        "--state": state,
        "--kind": kind,
        "--app": app,
        "--parent": "" if parent is None else str(parent),
    }
    options = [f"{name} {quote(value)}" for name, value in given.items() if value]
    return " ".join(["kernos ps", *(options or ["--all"])])


def why(run: int) -> str:
    return f"kernos why {run}"


def follow(run: int) -> str:
    return f"kernos logs -f {run}"


def stop(run: int) -> str:
    return f"kernos stop {run}"


def show(thing: str) -> str:
    """An App by its name, an Artifact by its ref."""
    return f"kernos show {quote(thing)}"


def service(app: str) -> str:
    return f"kernos services {quote(app)}"


def rollback(app: str) -> str:
    return f"kernos rollback {quote(app)}"


def predict(app: str) -> str:
    return f"kernos predict {quote(app)} column=value"


def artifacts(prefix: str) -> str:
    return f"kernos ls {quote(prefix)}" if prefix else "kernos ls"


def lineage(ref: str) -> str:
    return f"kernos lineage {quote(ref or '/models/app@live')}"


def diff(a: str, b: str) -> str:
    return f"kernos diff {quote(a or '/data/name@1')} {quote(b or '@2')}"
