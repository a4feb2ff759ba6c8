"""The only file that chooses implementations: settings in, a running system out."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kernos.base.clock import Clock, SystemClock
from kernos.base.errors import ConflictError, UnavailableError
from kernos.base.files import write_atomic
from kernos.base.processes import identify
from kernos.base.settings import Settings
from kernos.catalog.blobs import Blobs, FileBlobs
from kernos.catalog.records import PrincipalRecord
from kernos.catalog.store import SqlStore
from kernos.client.home import KernelFile, write_kernel_file
from kernos.kernel.driver import Kernel
from kernos.kernel.executor import Executor
from kernos.kernel.local import LocalExecutor
from kernos.loop.deploy import Deployer
from kernos.loop.facade import Loop
from kernos.loop.reconciler import Reconciler
from kernos.loop.settle import settle
from kernos.loop.watcher import Watcher
from kernos.security.keys import SigningKey, VerifyKey, load_or_create_secret
from kernos.security.sessions import Sessions
from kernos.security.tokens import Authenticator, RunTokens, issue
from kernos.serve.supervisor import Plane


@dataclass(slots=True)
class System:
    settings: Settings
    home: Path
    clock: Clock
    store: SqlStore
    blobs: Blobs
    kernel: Kernel
    plane: Plane
    loop: Loop
    reconciler: Reconciler
    auth: Authenticator
    sessions: Sessions
    signer: SigningKey
    lock: IO[bytes]
    url: str = ""
    is_plane_ours: bool = False
    """Whether the data plane ends with this system: one that was found alive serves on until `start` has succeeded."""

    def start(self, url: str) -> None:
        """Recover what was, then take up work. `url` is where the API listens."""
        self.url = url
        self.is_plane_ours = not self.plane.alive()
        plane_url = self.plane.start()
        self.kernel.start()
        self.reconciler.start()
        self._announce(plane_url)
        self.is_plane_ours = True

    def stop(self) -> None:
        """Also after a start that failed. What one part fails with keeps no other from stopping."""
        with ExitStack() as last:
            last.callback(self.lock.close)
            last.callback((self.home / "kernel.json").unlink, missing_ok=True)
            last.callback(self.store.close)
            if self.is_plane_ours:
                last.callback(self.plane.stop)
            last.callback(self.kernel.stop)
            last.callback(self.reconciler.stop)

    def check_head(self, head: bytes, signature: str, key_id: str) -> bool:
        """Whether this home's own key signed the journal's head."""
        if key_id != self.signer.key_id:
            return False
        return VerifyKey.from_pem(self.signer.public_pem).verify(head, bytes.fromhex(signature))

    def _announce(self, plane_url: str) -> None:
        process = identify(os.getpid())
        assert process is not None
        socket = str(self.home / "kernel.sock")
        write_kernel_file(
            self.home, KernelFile(process.pid, process.started_ticks, self.url, socket, plane_url)
        )


def open_system(settings: Settings) -> System:
    """Open the home, take its lock, and build every part; nothing runs yet."""
    home = settings.home_path
    _make_home(home)
    with ExitStack() as undo:
        lock = undo.enter_context(_take_lock(home))
        store = SqlStore(f"sqlite:///{home / 'catalog.db'}", SystemClock())
        store.open()
        undo.callback(store.close)
        system = _build(settings, home, store, lock)
        undo.pop_all()
    return system


def _build(settings: Settings, home: Path, store: SqlStore, lock: IO[bytes]) -> System:
    clock = SystemClock()
    blobs: Blobs = FileBlobs(home / "blobs")
    signer = SigningKey.load_or_create(home / "keys")
    run_tokens = RunTokens(load_or_create_secret(home / "keys" / "kernel.secret"))
    executor: Executor = LocalExecutor(home, idle_s=settings.kernel.warm_idle_s)
    kernel = Kernel(
        store,
        executor,
        settings.kernel,
        home,
        clock,
        settle=settle,
        token_for=run_tokens.issue,
        socket=str(home / "kernel.sock"),
    )
    plane = Plane(home, settings.plane, clock)
    deployer = Deployer(store, blobs, plane, signer, settings.loop, clock)
    loop = Loop(store, blobs, kernel, deployer, signer, settings.loop, home, clock)
    watcher = Watcher(store, kernel, loop, signer, settings.loop, home, clock)
    reconciler = Reconciler(store, kernel, deployer, watcher, signer, settings.loop, home, clock)
    _first_token(store, home)
    return System(
        settings=settings,
        home=home,
        clock=clock,
        store=store,
        blobs=blobs,
        kernel=kernel,
        plane=plane,
        loop=loop,
        reconciler=reconciler,
        auth=Authenticator(store, run_tokens),
        sessions=Sessions(),
        signer=signer,
        lock=lock,
    )


def _make_home(home: Path) -> None:
    try:
        for folder in (
            home,
            home / "keys",
            home / "runs",
            home / "plane" / "log",
            home / "blobs",
            home / "apps",
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UnavailableError(
            f"The home {home} cannot be made: {error.strerror}.", hint="Choose another with --home DIR."
        ) from error


def _take_lock(home: Path) -> IO[bytes]:
    try:
        lock = (home / "kernel.lock").open("ab")
    except OSError as error:
        raise UnavailableError(
            f"The home {home} cannot be written: {error.strerror}.", hint="Choose another with --home DIR."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConflictError(
            f"Another kernel runs on {home}.",
            hint=f"Stop it with kernos down --home {home}, or choose another home.",
        ) from None
    return lock


def _first_token(store: SqlStore, home: Path) -> None:
    """The first administrator: made once, its token kept in a private file, only the hash in the catalog."""
    with store.read() as reader:
        if reader.get(PrincipalRecord, "admin") is not None:
            return
    token = store.write(lambda tx: issue(tx, "admin", "person", "admin", by="kernel"))
    write_atomic(home / "token", token.encode(), mode=0o600)
