"""The command line that does the same as a page or an action, ready to paste into a POSIX shell."""

from __future__ import annotations

from shlex import quote


def runs(state: str = "", kind: str = "", app: str = "", parent: int | None = None) -> str:
    options = {"--state": state, "--kind": kind, "--app": app, "--parent": "" if parent is None else str(parent)}
    return " ".join(["kernos ps", *(f"{name} {quote(value)}" for name, value in options.items() if value)])


def why(run: int) -> str:
    return f"kernos why {run}"


def follow(run: int) -> str:
    return f"kernos logs -f {run}"


def stop(run: int) -> str:
    return f"kernos stop {run}"


def rollback(app: str) -> str:
    return f"kernos rollback {quote(app)}"


def artifacts(prefix: str) -> str:
    return f"kernos ls {quote(prefix)}" if prefix else "kernos ls"


def lineage(ref: str) -> str:
    return f"kernos lineage {quote(ref)}"


def diff(a: str, b: str) -> str:
    return f"kernos diff {quote(a)} {quote(b)}" if a and b else "kernos diff <a> <b>"
