"""CSV from outside: its header, digest and shape, checked to the line before anyone believes the parser.

A parser fills short rows with nulls and renames twin columns; here both are errors that name the place
(RFC 4180).
"""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kernos.base.errors import InvalidError

_CHUNK_BYTES = 1 << 20
_HEADER_LIMIT_BYTES = 1 << 20
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_UTF8_HINT = "Save the file as UTF-8, for example: iconv -f ISO-8859-1 -t UTF-8 old.csv > new.csv."

Mask = npt.NDArray[np.bool_]


def header(source: Path, separator: str) -> list[str]:
    """The column names in the first line. InvalidError for an empty file, twins, blanks, other encodings."""
    with source.open("rb") as file:
        start = file.read(_HEADER_LIMIT_BYTES)
    if not start.strip(b"\r\n\t \xef\xbb\xbf"):
        raise InvalidError(f"{source.name} is empty.", hint="Give a file with a header line and rows.")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        at = 0 if start[:1] in b"\xff\xfe" else start.index(b"\0")
        raise _not_utf8(source, at, 1 + start.count(b"\n", 0, at))
    line = _first_record(start).rstrip(b"\r")
    if b"\r" in line and b'"' not in line:
        raise InvalidError(
            f"{source.name} ends its lines with CR alone.", hint="Convert it: tr '\\r' '\\n' < old > new."
        )
    try:
        names = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator), [])
    except UnicodeDecodeError as error:
        raise _not_utf8(source, error.start, 1) from error
    except csv.Error as error:
        raise InvalidError(
            f"{source.name}: the first line is not a header: {error}.", hint="Name the columns in it."
        ) from error
    _check_names(source, names, separator)
    return names


def survey(source: Path, separator: str, width: int) -> str:
    """The file's SHA-256 in hex, after one pass that has seen `width` fields in every line and no NUL byte.

    InvalidError names the line otherwise. Reads in chunks; memory does not grow with the file. Other bytes that
    are no UTF-8 are the parser's to find and `explain_text`'s to name.
    """
    hasher = hashlib.sha256()
    separators = lines = 0
    quoted, has_nul, last = False, False, _NEWLINE
    for chunk in _chunks(source):
        hasher.update(chunk)
        fields, ends, quoted = _structure(chunk, separator, quoted=quoted)
        separators += int(np.count_nonzero(fields))
        lines += int(np.count_nonzero(ends))
        has_nul, last = has_nul or b"\0" in chunk, chunk[-1]
    lines += last != _NEWLINE
    if has_nul:
        explain_text(source)
    if separators != (width - 1) * lines or quoted:
        explain_shape(source, separator, width)
    if lines < 2:
        raise InvalidError(f"{source.name} has a header and no rows.", hint="Give at least one row.")
    return hasher.hexdigest()


def explain_text(source: Path) -> None:
    """InvalidError naming the first byte that is NUL or no UTF-8; nothing if there is none."""
    decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
    for chunk in _chunks(source):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            raise _not_utf8(source, at, _line_of(source, at)) from error
        if b"\0" in chunk:
            at = offset + chunk.index(b"\0")
            raise _not_utf8(source, at, _line_of(source, at))
        offset += len(chunk)
    if cut := len(decoder.getstate()[0]):
        raise _not_utf8(source, offset - cut, _line_of(source, offset - cut))


def explain_shape(source: Path, separator: str, width: int) -> None:
    """InvalidError naming the first line whose number of fields is not `width`; nothing if there is none."""
    line = opened = 0
    fields, quoted = 1, False
    for piece in _pieces(source):
        segments = piece.split(b'"')
        fields += sum(segment.count(separator.encode()) for segment in segments[quoted::2])
        if len(segments) % 2 == 0:
            quoted, opened = not quoted, line + 1
        if not piece.endswith(b"\n"):
            continue
        line += 1
        if not quoted:
            if fields != width:
                raise _ragged(source, line, fields, width, is_blank=not piece.strip())
            fields = 1
    if quoted:
        raise InvalidError(
            f"{source.name}: the quote that opens in line {opened} is never closed.",
            hint='Close it, or double the quotes inside a quoted cell ("").',
            line=opened,
        )
    if fields not in (1, width):
        raise _ragged(source, line + 1, fields, width, is_blank=False)


def _pieces(source: Path) -> Iterator[bytes]:
    """Lines; one of more than a mebibyte comes in pieces, of which only the last ends with a newline."""
    with source.open("rb") as file:
        while piece := file.readline(1 << 20):
            yield piece


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _structure(chunk: bytes, separator: str, *, quoted: bool) -> tuple[Mask, Mask, bool]:
    """Which bytes separate fields, which end lines, and whether a quote is open after `chunk`."""
    data = np.frombuffer(chunk, np.uint8)
    fields, ends = data == ord(separator), data == _NEWLINE
    if not quoted and b'"' not in chunk:
        return fields, ends, False
    inside = np.logical_xor.accumulate(data == _QUOTE) ^ quoted
    return fields & ~inside, ends & ~inside, bool(inside[-1])


def _line_of(source: Path, at: int) -> int:
    line = 1
    for chunk in _chunks(source):
        line += chunk[: max(at, 0)].count(b"\n")
        at -= len(chunk)
        if at <= 0:
            break
    return line


def _first_record(start: bytes) -> bytes:
    _, ends, _ = _structure(start, ",", quoted=False)
    places = np.flatnonzero(ends)
    return start[: int(places[0])] if len(places) else start


def _check_names(source: Path, names: list[str], separator: str) -> None:
    if len(names) == 1 and separator == "," and any(mark in names[0] for mark in ";\t|"):
        raise InvalidError(
            f"{source.name} does not separate its fields with commas: its first line is {names[0][:80]!r}.",
            hint="Separate fields with commas, or with tabs in a file named .tsv.",
        )
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InvalidError(
            f"{source.name} has two columns named {twins[0]!r}.", hint="Rename one of them.", columns=twins
        )
    if "" in names:
        raise InvalidError(
            f"{source.name}: column {names.index('') + 1} has no name.", hint="Name it in the first line."
        )


def _ragged(source: Path, line: int, found: int, width: int, *, is_blank: bool) -> InvalidError:
    what = "is empty" if is_blank else f"has {found} fields, the header has {width}"
    return InvalidError(
        f"{source.name}: line {line} {what}.",
        hint="Remove the line."
        if is_blank
        else "Correct the line; put a cell that holds the separator in quotes.",
        line=line,
    )


def _not_utf8(source: Path, at: int, line: int) -> InvalidError:
    return InvalidError(
        f"{source.name} is not UTF-8: byte {at} in line {line}.", hint=_UTF8_HINT, byte=at, line=line
    )
