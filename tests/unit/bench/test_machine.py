"""What the measurements share is right: lines, noise, memory, and a command that anybody can repeat."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

from first_model import code_lines
from machine import memory, noise, peer_pythons, repeat, share, tree


def test_code_lines_leave_out_blank_lines_comments_and_docstrings() -> None:
    source = '"""What it is.\n\nAt length."""\n\nimport os  # used\n\n\n# why\ndef f(\n    x,\n):\n    """Say."""\n    return x\n'

    assert code_lines(source) == 5


def test_noise_is_the_ratio_of_medians_and_the_whole_spread() -> None:
    assert noise([1.0, 2.0, 9.0], [4.0, 4.0]) == {"a_over_b": 0.5, "worst_over_best": 9.0}


def test_share_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert share(values, 0.95) == 96.0
    assert share([3.0], 0.95) == 3.0


def test_the_command_to_repeat_names_no_folder_of_this_machine() -> None:
    given = [
        "/srv/x/bench/start.py",
        "--rounds",
        "3",
        "--peer-venv",
        "mlflow=/srv/x/mlflow",
        "--out",
        "/srv/x.json",
    ]

    assert repeat(given) == "python bench/start.py --rounds 3 --peer-venv mlflow=DIR"


def test_an_unknown_peer_is_refused_and_an_absent_one_skipped(tmp_path: Path) -> None:
    assert peer_pythons([f"mlflow={tmp_path}"], ["mlflow"]) == (
        {},
        {"mlflow": "no environment given: see --peer-venv"},
    )
    with pytest.raises(SystemExit, match="No such peer: airflow"):
        peer_pythons(["airflow=x"], ["mlflow"])


def test_memory_alone_lies_between_proportional_and_resident() -> None:
    here = os.getpid()

    held = memory([here])

    assert here in tree(here)
    assert held.processes == 1
    assert 0 < held.pss_bytes <= held.alone_bytes * 1.01
    assert held.alone_bytes <= held.rss_bytes * 1.05
