"""Brings `plane/wanted.json` about in the data plane: a package is verified, loaded and measured before
it serves.

What does not verify is never served; it is listed with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import CorruptError, KernosError, RefusedError
from kernos.models.package import open_package
from kernos.runtime.batcher import Batcher
from kernos.runtime.engine import OnnxEngine
from kernos.runtime.lane import Loaded, warmed
from kernos.runtime.plane import Plane
from kernos.runtime.wanted import Revision, Wanted
from kernos.security.keys import VerifyKey

_log = logging.getLogger(__name__)

Failure = tuple[str, int, str]
"""App, version, why."""


class Keeper:
    """Serves one plane; lives on its event loop and loads in a thread beside it."""

    def __init__(self, path: Path, plane: Plane, clock: Clock) -> None:
        self.generation = 0
        self._path = path
        self._plane = plane
        self._clock = clock
        self._signers: dict[Revision, str] = {}
        self._busy = asyncio.Lock()

    async def reload(self) -> None:
        """Obey the file as it is now. CorruptError where it cannot be read: then all stays as it was."""
        async with self._busy:
            wanted = _read(self._path)
            keys = _keys(wanted.trusted_keys)
            failures = self._distrusted(wanted, keys)
            missing = self._plane.missing(wanted)
            loaded = []
            for revision in missing:
                result = await asyncio.to_thread(self._load, revision, keys)
                if isinstance(result, str):
                    failures.append((revision.app, revision.version, result))
                else:
                    loaded.append(result)
            self._plane.apply(wanted, loaded, failures)
            self._signers = {one: self._signers[one] for one in wanted.revisions if one in self._signers}
            self.generation = wanted.generation

    def _distrusted(self, wanted: Wanted, keys: Sequence[VerifyKey]) -> list[Failure]:
        """Revisions that serve now and whose signer is no longer trusted."""
        trusted = {key.key_id for key in keys}
        return [
            (one.app, one.version, f"It is signed by {signer}, which is no longer trusted.")
            for one in wanted.revisions
            if (signer := self._signers.get(one)) is not None and signer not in trusted
        ]

    def _load(self, revision: Revision, keys: Sequence[VerifyKey]) -> tuple[Loaded, Batcher] | str:
        """The model, ready and measured; or why not."""
        try:
            package = open_package(Path(revision.package), keys)
            if package.digest != revision.digest or package.manifest.app != revision.app:
                raise RefusedError("The package is not the one that is wanted.", hint="Deploy it again.")
            signature = package.manifest.signature
            engine = OnnxEngine(package.read("model.onnx"), signature)
            loaded = Loaded(
                revision.app, revision.version, package.digest, signature, engine.run, engine.close
            )
            batcher = warmed(loaded, self._clock)
        except KernosError as error:
            _log.warning(
                "a revision did not load",
                extra={"app": revision.app, "version": revision.version, "why": str(error)},
            )
            return str(error)
        except Exception as error:  # one bad package must not keep the others from serving
            _log.exception(
                "a revision did not load", extra={"app": revision.app, "version": revision.version}
            )
            return f"{type(error).__name__}: {error}"
        self._signers[revision] = package.key_id
        return loaded, batcher


def _read(path: Path) -> Wanted:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Wanted)
    except FileNotFoundError:
        return Wanted(generation=0)
    except (msgspec.DecodeError, OSError) as error:
        raise CorruptError(
            f"{path} cannot be read: {error}.", hint="The kernel writes it anew: kernos up."
        ) from error


def _keys(pems: Sequence[str]) -> list[VerifyKey]:
    keys = []
    for pem in pems:
        try:
            keys.append(VerifyKey.from_pem(pem))
        except KernosError as error:
            _log.error("a trusted key cannot be read and is not trusted", extra={"why": str(error)})
    return keys
