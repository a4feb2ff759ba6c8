"""The kernel's process: `python -m kernos.main --home DIR`. Opens the system, serves the API, stops in order."""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

import msgspec

from kernos.api.app import create_app
from kernos.api.server import serve
from kernos.base.errors import InvalidError, KernosError, UnavailableError, to_problem
from kernos.base.files import write_atomic
from kernos.base.logging import start_logging
from kernos.base.settings import Settings, load_settings
from kernos.console.pages import handlers
from kernos.system import open_system


def main() -> int:
    parser = argparse.ArgumentParser(prog="kernos.main", description=__doc__)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, e.g. home=/srv/kernos"
    )
    options = parser.parse_args()
    try:
        settings = load_settings(dict(_pair(text) for text in options.set))
        start_logging(settings.log_level)
        _run(settings)
    except KernosError as error:
        sys.stderr.write(msgspec.json.encode(to_problem(error)).decode() + "\n")
        return error.exit
    return 0


def _run(settings: Settings) -> None:
    system = open_system(settings)
    try:
        listener = _listen(settings, system.home)
        host, port = listener.getsockname()[:2]
        scheme = "https" if settings.api.tls_certificate else "http"
        application = create_app(system, extra_handlers=handlers(system))
        serve(
            application,
            listener,
            system.home / "kernel.sock",
            settings.api,
            on_ready=lambda: system.start(f"{scheme}://{host}:{port}"),
        )
    finally:
        system.stop()


def _listen(settings: Settings, home: Path) -> socket.socket:
    """The API's socket: the port asked for, else the one this home had, else a free one."""
    remembered = home / "api.port"
    wanted = settings.api.port or (int(remembered.read_text()) if remembered.exists() else 0)
    if not 0 <= wanted < 65536:
        raise InvalidError(f"{wanted} is not a port.", hint="Give 1 to 65535, or 0 for a free one.")
    listener = socket.socket(socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.api.host, wanted))
    except OSError as error:
        if settings.api.port:
            listener.close()
            raise UnavailableError(
                f"Port {wanted} on {settings.api.host} cannot be taken: {error.strerror}.",
                hint="Stop what listens there, choose another with --port, or 0 for a free one.",
            ) from error
        listener.bind((settings.api.host, 0))
    listener.listen(128)
    write_atomic(remembered, str(listener.getsockname()[1]).encode())
    return listener


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidError(f"{text!r} is not NAME=VALUE.", hint="Write --set api.port=7070.")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
