import json
import logging
import sys

from kernos.base.logging import JsonFormatter


def test_a_line_is_json_with_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "kernos.x", "levelname": "WARNING", "msg": "lost %s", "args": ("run",), "run": 13}
    )

    line = json.loads(JsonFormatter().format(record))

    assert (line["level"], line["logger"], line["message"], line["run"]) == (
        "warning",
        "kernos.x",
        "lost run",
        13,
    )


def test_a_traceback_travels_along() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info(), "path": object()})

    line = json.loads(JsonFormatter().format(record))

    assert "ValueError: why" in line["traceback"]
    assert "object object" in line["path"]
