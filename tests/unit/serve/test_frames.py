"""Frames: whatever is cut off or damaged ends what is read, and nothing before it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.serve.frames import MAGIC, Frame, FrameEncoder, Notes, frames, whole_bytes

NOTES = st.builds(
    Notes,
    st.integers(0, 2**53),
    st.text(max_size=5),
    st.lists(
        st.tuples(st.text(max_size=9), st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2)),
        max_size=3,
    ),
)


def written(notes: list[Notes]) -> bytes:
    encoder = FrameEncoder()
    return MAGIC + b"".join(encoder.encode(one) for one in notes)


@given(st.lists(NOTES, max_size=5))
def test_frames_come_back(notes: list[Notes]) -> None:
    data = written(notes)

    assert list(frames(data)) == notes
    assert whole_bytes(data) == len(data)


@given(st.lists(NOTES, min_size=1, max_size=4), st.data())
def test_a_torn_tail_is_dropped(notes: list[Notes], data: st.DataObject) -> None:
    whole = written(notes)
    end = data.draw(st.integers(0, len(whole)))

    found: list[Frame] = list(frames(whole[:end]))

    assert found == notes[: len(found)]
    assert whole_bytes(whole[:end]) <= end
    assert list(frames(whole[: whole_bytes(whole[:end])])) == found


@given(st.lists(NOTES, min_size=1, max_size=3), st.data())
def test_a_damaged_byte_ends_the_reading(notes: list[Notes], data: st.DataObject) -> None:
    whole = bytearray(written(notes))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))

    found = list(frames(bytes(whole)))

    assert found == notes[: len(found)]
    assert len(found) < len(notes)


@given(st.binary(max_size=60))
def test_noise_holds_no_frames(noise: bytes) -> None:
    assert list(frames(noise)) == []
    assert list(frames(MAGIC + noise)) == [] or noise.startswith(b"\x00" * 8)


@pytest.mark.parametrize("data", [b"", b"KP", b"other text"])
def test_another_file_has_no_whole_bytes(data: bytes) -> None:
    assert whole_bytes(data) == 0
