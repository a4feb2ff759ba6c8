"""A worker's surroundings: the blobs of its home, the kernel's API, and the App's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kernos.base.errors import from_problem
from kernos.base.ids import Digest
from kernos.catalog.blobs import FileBlobs
from kernos.client.http import Http
from kernos.kernel.run import Task
from kernos.spec.app import App
from kernos.spec.load import import_app

CALL_WAIT_S = 20.0
"""How long one question to the kernel may stay open before it is asked again."""
KERNEL_GONE_S = 120.0
"""How long a worker waits for a kernel that does not answer: a restart fits in."""


class Room:
    """What every work function starts with."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.payload: dict[str, Any] = task.payload
        self.home = Path(task.home)
        self.folder = Path(task.folder)
        self.blobs = FileBlobs(self.home / "blobs")
        self._http = Http.unix(task.socket, token=task.token, patience_s=KERNEL_GONE_S)

    def app(self) -> App:
        """The App this Run works for, from its stored source bundle, which its load Run has checked."""
        return import_app(code_folder(self.home, Digest(self.payload["code"])), self.payload["main"])

    def ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """One of the questions a worker may ask for itself: read, call, trial, wait, sign."""
        answer: dict[str, Any] = self._http.request("POST", f"/v1/child/{self.task.run}/{verb}", body)
        return answer

    def outcome(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The result behind an answer that names a Run, once that Run has ended well."""
        while answer["state"] in {"queued", "running"}:
            answer = self.ask("wait", {"run": answer["run"], "timeout_s": CALL_WAIT_S})
        result: dict[str, Any] = answer["result"]
        if answer["state"] in {"done", "cached"}:
            return result
        raise from_problem(result.get("error") or {"code": "failed", "detail": answer["reason"]})


def code_folder(home: Path, code: Digest) -> Path:
    """Where the source bundle with this digest lies unpacked."""
    return home / "apps" / code.removeprefix("sha256:")[:24]
