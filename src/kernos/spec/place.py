"""Where in the user's source a thing is said, and which words were meant: every mistake names both."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from kernos.base.errors import InvalidError

_HERE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Place:
    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def of_caller() -> Place:
    """The nearest line outside this package: the line the user wrote."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(Path(frame.f_code.co_filename).parent) == _HERE:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def of_function(function: FunctionType) -> Place:
    return Place(function.__code__.co_filename, function.__code__.co_firstlineno)


@contextmanager
def located(place: Place) -> Iterator[None]:
    """Put `file:line` in front of what an InvalidError raised inside says."""
    try:
        yield
    except InvalidError as error:
        details = error.details | {"file": place.file, "line": place.line}
        raise InvalidError(f"{place}: {error.message}", hint=error.hint, **details) from error


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that looks most like `word`, and all of them."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}Known: {', '.join(words) or 'none'}."
