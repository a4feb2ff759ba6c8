"""Typed ids, and the one way to write an Artifact's path: `/data/income@3`."""

from __future__ import annotations

import re
import secrets
from typing import NewType

import msgspec

from kernos.base.errors import InvalidError

RunId = NewType("RunId", int)
Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"[^\W_][\w.-]{0,99}\Z")
_PATH = re.compile(r"(/[^\W_][\w.-]{0,99}){2,4}\Z")


class Ref(msgspec.Struct, frozen=True):
    """An Artifact's path with what picks a version: a number, a name such as `live`, or nothing (newest)."""

    path: str
    at: str = ""

    def __str__(self) -> str:
        return f"{self.path}@{self.at}" if self.at else self.path

    @property
    def version(self) -> int | None:
        return int(self.at) if self.at.isdecimal() else None


def parse_ref(text: str) -> Ref:
    """`/data/income@3` or `data/income@live` or `/data/income` as a Ref."""
    path, _, at = text.partition("@")
    path = path if path.startswith("/") else f"/{path}"
    if not _PATH.match(path) or (at and not _NAME.match(at)):
        raise InvalidError(f"{text!r} is not an Artifact's path.", hint="Write it like /data/income@3.")
    return Ref(path, at)


def parse_digest(text: str) -> Digest:
    if not _DIGEST.match(text):
        raise InvalidError(f"{text[:80]!r} is not a digest.", hint="Write it like sha256:<64 hex digits>.")
    return Digest(text)


def check_name(text: str, what: str) -> str:
    """Names of apps, datasets, principals: letters of any script, digits, `_`, `-`, `.`; 100 at most."""
    if not _NAME.match(text):
        raise InvalidError(
            f"{text[:80]!r} is not a name for {what}.",
            hint="Use letters, digits, '_', '-' and '.', starting with a letter or digit, 100 at most.",
        )
    return text


def new_token(prefix: str) -> str:
    """A secret of 256 random bits, marked by what it is for: `kernos_…`."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"
