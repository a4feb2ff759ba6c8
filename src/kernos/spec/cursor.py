"""Reading one line of a small grammar. What does not fit is an error that points at the character."""

from __future__ import annotations

import re

from kernos.base.errors import InvalidError

NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
DURATION = r"\d+(?:\.\d+)?\s*[A-Za-z]+"
SHARE = r"\d+(?:\.\d+)?\s*%"


class Cursor:
    """A position in `text`, taken as one line. Spaces before a token never matter."""

    def __init__(self, text: str, what: str, example: str) -> None:
        self.text = re.sub(r"\s", " ", text)
        self.at = 0
        self._what = what
        self._example = example

    def take(self, pattern: str) -> re.Match[str] | None:
        """Step over `pattern` if it comes next."""
        self._skip_spaces()
        match = re.compile(pattern).match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def expect(self, pattern: str, expected: str) -> str:
        """Step over `pattern`, which must come next; `expected` says what that is."""
        match = self.take(pattern)
        if match is None:
            raise self.error(f"expected {expected}")
        return match[0]

    def rest(self) -> str:
        """Everything that is left."""
        self._skip_spaces()
        left, self.at = self.text[self.at :].strip(), len(self.text)
        return left

    def end(self) -> None:
        self._skip_spaces()
        if self.at < len(self.text):
            raise self.error("nothing more belongs here")

    def error(self, problem: str, *, at: int | None = None, hint: str = "") -> InvalidError:
        """What is wrong, with a caret under the place in the hint."""
        column = self.at if at is None else at
        caret = " " * column + "^"
        advice = hint or f"Write it like {self._example!r}."
        return InvalidError(
            f"{self._what} {self.text!r}: {problem} at character {column + 1}.",
            hint=f"{self.text}\n{caret} {problem}\n{advice}",
            column=column,
        )

    def _skip_spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
