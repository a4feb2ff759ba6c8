"""Values between steps: what comes back is what was sent, or it was refused with its name."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernos.base.errors import InvalidError, NotFoundError
from kernos.catalog.blobs import FileBlobs
from kernos.loop.values import StoredModel, Value, decode, encode

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


class Colour(enum.IntEnum):
    RED = 3


@dataclasses.dataclass
class Pair:
    a: int
    b: int


class OnlyPickle:
    """What pickle would carry, and nothing else does."""


def back(value: Any, blobs: FileBlobs) -> Any:
    return decode(encode(value, blobs, "x"), blobs)


@same_folder
@given(PLAIN)
def test_plain_values_come_back_as_they_were(blobs: FileBlobs, value: Any) -> None:
    again = back(value, blobs)

    assert again == value
    assert type(again) is type(value)
    assert encode(value, blobs, "x") == Value("json", inline=value)


@same_folder
@given(st.binary(max_size=200))
def test_bytes_come_back(blobs: FileBlobs, value: bytes) -> None:
    assert back(value, blobs) == value


@same_folder
@given(st.lists(st.tuples(st.integers(-5, 5), st.none() | st.floats(), st.text(max_size=3)), max_size=20))
def test_tables_come_back_with_types_and_order(blobs: FileBlobs, rows: list[tuple[Any, ...]]) -> None:
    schema = {"n": pl.Int32, "x": pl.Float64, "t": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")

    again = back(frame, blobs)

    polars.testing.assert_frame_equal(again, frame)
    assert encode(frame, blobs, "x").rows == len(rows)


def test_a_pandas_frame_comes_back_as_pandas(blobs: FileBlobs) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})

    again = back(frame, blobs)

    assert isinstance(again, pd.DataFrame)
    assert again.to_dict("list") == {"a": [1.5, 2.5], "b": ["x", "y"]}


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "U3", "complex64", "datetime64[s]"])
def test_arrays_come_back_with_shape_and_type(blobs: FileBlobs, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)

    again = back(array, blobs)

    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


def test_equal_values_have_equal_digests(blobs: FileBlobs) -> None:
    first, second = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 2]})

    assert encode(first, blobs, "x") == encode(second, blobs, "x")


def test_a_tuple_arrives_as_a_list_and_an_enum_as_its_number(blobs: FileBlobs) -> None:
    assert back((1, ("a", 2)), blobs) == [1, ["a", 2]]
    assert type(back(Colour.RED, blobs)) is int


@pytest.mark.parametrize(
    "value",
    [
        OnlyPickle(),
        OnlyPickle,
        lambda: 1,
        Pair(1, 2),
        {1, 2},
        datetime.date(2026, 1, 1),
        {1: "a"},
        [1, OnlyPickle()],
        {"deep": {"er": object()}},
        math.nan,
        [math.inf],
        1j,
        np.array([OnlyPickle()], dtype=object),
        np.float32(1),
        np.ma.masked_array([1, 2], [True, False]),
        pl.Series([1]),
        pl.LazyFrame({"a": [1]}),
        pl.DataFrame({"a": [OnlyPickle()]}, schema={"a": pl.Object}),
        pd.DataFrame({"a": [OnlyPickle()]}),
        pd.Series([1]),
        iter([1]),
        Exception("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_travel_is_refused_by_name_and_nothing_is_kept(blobs: FileBlobs, value: Any) -> None:
    with pytest.raises(InvalidError, match=r"train\(rows\) is a .*cannot travel between steps") as caught:
        encode(value, blobs, "train(rows)")

    assert "DataFrame" in caught.value.hint
    assert list(blobs.digests()) == []


def test_a_numpy_float64_travels_as_the_float_it_is(blobs: FileBlobs) -> None:
    assert type(back(np.float64(0.5), blobs)) is float


def test_a_model_is_handed_on_by_digest_alone(blobs: FileBlobs) -> None:
    assert decode(Value("model", "sha256:m"), blobs) == StoredModel("sha256:m")


@pytest.mark.parametrize("kind", ["bytes", "table", "pandas", "array"])
def test_a_value_whose_blob_is_gone_says_so(blobs: FileBlobs, kind: Any) -> None:
    with pytest.raises(NotFoundError):
        decode(Value(kind, "sha256:" + "0" * 64), blobs)


def test_a_pickle_in_an_array_is_never_loaded(blobs: FileBlobs, tmp_path: Any) -> None:
    file = tmp_path / "evil.npy"
    np.save(file, np.array([OnlyPickle()], dtype=object), allow_pickle=True)

    with pytest.raises(ValueError, match="allow_pickle"):
        decode(Value("array", blobs.put(file.read_bytes())), blobs)
