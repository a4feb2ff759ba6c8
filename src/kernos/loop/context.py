"""What `app.read` and a step call mean inside the kernel: rows come from a version, steps become Runs.

The held-out rows belong to the kernel. A flow reads the training rows; the same flow is later replayed on the
held-out rows, and stops where the Model would be fitted: the table it would have been fitted on is what the gate judges on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from kernos.base.errors import InvalidError
from kernos.base.ids import Digest
from kernos.data.dataset import load, scan
from kernos.data.split import held_out
from kernos.loop.room import Room
from kernos.loop.values import Value, decode, encode
from kernos.spec.manifest import Step
from kernos.spec.model import Model

Rows = Literal["training", "fitting", "validation", "held_out"]
"""training = fitting + validation; held_out is the rest."""


class Reader:
    """`app.read`: the dataset version this build has pinned, cut to the rows the reader may see."""

    def __init__(self, room: Room, rows: Rows) -> None:
        self._room = room
        self._rows = rows
        self.refs: dict[str, str] = {}
        """source -> dataset version, for all that was read."""

    def read(self, source: str) -> Any:
        answer = self._room.outcome(self._room.ask("read", {"source": source}))
        self.refs[source] = answer["ref"]
        frame = scan(load(Digest(answer["digest"]), self._room.blobs), self._room.blobs).collect()
        split = self._room.payload["split"]
        outside = held_out(frame, split["held_out"], split["seed"])
        if self._rows == "held_out":
            return frame.filter(outside)
        training = frame.filter(~outside)
        if self._rows == "training":
            return training
        validation = held_out(training, split["validation"], split["seed"] + 1)
        return training.filter(validation if self._rows == "validation" else ~validation)


class FlowContext:
    """A flow in earnest: every step call is a child Run or comes from the cache."""

    def __init__(self, room: Room, tuned: Mapping[str, Any]) -> None:
        self._room = room
        self._tuned = tuned
        self._known: list[_Known] = []
        self._cut: dict[str, str] = {}
        """Digest of a table that was read -> the dataset version it was cut from."""
        self.reader = Reader(room, "training")
        self.model: dict[str, Any] = {}
        """Of the last step that returned a Model: its name, its value, its table argument and what the step says of it."""

    def read(self, app: Any, source: str) -> Any:
        frame = self.reader.read(source)
        value = encode(frame, self._room.blobs, source)
        self._remember(frame, value)
        self._cut[value.digest] = self.reader.refs[source]
        return frame

    def call(
        self,
        app: Any,
        step: Step,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        bound = bind(function, args, kwargs, self._tuned)
        values = {name: self._encoded(value, f"{step.name}({name})") for name, value in bound.items()}
        digests = {value.digest for value in values.values()}
        reads = {digest: ref for digest, ref in self._cut.items() if digest in digests}
        body = {"step": step.name, "arguments": msgspec.to_builtins(values), "reads": reads}
        result = self._room.outcome(self._room.ask("call", body))
        value = msgspec.convert(result["value"], Value)
        if value.kind == "model":
            self.model = {
                "step": step.name,
                "table": result["table"],
                "value": result["value"],
                "meta": result["model"],
            }
        answer = decode(value, self._room.blobs)
        self._remember(answer, value)
        return answer

    def knows(self, value: Any) -> bool:
        """Whether `value` is what a read or a step gave, unchanged."""
        return any(known.is_same(value) for known in self._known)

    def _remember(self, value: Any, encoded: Value) -> None:
        if encoded.kind in {"table", "bytes", "model"}:
            self._known.append(_Known(value, value.clone() if encoded.kind == "table" else value, encoded))

    def _encoded(self, value: Any, where: str) -> Value:
        found = next((known.encoded for known in self._known if known.is_same(value)), None)
        return found or encode(value, self._room.blobs, where)


@dataclass(frozen=True, slots=True)
class _Known:
    """A value that is stored already. Arrays and pandas frames are not kept: nothing tells that they were changed in place."""

    value: Any
    before: Any
    """As it was; of a table a clone, which costs nothing until the table is changed."""
    encoded: Value

    def is_same(self, value: Any) -> bool:
        if value is not self.value:
            return False
        return self.encoded.kind != "table" or bool(value.equals(self.before))


class TrialContext:
    """A trial: steps that depend on a tuned parameter run here and now; the others are shared with all trials."""

    def __init__(self, room: Room, tuned: Mapping[str, Any], flow: Callable[..., Any]) -> None:
        self._tuned = tuned
        self._is_flow_tuned = bool(_names(flow) & set(tuned))
        self._shared = FlowContext(room, {})
        self._shared.reader = Reader(room, "fitting")
        self.model: Model | None = None
        self.model_step = ""

    def read(self, app: Any, source: str) -> Any:
        return self._shared.read(app, source)

    def call(
        self,
        app: Any,
        step: Step,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if self._is_shared(function, [*args, *kwargs.values()]):
            return self._shared.call(app, step, function, args, kwargs)
        result = function(**bind(function, args, kwargs, self._tuned))
        if isinstance(result, Model):
            self.model, self.model_step = result, step.name
        return result

    def _is_shared(self, function: Callable[..., Any], given: Sequence[Any]) -> bool:
        """A tuned parameter of the flow may be in any argument that is not straight from a read or a shared step."""
        if _names(function) & set(self._tuned):
            return False
        return not self._is_flow_tuned or all(self._shared.knows(value) for value in given)


class Captured(Exception):
    """The replay has reached the step that fits the Model."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__("captured")
        self.arguments = arguments


