"""Where predictions may be answered: this machine alone, for there is no TLS here yet."""

from __future__ import annotations

import ipaddress

from kernos.base.errors import InvalidError, RefusedError


def check_address(host: str, port: int) -> None:
    """InvalidError for what is no address, RefusedError for one beyond loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise InvalidError(f"{host!r} is not an address.", hint="plane.host is 127.0.0.1 or ::1.") from error
    if not address.is_loopback:
        hint = "Keep it on loopback and put a proxy with TLS before it."
        raise RefusedError(f"The data plane does not listen on {host} without TLS.", hint=hint)
    if not 0 <= port < 65536:
        raise InvalidError(f"{port} is not a port.", hint="plane.port is 1 to 65535, or 0 for any free one.")
