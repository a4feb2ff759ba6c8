from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from kernos.monitor.features import reference
from kernos.monitor.windows import chi2_p_value, compare_columns, ks_p_value, psi


def table(random: np.random.Generator, rows: int, shift: float = 0.0, share: float = 0.5) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "n": random.normal(shift, 1, rows),
            "m": random.normal(0, 1, rows),
            "c": np.where(random.random(rows) < share, "x", "y"),
        }
    )


@given(st.integers(0, 2**32), st.integers(50, 500), st.floats(0, 1))
def test_ks_agrees_with_scipy(seed: int, rows: int, shift: float) -> None:
    random = np.random.default_rng(seed)
    a, b = np.sort(random.normal(size=330)), np.sort(random.normal(shift, 1, rows))

    exact = stats.ks_2samp(a, b, method="exact").pvalue

    assert ks_p_value(a, b) == pytest.approx(exact, abs=0.02)


@given(st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90)), min_size=2, max_size=9))
def test_chi2_agrees_with_scipy(counts: list[tuple[int, int]]) -> None:
    a, b = zip(*counts, strict=True)

    assert chi2_p_value(a, b) == pytest.approx(
        stats.chi2_contingency([a, b], correction=False).pvalue, abs=1e-9
    )


def test_rare_and_absent_categories_do_not_break_chi2() -> None:
    assert chi2_p_value([100, 0, 0], [100, 0, 0]) == 1.0
    assert chi2_p_value([100, 1, 0], [100, 0, 1]) == 1.0
    assert chi2_p_value([300, 0], [300, 100]) < 1e-9


def test_psi_is_zero_for_equal_shares_and_symmetric() -> None:
    assert psi([10, 20], [100, 200]) == pytest.approx(0)
    assert psi([10, 0], [5, 5]) == pytest.approx(psi([5, 5], [10, 0]))
    assert psi([10, 0], [5, 5]) > 0.25


def test_a_shift_is_found_in_its_column_alone() -> None:
    random = np.random.default_rng(7)
    tests = compare_columns(reference(table(random, 330), ["n", "m", "c"]), table(random, 500, 0.5, 0.8))

    assert [(test.column, test.test, test.drifted) for test in tests] == [
        ("n", "ks", True),
        ("m", "ks", False),
        ("c", "chi2", True),
    ]
    assert tests[0].threshold == pytest.approx(0.05 / 3)
    assert (tests[0].psi or 0) > 0.1 > (tests[1].psi or 0)


def test_unchanged_windows_rarely_drift() -> None:
    random = np.random.default_rng(8)
    hits = sum(
        any(
            test.drifted
            for test in compare_columns(reference(table(random, 330), ["n", "m", "c"]), table(random, 500))
        )
        for _ in range(200)
    )

    assert hits <= 0.05 * 200 + 2 * np.sqrt(200 * 0.05 * 0.95)


def test_few_rows_give_no_verdict() -> None:
    random = np.random.default_rng(9)
    tests = compare_columns(reference(table(random, 330), ["n", "c"]), table(random, 49, 5))

    assert [(test.p_value, test.psi, test.drifted) for test in tests] == [(None, None, False)] * 2
