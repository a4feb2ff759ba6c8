"""Rows as a request of the Open Inference Protocol v2, and its answer as rows. Pure.

Source: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from kernos.base.errors import InvalidError


def question(rows: Any, model: Mapping[str, Any]) -> dict[str, Any]:
    """One tensor a column. `rows`: a row, several, or already a request. `model`: the model's metadata."""
    if isinstance(rows, Mapping) and "inputs" in rows:
        return dict(rows)
    listed = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(listed, list) or not listed or not all(isinstance(row, Mapping) for row in listed):
        raise InvalidError("These are no rows.", hint='Write {"bmi": 24.1} or a list of such rows.')
    columns = _columns(model)
    _check_names(listed, list(columns))
    return {
        "inputs": [
            {
                "name": name,
                "shape": [len(listed)],
                "datatype": datatype,
                "data": [_value(row[name], name, datatype) for row in listed],
            }
            for name, datatype in columns.items()
        ]
    }


def answer_rows(value: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The outputs side by side: their names, and their values a row. A wide output takes several columns."""
    names: list[str] = []
    columns: list[list[Any]] = []
    for output in value.get("outputs", []):
        shape, data = output["shape"], output["data"]
        count = shape[0] if shape else 1
        width = len(data) // count if count else 0
        for place in range(width):
            names.append(output["name"] if width == 1 else f"{output['name']}[{place}]")
            columns.append(data[place::width])
    return names, [[_shown(item) for item in row] for row in zip(*columns, strict=True)]


def _columns(model: Mapping[str, Any]) -> dict[str, str]:
    """Every column the model reads -> its datatype."""
    found: dict[str, str] = {}
    for spec in model.get("inputs", []):
        for name in spec.get("parameters", {}).get("columns") or [spec["name"]]:
            found[str(name)] = str(spec["datatype"])
    return found


def _check_names(rows: Sequence[Mapping[str, Any]], known: list[str]) -> None:
    for place, row in enumerate(rows):
        missing = [name for name in known if name not in row]
        unknown = [name for name in row if name not in known]
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes: {', '.join(known)}."
            raise InvalidError(f"Row {place}: the model has no input {unknown[0]!r}.", hint=hint)
        if missing:
            raise InvalidError(
                f"Row {place} lacks {', '.join(missing)}.", hint=f"It takes: {', '.join(known)}."
            )


def _value(value: Any, name: str, datatype: str) -> Any:
    """What was typed on a command line, as the datatype has it; the data plane judges the rest."""
    if datatype == "BYTES" and not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if datatype != "BYTES" and isinstance(value, str):
        raise InvalidError(
            f"{name}={value!r} is not a number.", hint=f"The model reads {name} as {datatype}."
        )
    return value


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
