from __future__ import annotations

from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st

from kernos.console.tree import families


def test_children_follow_their_parent_and_new_families_come_first(sample: ModuleType) -> None:
    runs = [
        sample.run_view(number, "step", "", "done", parent=parent)
        for number, parent in ((5, None), (4, 2), (3, 1), (2, 1), (1, None))
    ]

    assert [(depth, run.id) for depth, run in families(runs)] == [(0, 5), (0, 1), (1, 2), (2, 4), (1, 3)]


def test_a_run_whose_parent_is_on_another_page_is_a_root(sample: ModuleType) -> None:
    assert [depth for depth, _ in families([sample.run_view(9, "step", "", "done", parent=2)])] == [0]


@given(parents=st.lists(st.none() | st.integers(0, 30), max_size=30))
def test_every_run_is_shown_once(sample: ModuleType, parents: list[int | None]) -> None:
    runs = [
        sample.run_view(number, "step", "", "done", parent=parent) for number, parent in enumerate(parents)
    ]

    assert sorted(run.id for _, run in families(runs)) == list(range(len(runs)))
