from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from kernos.console import show


@pytest.mark.parametrize(
    ("back_ms", "text"),
    [
        (None, "–"),
        (-5000, "now"),
        (999, "now"),
        (12_000, "12 s ago"),
        (119_000, "119 s ago"),
        (180_000, "3 min ago"),
        (9_000_000, "2.5 h ago"),
    ],
)
def test_ago(back_ms: int | None, text: str) -> None:
    assert show.ago(None if back_ms is None else 10**9 - back_ms, 10**9) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.7342, "0.734"),
        (-0.0451, "−0.0451"),
        (0.00625, "0.00625"),
        (3.1e-8, "3.1e-08"),
        (12.345, "12.3"),
        (1204.4, "1,204"),
    ],
)
def test_figures_keep_about_three_digits(value: float | None, text: str) -> None:
    assert show.figure(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.1, "10 %"), (1.0, "100 %"), (0.005, "0.5 %")])
def test_shares(value: float | None, text: str) -> None:
    assert show.share(value) == text


def test_counts_and_plurals() -> None:
    assert show.count(12_480) == "12,480"
    assert show.count(None) == "–"
    assert [show.plural(n, "Run") for n in (0, 1, 1200)] == ["0 Runs", "1 Run", "1,200 Runs"]
    assert show.plural(2, "thing needs", "things need") == "2 things need"


def test_a_run_that_never_started_took_nothing(sample: ModuleType) -> None:
    assert show.took(sample.run_view(1, "step", "a", "queued")) == "–"
    assert show.took(sample.run_view(1, "step", "a", "done", wall_s=0.412)) == "412 ms"


def test_digests_are_shortened_and_other_names_are_not() -> None:
    digest = "sha256:" + "ab" * 32

    assert show.short(digest) == "sha256:ababababab…"
    assert show.short("ab" * 32) == "ababababab…"
    assert show.short("ed25519:9f3c2a77b1e04d55") == "ed25519:9f3c2a77b1e04d55"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (True, "yes"), (None, "–"), (3, "3"), (0.25, "0.250"), ([1, {"a": 2}], '[1,{"a":2}]')],
)
def test_json_values_in_one_line(value: Any, text: str) -> None:
    assert show.plain(value) == text


def test_long_documents_are_cut() -> None:
    assert len(show.plain(list(range(1000)))) == 121


def test_what_a_search_found_is_told_in_one_line() -> None:
    found = {"index": 6, "params": {"C": 0.05813}, "reason": "", "value": 0.7691}

    assert show.best(found) == "C 0.0581, value 0.769"
    assert show.best({"C": 0.7, "accuracy": 0.734}) == "C 0.700, accuracy 0.734"
