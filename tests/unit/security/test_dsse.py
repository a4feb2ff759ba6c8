from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import RefusedError
from kernos.security.dsse import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    pre_authentication,
    sign_statement,
    verify_envelope,
)
from kernos.security.keys import SigningKey

STATEMENT = {
    "_type": STATEMENT_TYPE,
    "subject": [{"name": "model.onnx", "digest": {"sha256": "ab" * 32}}],
    "predicateType": "https://kernos.invalid/gate/v1",
    "predicate": {"passed": True},
}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "key")


@pytest.fixture
def other(tmp_path: Path) -> SigningKey:
    return SigningKey.load_or_create(tmp_path / "other")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_pae_is_the_protocols_test_vector() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, "Test Vectors"
    assert (
        pre_authentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=10)), min_size=2, max_size=2, unique=True))
def test_two_contents_never_have_one_pae(pairs: list[tuple[str, bytes]]) -> None:
    assert pre_authentication(*pairs[0]) != pre_authentication(*pairs[1])


def test_what_was_signed_is_what_is_read(key: SigningKey, other: SigningKey) -> None:
    envelope = json.loads(json.dumps(sign_statement(STATEMENT, key)))

    assert verify_envelope(envelope, [other.verify_key, key.verify_key]) == STATEMENT


def test_the_same_statement_gives_the_same_envelope(key: SigningKey) -> None:
    assert sign_statement(STATEMENT, key) == sign_statement(dict(reversed(STATEMENT.items())), key)


def test_the_url_safe_alphabet_is_read_too(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    envelope["payload"] = envelope["payload"].replace("+", "-").replace("/", "_")
    envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"].replace("+", "-").replace("/", "_")

    assert verify_envelope(envelope, [key.verify_key]) == STATEMENT


def test_a_second_signature_of_a_stranger_does_no_harm(key: SigningKey, other: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    envelope["signatures"].insert(0, sign_statement(STATEMENT, other)["signatures"][0])

    assert verify_envelope(envelope, [key.verify_key]) == STATEMENT


def refused(envelope: Any, key: SigningKey) -> str:
    with pytest.raises(RefusedError) as caught:
        verify_envelope(envelope, [key.verify_key])
    assert caught.value.hint
    return caught.value.message


def test_a_tampered_payload_is_refused(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    payload = base64.b64decode(envelope["payload"]).replace(b"true", b"TRUE")
    envelope["payload"] = text(payload)

    assert "does not fit" in refused(envelope, key)


def test_every_flipped_bit_is_refused(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    for field in ("payload", "sig"):
        where = envelope if field == "payload" else envelope["signatures"][0]
        raw = base64.b64decode(where[field])
        for position in range(0, len(raw), 7):
            changed = bytearray(raw)
            changed[position] ^= 1
            forged = copy.deepcopy(envelope)
            (forged if field == "payload" else forged["signatures"][0])[field] = text(bytes(changed))

            assert "does not fit" in refused(forged, key)


def test_a_strangers_signature_is_refused(key: SigningKey, other: SigningKey) -> None:
    assert "none of these is a trusted key" in refused(sign_statement(STATEMENT, other), key)


def test_a_strangers_signature_under_a_trusted_name_is_refused(key: SigningKey, other: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, other)
    envelope["signatures"][0]["keyid"] = key.key_id

    assert "does not fit" in refused(envelope, key)


def test_a_signature_of_another_statement_is_refused(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    envelope["signatures"] = sign_statement(STATEMENT | {"predicate": {}}, key)["signatures"]

    assert "does not fit" in refused(envelope, key)


def test_a_good_signature_does_not_cover_a_forged_one(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)
    envelope["signatures"].append({"keyid": key.key_id, "sig": text(b"x" * 64)})

    assert "does not fit" in refused(envelope, key)


def test_another_payload_type_is_refused_even_when_it_is_signed(key: SigningKey) -> None:
    kind, payload = "application/json", json.dumps(STATEMENT).encode()
    signature = text(key.sign(pre_authentication(kind, payload)))
    envelope = {
        "payloadType": kind,
        "payload": text(payload),
        "signatures": [{"keyid": key.key_id, "sig": signature}],
    }

    assert "payload type" in refused(envelope, key)
    assert "does not fit" in refused(envelope | {"payloadType": PAYLOAD_TYPE}, key)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"_type": "x"}', b"not json", b"[" * 100_000])
def test_a_signed_payload_that_is_no_statement_is_refused(key: SigningKey, payload: bytes) -> None:
    signature = text(key.sign(pre_authentication(PAYLOAD_TYPE, payload)))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": text(payload),
        "signatures": [{"keyid": key.key_id, "sig": signature}],
    }

    assert "payload" in refused(envelope, key)


def test_huge_envelopes_are_refused(key: SigningKey) -> None:
    envelope = sign_statement(STATEMENT, key)

    assert "larger" in refused(envelope | {"payload": "A" * (4 * 2**20 + 4)}, key)
    assert "larger" in refused(envelope | {"signatures": envelope["signatures"] * 17}, key)
    assert "larger" in refused(envelope | {"signatures": [{"keyid": key.key_id, "sig": "A" * 2000}]}, key)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload": "not base64!"},
        {"payload": "AAA"},
        {"payload": "\N{SNOWMAN}"},
        {"payloadType": 3},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [{}]},
        {"signatures": [{"keyid": "x"}]},
        {"signatures": [{"sig": "AAAA"}]},
    ],
)
def test_malformed_envelopes_are_refused(key: SigningKey, change: dict[str, Any]) -> None:
    refused(sign_statement(STATEMENT, key) | change, key)


@pytest.mark.parametrize("envelope", [None, [], {}, "x", 3])
def test_what_is_no_envelope_is_refused(key: SigningKey, envelope: Any) -> None:
    assert "no envelope" in refused(envelope, key)


def test_without_trusted_keys_nothing_is_trusted(key: SigningKey) -> None:
    with pytest.raises(RefusedError):
        verify_envelope(sign_statement(STATEMENT, key), [])
