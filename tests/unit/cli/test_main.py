from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from kernos.base.errors import ConflictError, KernosError, RefusedError
from kernos.base.version import VERSION
from kernos.cli.main import _FAMILIES, _GROUPS, _VERBS

HEAVY = (
    "numpy",
    "polars",
    "sklearn",
    "onnx",
    "onnxruntime",
    "litestar",
    "uvicorn",
    "sqlalchemy",
    "cryptography",
    "optuna",
)


def test_help_is_light() -> None:
    """One process, asked what it has loaded: the time it takes follows from that."""
    code = (
        "import sys\n"
        "from kernos.cli.main import run\n"
        "run(['--help'])\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert "lineage" in done.stdout


def test_every_verb_stands_in_one_group() -> None:
    grouped = [verb for verbs in _GROUPS.values() for verb in verbs]

    assert sorted(grouped) == sorted([*_VERBS, *_FAMILIES])


def _commands() -> list[tuple[str, ...]]:
    return [(name,) for name in _VERBS] + [
        (name, verb) for name, (_, verbs) in _FAMILIES.items() for verb in verbs
    ]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_help_and_json(kernos: Any, words: tuple[str, ...]) -> None:
    done = kernos(*words, "--help")

    assert done.code == 0
    assert "--json" in done.out
    assert words[-1] == "version" or "--home" in done.out


@pytest.mark.parametrize(
    "words", [("up", "--bogus"), ("frobnicate",), ("why",), ("deploy", "a", "x"), ("ps", "-n", "0")]
)
def test_wrong_arguments_say_what_and_where_help_is(kernos: Any, words: tuple[str, ...]) -> None:
    done = kernos(*words)

    assert done.code == 2
    assert done.out == ""
    assert "invalid:" in done.err
    assert "--help" in done.err


def test_with_json_wrong_arguments_are_a_problem_document(kernos: Any) -> None:
    done = kernos("deploy", "a", "x", "--json")

    assert (done.code, done.json["code"], done.err) == (2, "invalid", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(RefusedError("no", hint="train"), 6), (ConflictError("moved on"), 4), (KernosError("?"), 1)],
)
def test_the_exit_code_comes_from_the_error(kernel: Any, kernos: Any, error: KernosError, code: int) -> None:
    kernel.answers["GET /v1/home"] = error

    plain, as_json = kernos("status"), kernos("status", "--json")

    assert plain.code == as_json.code == code
    assert error.message in plain.err
    assert plain.out == ""
    assert (as_json.json["detail"], as_json.err) == (error.message, "")


def test_version_is_told_both_ways(kernos: Any) -> None:
    assert kernos("version").out == f"kernos {VERSION}\n"
    assert kernos("version", "--json").json == {"version": VERSION}


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    code = "import sys\nfrom kernos.cli.main import run\nsys.exit(run(['doctor', '--json']))"

    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )

    os.close(write)
    assert "Traceback" not in done.stderr
