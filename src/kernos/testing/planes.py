"""A home with signed packages and a real data plane on it: for tests that need the process."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kernos.base.digests import of_bytes
from kernos.models.package import PackageManifest, seal, statement
from kernos.runtime.signature import Signature, TensorSpec
from kernos.runtime.wanted import Caller, Revision, Route, Status, Wanted
from kernos.security.dsse import sign_statement
from kernos.security.keys import SigningKey

TOKEN = "kernos_test"  # noqa: S105 - of tests alone
APP = "m"
START_S = 60.0
SIGNATURE = Signature(
    task="regression",
    inputs=[TensorSpec("input", "FP32", [-1, 3], ["a", "b", "c"])],
    outputs=[TensorSpec("prediction", "FP32", [-1, 1])],
)


class PlaneHome:
    """Packages, wanted state and the process of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "plane"
        self.key = SigningKey.load_or_create(home / "keys")
        self.generation = 0
        self.folder.mkdir(parents=True)

    def package(self, version: int, factor: float, *, key: SigningKey | None = None) -> Revision:
        """A model that answers `factor` times the sum of a row."""
        onnx = linear(factor)
        digest = of_bytes(onnx)
        manifest = PackageManifest(1, APP, digest, SIGNATURE, "y", digest, [], 0, {}, {}, "0")
        files = dict.fromkeys(("gates.json", "lineage.json", "reference.json", "replay.json"), b"{}")
        files |= {"card.md": b"# m\n", "model.onnx": onnx, "manifest.json": msgspec.json.encode(manifest)}
        digests = {name: of_bytes(data) for name, data in files.items()}
        path = self.home / f"{APP}-{version}.kpkg"
        sealed = seal(path, files, sign_statement(statement(digests, manifest), key or self.key))
        return Revision(APP, version, str(path), sealed)

    def want(self, revisions: Sequence[Revision], route: Route) -> None:
        self.generation += 1
        wanted = Wanted(
            generation=self.generation,
            revisions=list(revisions),
            routes=[route],
            callers=[Caller("ann", hashlib.sha256(TOKEN.encode()).hexdigest())],
            trusted_keys=[self.key.public_pem],
        )
        new = self.folder / "wanted.json.new"
        new.write_bytes(msgspec.json.encode(wanted))
        new.replace(self.folder / "wanted.json")

    def ask(self, question: str) -> Status:
        return msgspec.json.decode(self.ask_raw(json.dumps({"ask": question}).encode()), type=Status)

    def ask_raw(self, line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_S)
            control.connect(str(self.folder / "plane.sock"))
            control.sendall(line + b"\n")
            return control.makefile("rb").readline()

    def spawn(self, *arguments: str, settings: Mapping[str, object] | None = None) -> subprocess.Popen[bytes]:
        lines = ["[plane]", *(f"{name} = {value}" for name, value in (settings or {}).items())]
        (self.home / "kernos.toml").write_text("\n".join(lines))
        command = [sys.executable, "-m", "kernos.serve.plane", "--home", str(self.home), *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    @contextmanager
    def running(self, *arguments: str, settings: Mapping[str, object] | None = None) -> Iterator[str]:
        """The plane's url, once it serves. It must end cleanly."""
        process = self.spawn(*arguments, settings=settings)
        try:
            yield self.wait(process)
        finally:
            process.terminate()
            _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()

    def wait(self, process: subprocess.Popen[bytes]) -> str:
        """Read the log until the plane says that it serves."""
        assert process.stderr is not None
        for line in process.stderr:
            if b"the data plane serves" in line:
                return str(json.loads(line)["url"])
        raise AssertionError(f"the plane ended with {process.wait(5)}")


def linear(factor: float) -> bytes:
    """An ONNX file: `factor` times the sum of a row of three."""
    from onnx import TensorProto, helper

    node = helper.make_node("MatMul", ["input", "weights"], ["prediction"])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [3, 1], [factor] * 3)
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3])
    made = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph([node], "linear", [given], [made], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def connect(url: str, timeout_s: float = 30.0) -> HTTPConnection:
    place = urlsplit(url)
    return HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)


def call(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None, token: str = TOKEN
) -> tuple[int, Any]:
    """Status and JSON body of one request on a kept connection."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    return answer.status, json.loads(data) if data else None
