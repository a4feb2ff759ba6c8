"""Signed statements: DSSE v1 envelopes around in-toto Statement v1. What is read is exactly what was signed.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, https://in-toto.io/Statement/v1
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from kernos.base import digests
from kernos.base.errors import RefusedError
from kernos.security.keys import SigningKey, VerifyKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_PAYLOAD_LIMIT = 4 * 2**20
"""Characters of base64. A statement lists a package's files; thousands would fit."""
_SIGNATURES_LIMIT = 16
_SIGNATURE_LIMIT = 1024


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: list[_Signature]


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: the bytes that are signed. Type and payload are bound together and cannot be mistaken."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_statement(statement: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    """The envelope, ready for JSON. The statement is signed in its canonical form."""
    payload = digests.canonical(statement)
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def verify_envelope(envelope: dict[str, Any], trusted: Sequence[VerifyKey]) -> dict[str, Any]:
    """The statement inside, if a trusted key signed it; RefusedError otherwise.

    One good signature is enough. A signature by nobody we know counts for nothing; one that names a trusted
    key and does not fit is a forgery and refuses the envelope, whatever else it holds.
    """
    parsed = _parse(envelope)
    payload = _decode(parsed.payload, "payload")
    signed = pre_authentication(parsed.payload_type, payload)
    good = [signature for signature in parsed.signatures if _is_signed(signed, signature, trusted)]
    if not good:
        named = ", ".join(signature.keyid[:40] for signature in parsed.signatures) or "nobody"
        raise _refused(
            f"It is signed by {named}, and none of these is a trusted key", "Trust the key, or get another."
        )
    return _statement(payload)


def _parse(envelope: object) -> _Envelope:
    try:
        parsed = msgspec.convert(envelope, _Envelope)
    except msgspec.ValidationError as error:
        raise _refused(f"It is no envelope ({error})") from error
    if parsed.payload_type != PAYLOAD_TYPE:
        raise _refused(f"Its payload type is {parsed.payload_type[:80]!r}, not {PAYLOAD_TYPE!r}")
    is_huge = len(parsed.payload) > _PAYLOAD_LIMIT or len(parsed.signatures) > _SIGNATURES_LIMIT
    if is_huge or any(len(signature.sig) > _SIGNATURE_LIMIT for signature in parsed.signatures):
        raise _refused("It is larger than any envelope we make")
    return parsed


def _is_signed(data: bytes, signature: _Signature, trusted: Sequence[VerifyKey]) -> bool:
    key = next((key for key in trusted if key.key_id == signature.keyid), None)
    if key is None:
        return False
    if not key.verify(data, _decode(signature.sig, "signature")):
        raise _refused(f"The signature of {key.key_id} does not fit its content")
    return True


def _decode(text: str, what: str) -> bytes:
    """Base64 in the standard or the URL-safe alphabet: DSSE allows both."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(f"Its {what} is not base64") from error


def _statement(payload: bytes) -> dict[str, Any]:
    try:
        statement = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refused("Its payload is not JSON") from error
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise _refused("Its payload is no in-toto statement")
    return statement


def _refused(why: str, hint: str = "") -> RefusedError:
    return RefusedError(
        f"The signed envelope is refused. {why}.", hint=hint or "Do not use what it came with."
    )
