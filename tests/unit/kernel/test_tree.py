"""Processes below a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kernos.base.processes import identify
from kernos.kernel import tree

FAMILY = (
    "import os,sys,signal\nif os.fork() == 0:\n    os.setsid()\n    print('up', flush=True)\nsignal.pause()"
)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child in a session of its own."""
    environment = {"KERNOS_TREE_TEST": str(os.getpid())}
    command = [sys.executable, "-c", FAMILY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        yield parent
        tree.end(tree.descendants(parent.pid) | {parent.pid}, 5.0)


def test_descendants_are_found_and_measured(family: subprocess.Popen[bytes]) -> None:
    below = tree.descendants(family.pid)

    assert len(below) == 1
    assert tree.children(family.pid) == below
    assert family.pid in tree.descendants(os.getpid())
    both = below | {family.pid}
    assert 0 < tree.pss_sum(both) <= tree.rss_sum(both)
    assert tree.cpu_sum(both) >= 0.0


def test_marked_processes_are_found_and_ended(family: subprocess.Popen[bytes]) -> None:
    mark = f"KERNOS_TREE_TEST={os.getpid()}"
    (child,) = tree.descendants(family.pid)

    assert tree.marked(mark) == {family.pid, child}
    assert tree.marked(mark + "0") == set()

    tree.end([child, family.pid], 5.0)
    assert identify(child) is None


def test_what_is_gone_counts_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    tree.kill([process.pid])
    tree.end([process.pid], 1.0)
    assert tree.children(process.pid) == set()
    assert tree.rss_sum([process.pid]) == 0