class ReplayContext:
    """The steps above the Model on other rows, in this process, up to the step named `stop`."""

    def __init__(self, room: Room, rows: Rows, stop: str, tuned: Mapping[str, Any]) -> None:
        self._stop = stop
        self.tuned = tuned
        self.reader = Reader(room, rows)
        self.rows_read = 0

    def read(self, app: Any, source: str) -> Any:
        frame = self.reader.read(source)
        self.rows_read = max(self.rows_read, frame.height)
        return frame

    def call(
        self,
        app: Any,
        step: Step,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        bound = bind(function, args, kwargs, self.tuned)
        if step.name == self._stop:
            raise Captured(bound)
        return function(**bound)


def replay(
    flow: Callable[..., Any], context: ReplayContext, running: Any, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments with which the Model's step would have been called on the context's rows."""
    try:
        with running(context):
            flow(**flow_arguments(flow, arguments, context.tuned))
    except Captured as captured:
        return captured.arguments
    raise InvalidError(
        "The flow did not reach the step that fits the Model when it was replayed on other rows.",
        hint="A flow must call the same steps whatever rows it reads.",
    )


def flow_arguments(
    flow: Callable[..., Any], arguments: Mapping[str, Any], tuned: Mapping[str, Any]
) -> dict[str, Any]:
    """What the flow is called with: a parameter of its own that is tuned takes its tuned value."""
    return {**arguments, **{name: tuned[name] for name in _names(flow) & set(tuned)}}


def bind(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], tuned: Mapping[str, Any]
) -> dict[str, Any]:
    """Every argument by name, defaults included; a tuned parameter that the call leaves out takes its tuned value."""
    signature = inspect.signature(function)
    given = signature.bind_partial(*args, **kwargs).arguments
    filled = {name: tuned[name] for name in signature.parameters if name in tuned and name not in given}
    bound = signature.bind(*args, **kwargs, **filled)
    bound.apply_defaults()
    return dict(bound.arguments)


def model_table(arguments: Mapping[str, Any], columns: list[str], target: str, step: str) -> Any:
    """The table a Model was (or would be) fitted on: the first one with all its columns and the target, as polars."""
    for value in arguments.values():
        frame = as_polars(value)
        if frame is not None and set(columns) <= set(frame.columns):
            if target not in frame.columns:
                raise InvalidError(
                    f"Step {step} is called without the target column {target!r}, so nothing can be judged.",
                    hint=f"Hand {step} one table that still holds {target!r} and the sensitive columns.",
                )
            return frame
    raise InvalidError(
        f"No argument of step {step} has all columns of its Model ({', '.join(columns[:8])}).",
        hint="Put what a prediction needs inside the model (a Pipeline), and pass the step a table with those columns.",
    )


def _names(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def as_polars(value: Any) -> Any | None:
    """A polars frame for a polars or pandas frame; None for anything else."""
    if type(value).__name__ != "DataFrame":
        return None
    if type(value).__module__.startswith("polars"):
        return value
    import polars as pl

    return pl.from_pandas(value)
