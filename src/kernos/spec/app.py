"""An App: what one Python module declares. Without a kernel its functions are plain functions; mistakes
are errors."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, get_args, overload

import msgspec

from kernos.base.errors import InvalidError, NotFoundError
from kernos.base.ids import check_name
from kernos.base.units import parse_bytes, parse_seconds
from kernos.spec import context
from kernos.spec.check import check_manifest
from kernos.spec.code import Code, bundle
from kernos.spec.contract import parse_column
from kernos.spec.gates import parse_rule
from kernos.spec.manifest import Column, Flow, Manifest, Rule, Service, Step
from kernos.spec.place import Place, located, nearest, of_caller, of_function
from kernos.spec.service import parse_canary, parse_rollback
from kernos.spec.trigger import parse_trigger
from kernos.spec.values import is_json, parse_space, whole

if TYPE_CHECKING:
    import polars as pl

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[Any], Any]
"""A gate as a function: takes the evidence (`labels`, `predicted`, `scores`, `groups[column]`, `coverage`:
NumPy arrays, a row each, of the held-out rows) and says whether the model passes."""
Priority = Literal["realtime", "interactive", "batch", "idle"]

_PRIORITIES: tuple[str, ...] = get_args(Priority)
_MOST_RETRIES = 10


class App:
    """Declares steps, flows, gates and a service. `target` is the column to predict; `sensitive` columns
    are kept out of the model's inputs and used by fairness gates. Every wrong word is an InvalidError that
    names the user's line."""

    def __init__(self, name: str, *, target: str, sensitive: Sequence[str] = ()) -> None:
        self._place = of_caller()
        with located(self._place):
            self.name = check_name(name, "an app")
            self.target = target
            self.sensitive = _sensitive(target, sensitive)
        self._steps: dict[str, Step] = {}
        self._flows: dict[str, Flow] = {}
        self._functions: dict[str, FunctionType] = {}
        self._columns: dict[str, Column] = {}
        self._gates: dict[str, Rule] = {}
        self._checks: dict[str, Check] = {}
        self._service: Service | None = None
        self._places: dict[str, Place] = {}
        self._manifest: Manifest | None = None

    def __repr__(self) -> str:
        return f"App({self.name!r})"

    @property
    def file(self) -> Path:
        """The module that makes this App."""
        return Path(self._place.file).resolve()

    def contract(self, **columns: str) -> None:
        """What every row of the data keeps, a column each: `age="int 0..120"`, `code="str? ~ [A-Z]+
        unique"`."""
        place = of_caller()
        with located(place):
            for name, text in columns.items():
                if name in self._columns:
                    raise InvalidError(f"Column {name!r} is in the contract twice.", hint="Keep one of them.")
                self._columns[name] = parse_column(name, _text(text, f"the contract of {name!r}"))
                self._said(f"column {name}", place)

    @overload
    def step(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def step(
        self,
        /,
        *,
        cpus: float = 1.0,
        memory: str = "",
        priority: Priority = "batch",
        retries: int = 0,
        time: str = "",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        cpus: float = 1.0,
        memory: str = "",
        priority: Priority = "batch",
        retries: int = 0,
        time: str = "",
    ) -> Any:
        """A unit of work. Under a kernel each call is a Run, or known from an earlier one; else a plain call.

        `memory="1GiB"` and `time="10m"` are limits: a Run that passes them ends. `priority` is its class.
        """
        with located(of_caller()):
            settings = Step(
                "",
                "",
                cpus=_cpus(cpus),
                memory_bytes=parse_bytes(_text(memory, "memory")) if memory else 0,
                wall_s=parse_seconds(_text(time, "time")) if time else 0.0,
                klass=_priority(priority),
                retries=whole(retries, "retries", 0, _MOST_RETRIES),
            )
        if function is None:
            return lambda function: self._add_step(function, settings)
        return self._add_step(function, settings)

    @overload
    def flow(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def flow(
        self, /, *, tune: Mapping[str, Any] | None = None, trials: int = 0, every: str = ""
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def flow(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        tune: Mapping[str, Any] | None = None,
        trials: int = 0,
        every: str = "",
    ) -> Any:
        """Steps put together to a Model, by calling them.

        `tune={"C": (0.001, 10.0), "kind": ["a", "b"]}`: a pair is a range, a list a choice, for a parameter
        of the flow or of a step; `trials` combinations are tried. `every="on drift, at most daily"` or
        `"every 6h"` builds again unasked.
        """
        with located(of_caller()):
            space, choices = parse_space(tune or {}, trials)
            settings = Flow("", "", tune=space, choices=choices, trials=trials, trigger=parse_trigger(every))
        if function is None:
            return lambda function: self._add_flow(function, settings)
        return self._add_flow(function, settings)

    def gate(self, *rules: str | Check) -> None:
        """What a model must pass before it is packaged: `"accuracy >= 0.65"`, `"parity_gap(sex) <= 0.30"`,
        `"not worse than live"`, or a named function of the evidence (see `Check`)."""
        place = of_caller()
        with located(place):
            for rule in rules:
                parsed = (
                    parse_rule(rule, place.line)
                    if isinstance(rule, str)
                    else _callable_rule(rule, place.line)
                )
                if parsed.text in self._gates:
                    raise InvalidError(f"The gate {parsed.text!r} stands twice.", hint="Remove one of them.")
                self._gates[parsed.text] = parsed
                if not isinstance(rule, str):
                    self._checks[parsed.text] = rule
                self._said(f"gate {parsed.text}", place)

    def serve(
        self, flow: Callable[..., Any], *, canary: str = "", rollback: str = "", explain: bool = False
    ) -> None:
        """Serve the Model that `flow` makes. `canary="10% for 2m"` tries a new version beside the live one
        first; `rollback="errors > 1% or p99 > 50ms"` says when it is taken back."""
        place = of_caller()
        with located(place):
            if self._service is not None:
                raise InvalidError("An App has one service.", hint="Remove one call of app.serve.")
            name = next((name for name in self._flows if self._functions[name] is flow), None)
            if name is None:
                word = getattr(flow, "__name__", str(flow))
                raise InvalidError(f"{word!r} is not a flow of this App.", hint=nearest(word, self._flows))
            share, seconds = parse_canary(_text(canary, "canary"))
            errors, p99_ms = parse_rollback(_text(rollback, "rollback"))
            self._service = Service(name, share, seconds, errors, p99_ms, explain, place.line)
            self._said("service", place)

    def read(self, source: str) -> pl.DataFrame:
        """The rows of a data source. Under a kernel: the training rows of the newest version of the
        dataset; else the whole CSV, JSON-lines or Parquet file, relative to the App's own file."""
        here = context.current()
        if here is not None:
            return cast("pl.DataFrame", here.read(self, source))
        return _read_file(self.file.parent / source, source)

    def manifest(self) -> Manifest:
        """This App as data. Checks everything that only makes sense together."""
        if self._manifest is None:
            manifest = self._build_manifest()
            check_manifest(manifest, self._places, self._parameters())
            self._manifest = manifest
        return self._manifest

    def function(self, name: str) -> Callable[..., Any]:
        """The bare function of step or flow `name`."""
        if name not in self._functions:
            raise NotFoundError(
                f"{self.name} has no step or flow {name!r}.", hint=nearest(name, self._functions)
            )
        return self._functions[name]

    @property
    def checks(self) -> Mapping[str, Check]:
        """The gates that are functions, by their rule's text."""
        return MappingProxyType(self._checks)

    def _add_step(self, function: Callable[P, R], settings: Step) -> Callable[P, R]:
        plain = self._add(function, "step")
        self._steps[plain.__name__] = msgspec.structs.replace(
            settings, name=plain.__name__, params=_defaults(plain), line=of_function(plain).line
        )

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            here = context.current()
            if here is None:
                return function(*args, **kwargs)
            step = next(step for step in self.manifest().steps if step.name == plain.__name__)
            return cast(R, here.call(self, step, function, args, kwargs))

        return call

    def _add_flow(self, function: Callable[P, R], settings: Flow) -> Callable[P, R]:
        plain = self._add(function, "flow")
        self._flows[plain.__name__] = msgspec.structs.replace(
            settings, name=plain.__name__, params=_defaults(plain), line=of_function(plain).line
        )
        return function

    def _add(self, function: Callable[..., Any], what: str) -> FunctionType:
        if not isinstance(function, FunctionType):
            raise InvalidError(
                f"{of_caller()}: a {what} is a function.", hint=f"Write @app.{what} above a def."
            )
        place = of_function(function)
        with located(place):
            if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
                raise InvalidError(
                    f"A {what} is a plain function that returns.", hint="Use def without async or yield."
                )
            name = check_name(function.__name__, f"a {what}")
            if name in self._functions:
                raise InvalidError(
                    f"There are two steps or flows called {name!r}.", hint="Rename one of them."
                )
        self._functions[name] = function
        self._said(f"{what} {name}", place)
        return function

    def _said(self, what: str, place: Place) -> None:
        self._places[what] = place
        self._manifest = None

    def _parameters(self) -> set[str]:
        return {
            name for function in self._functions.values() for name in inspect.signature(function).parameters
        }

    def _build_manifest(self) -> Manifest:
        code = Code(bundle(self.file))
        return Manifest(
            self.name,
            self.target,
            sensitive=list(self.sensitive),
            doc=code.doc(self.file.name),
            code=code.digest(),
            contract=list(self._columns.values()),
            steps=[
                msgspec.structs.replace(step, code=self._code(code, step.name))
                for step in self._steps.values()
            ],
            flows=[
                msgspec.structs.replace(flow, code=self._code(code, flow.name))
                for flow in self._flows.values()
            ],
            gates=list(self._gates.values()),
            service=self._service,
        )

    def _code(self, code: Code, name: str) -> str:
        function, file = self._functions[name], Path(of_function(self._functions[name]).file).resolve()
        with located(of_function(function)):
            relative = os.path.relpath(file, self.file.parent)
            if relative not in code.files or "<locals>" in function.__qualname__:
                raise InvalidError(
                    f"{name} is not at the top of {self.file.name} or of a module it imports.",
                    hint="Define steps and flows at module level, below the App's folder.",
                )
            return code.of_function(relative, name)


def _sensitive(target: object, columns: Sequence[object]) -> tuple[str, ...]:
    if isinstance(columns, str) or not all(isinstance(column, str) and column for column in columns):
        raise InvalidError("sensitive is a list of column names.", hint='Write sensitive=["sex"].')
    if not isinstance(target, str) or not target:
        raise InvalidError("target is the name of the column to predict.", hint='Write target="approved".')
    if target in columns:
        raise InvalidError(
            f"{target!r} is the target and cannot be sensitive too.", hint="Remove it from sensitive."
        )
    return tuple(dict.fromkeys(str(column) for column in columns))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(
            f"{what} is given as text, not as {type(value).__name__}.", hint="Put it in quotes."
        )
    return value


def _cpus(cpus: object) -> float:
    if isinstance(cpus, bool) or not isinstance(cpus, int | float) or not 0 < cpus < math.inf:
        raise InvalidError(f"cpus={cpus!r} is not a number of cores.", hint="Write cpus=1 or cpus=0.5.")
    return float(cpus)


def _priority(word: str) -> Priority:
    if word not in _PRIORITIES:
        raise InvalidError(f"There is no priority {word!r}.", hint=nearest(str(word), _PRIORITIES))
    return cast(Priority, word)


def _callable_rule(rule: object, line: int) -> Rule:
    name = getattr(rule, "__name__", "")
    if not callable(rule) or not name.isidentifier():
        raise InvalidError(
            "A gate is a rule in quotes or a named function.", hint="Write 'accuracy >= 0.65' or a def."
        )
    return Rule(f"{name}()", "callable", metric=name, line=line)


def _defaults(function: FunctionType) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {item.name: item.default for item in parameters if is_json(item.default)}


def _read_file(path: Path, source: str) -> pl.DataFrame:
    if not path.is_file():
        raise NotFoundError(
            f"There is no file {path}.",
            hint=f"Check {source!r}; names of datasets need a kernel: kernos run.",
        )
    import polars  # heavy: only a plain `python app.py` needs it here

    match path.suffix.lower():
        case ".csv":
            return polars.read_csv(path)
        case ".parquet":
            return polars.read_parquet(path)
        case ".jsonl" | ".ndjson":
            return polars.read_ndjson(path)
    raise InvalidError(
        f"{path.name} is no known kind of data file.", hint="Use .csv, .jsonl, .ndjson or .parquet."
    )
