"""Messages between kernel and warm parent."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import CorruptError
from kernos.base.ids import RunId
from kernos.kernel.run import Exit, Limits
from kernos.kernel.wire import (
    MESSAGE_LIMIT_BYTES,
    Begin,
    Born,
    Ended,
    Hello,
    Idle,
    Living,
    Message,
    Quit,
    Slay,
    Unpacker,
    connect,
    listen,
    pack,
)

MESSAGES: list[Message] = [
    Hello(),
    Begin(RunId(1), 2, "module:step", "/home/runs/1", Limits(1.0, 2**30, 60.0, 64, 2**20)),
    Slay(RunId(1)),
    Quit(),
    Idle(),
    Born(RunId(1), 2, 4711),
    Living(1, [Born(RunId(1), 2, 4711)]),
    Ended(Exit(RunId(1), 2, code=0)),
]


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.lists(st.integers(1, 40), max_size=50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[Message], cuts: list[int]
) -> None:
    data = b"".join(map(pack, messages))
    unpacker = Unpacker()
    out: list[Message] = []
    for cut in [*cuts, len(data)]:
        out += unpacker.feed(data[:cut])
        data = data[cut:]

    assert out == messages


@pytest.mark.parametrize(
    "data",
    [
        (MESSAGE_LIMIT_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\2{}",
        b"\0\0\0\4nope",
        b'\0\0\0\x0f{"type":"other"}',
    ],
)
def test_anything_else_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        Unpacker().feed(data)


def test_a_socket_in_a_deep_home_is_private_and_reachable(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 40)
    home.mkdir()
    assert connect(home) is None

    with listen(home) as listener:
        link = connect(home)
        assert link is not None
        link.close()
        assert stat.S_IMODE((home / "warm.sock").stat().st_mode) == 0o600
        listener.close()

    assert connect(home) is None
