"""What a model file takes and gives: names, datatypes and shapes in the words of the Open Inference Protocol v2."""

from __future__ import annotations

from typing import Literal

import msgspec

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]


class TensorSpec(msgspec.Struct, frozen=True):
    name: str
    datatype: Datatype
    shape: list[int]
    """-1 where any size goes; the first is the batch."""
    columns: list[str] = []
    """The table's columns behind the second dimension, in order; empty for anything but a table."""


class Signature(msgspec.Struct, frozen=True):
    task: Literal["classification", "regression", "other"]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    classes: list[int | str] = []
    """Class labels in the order of the probabilities' columns."""

    @property
    def columns(self) -> list[str]:
        """Every table column the model reads, in the order of its inputs."""
        return [column for spec in self.inputs for column in (spec.columns or [spec.name])]
