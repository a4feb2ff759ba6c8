"""What an operator may change: default < `kernos.toml` < `KERNOS_…` < flag. An unknown name is an error.

Each setting is a line in docs/reference/settings.md; a test compares the two.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kernos.base.errors import InvalidError


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port once and keeps it for this home."""
    body_limit_bytes: int = 32 * 2**20
    """A control request is an app's source or a question; data goes by path."""
    tls_certificate: str = ""
    tls_key: str = ""


class PlaneSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 0
    body_limit_bytes: int = 64 * 2**20
    header_limit_bytes: int = 16 * 2**10
    connection_limit: int = 2048
    body_timeout_s: float = 10.0
    """A client that stops in the middle of a request is cut off after this."""
    log_flush_s: float = 0.05
    """Predictions reach the log file within this time; a killed process loses no more."""


class KernelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cpus: float = 0.0
    """Cores that Runs may hold together; 0 takes what the machine has."""
    memory_bytes: int = 0
    """Memory that Runs may hold together; 0 takes 80 % of the machine's."""
    run_memory_bytes: int = 2 * 2**30
    run_wall_s: float = 3600.0
    run_log_bytes: int = 16 * 2**20
    """A Run's output beyond this is dropped, and the log says so."""
    run_processes: int = 256
    retries: int = 1
    """How often a Run that was lost through no fault of its own is started again."""
    warm_idle_s: float = 300.0
    """A warm parent without work ends after this time and gives its memory back."""


class LoopSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tick_s: float = 0.2
    monitor_every_s: float = 2.0
    held_out_share: float = 0.25
    validation_share: float = 0.25
    """Share of the training rows that scores tuning trials."""
    canary_minimum_requests: int = 50


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    home: str = "~/.kernos"
    log_level: str = "info"
    api: ApiSettings = ApiSettings()
    plane: PlaneSettings = PlaneSettings()
    kernel: KernelSettings = KernelSettings()
    loop: LoopSettings = LoopSettings()

    @property
    def home_path(self) -> Path:
        return Path(self.home).expanduser().resolve()


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Settings from file, environment (`KERNOS_HOME`, `KERNOS_API__PORT`) and flags (`{"api.port": 0}`)."""
    environment = os.environ if environment is None else environment  # noqa: TID251 - this is where settings come from
    flags = dict(flags or {})
    tree: dict[str, Any] = {}
    home = flags.get("home") or environment.get("KERNOS_HOME") or Settings().home
    file = file or Path(str(home)).expanduser() / "kernos.toml"
    if file.exists():
        tree = _read_toml(file)
    for key, text in environment.items():
        if key.startswith("KERNOS_") and key not in {"KERNOS_DATA", "KERNOS_TOKEN", "KERNOS_URL"}:
            _put(tree, key.removeprefix("KERNOS_").lower().replace("__", "."), text)
    for name, value in flags.items():
        _put(tree, name, value)
    _refuse_unknown(tree, "", msgspec.to_builtins(Settings()))
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidError(
            f"A setting has a wrong value: {error}.", hint="See docs/reference/settings.md."
        ) from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(
            f"{file} is not TOML: {error}.", hint="Correct the file or move it away."
        ) from error


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
    tree[last] = value


def _refuse_unknown(tree: Mapping[str, Any], prefix: str, known: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known here: {', '.join(known)}."
            raise InvalidError(f"There is no setting {prefix}{name}.", hint=hint)
        if isinstance(known[name], Mapping):
            if not isinstance(value, Mapping):
                raise InvalidError(
                    f"{prefix}{name} is a group of settings.", hint=f"Known: {', '.join(known[name])}."
                )
            _refuse_unknown(value, f"{prefix}{name}.", known[name])
