"""What the documents show is what happens: their sessions are typed into one kernel and compared with what they print.

A fence marked `console run` is typed line by line, one marked `python run` is run, and one marked `python file=NAME` is
written where the reader would write it (below `examples/` it must be the file that is there). `…` stands for any text, and
for any number of lines where it stands alone; `[exit 6]` says with which code the command before it ends. What no two runs
share (times, sizes, ports, digests, ids) is compared by its kind.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Home

ROOT = Path(__file__).parents[2]
SESSION = (
    "docs/tutorial/first-loop.md",
    "docs/how-to/ingest-and-contracts.md",
    "docs/how-to/tune.md",
    "docs/how-to/gates.md",
    "docs/how-to/write-a-step.md",
    "docs/how-to/canary-and-rollback.md",
    "docs/how-to/feedback.md",
    "docs/how-to/drift-and-retrain.md",
    "docs/how-to/audit-and-lineage.md",
    "docs/how-to/run-as-a-service.md",
)
"""In the order of a reader: each goes on in the folder and on the kernel that the one before has left."""
FENCE = re.compile(
    r"^```(?P<language>console|python) (?P<mark>run|file=\S+)\n(?P<text>.*?)^```$", re.M | re.S
)
PREDICTION = re.compile(r"\b[0-9a-f]{16,24}-[0-9a-f]{1,8}\b")
KINDS = (
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?"), "TIME"),
    (re.compile(r"127\.0\.0\.1:[0-9]+"), "HOST"),
    (re.compile(r"code=[\w-]+"), "code=CODE"),
    (re.compile(r"kernos_[\w-]{43}"), "TOKEN"),
    (PREDICTION, "PREDICTION"),
    (re.compile(r"\b(?:sha256:)?[0-9a-f]{64}\b|sha256:[0-9a-f]{12}…"), "DIGEST"),
    (re.compile(r"ed25519:[0-9a-f]{16}"), "SIGNER"),
    (re.compile(r"\b[0-9]+(?:\.[0-9]+)? (?:ms|s|min|h|d)\b"), "SPAN"),
    (re.compile(r"\b[0-9]+(?:\.[0-9]+)? (?:B|KiB|MiB|GiB)\b"), "SIZE"),
    (re.compile(r"\bpid [0-9]+"), "pid NUMBER"),
)


@dataclass(frozen=True)
class Step:
    """One fence, or one command of a fence, with the line it stands on."""

    place: str
    kind: str
    text: str
    wanted: str = ""
    exit: int = 0


def steps_of(document: str) -> list[Step]:
    text = (ROOT / document).read_text(encoding="utf-8")
    steps: list[Step] = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        if fence["language"] == "console":
            steps += commands(document, line, fence["text"])
        else:
            steps.append(Step(f"{document}:{line}", fence["mark"], fence["text"]))
    return steps


def commands(document: str, line: int, text: str) -> list[Step]:
    """Each `$ command` with what follows it."""
    steps = []
    for number, part in enumerate(re.split(r"^\$ ", text, flags=re.M)[1:], 1):
        command, _, wanted = part.partition("\n")
        while wanted.startswith(">"):  # a here-document, as bash asks for it
            more, _, wanted = wanted.partition("\n")
            command += "\n" + more[1:].removeprefix(" ")
        code = re.search(r"^\[exit ([0-9]+)\]\n", wanted, re.M)
        wanted = wanted.replace(code[0], "") if code else wanted
        steps.append(
            Step(f"{document}:{line} ({number})", "command", command, wanted, int(code[1]) if code else 0)
        )
    return steps


class Shell:
    """A reader at a terminal: a folder, an environment, and the id of the last prediction."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self._prediction = ""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {**os.environ, "PATH": path, "KERNOS_HOME": str(home), "COLUMNS": "100"}

    def take(self, step: Step) -> None:
        if step.kind.startswith("file=examples/"):
            assert step.text == (ROOT / step.kind.removeprefix("file=")).read_text(), step.place
        elif step.kind.startswith("file="):
            (self.folder / step.kind.removeprefix("file=")).write_text(step.text)
        elif step.kind == "run":
            code, said = self._run([sys.executable, "-c", step.text])
            assert code == 0, f"{step.place}\n{said}"
        elif step.text.startswith("cd "):
            self.folder = (self.folder / step.text.removeprefix("cd ")).resolve()
        else:
            self._type(step)

    def _type(self, step: Step) -> None:
        code, said = self._run(["bash", "-c", PREDICTION.sub(self._prediction, step.text)])
        told = f"{step.place}\n$ {step.text}\n{said}[exit {code}]\nthe document says:\n{step.wanted}[exit {step.exit}]"
        if code != step.exit or not pattern_of(step.wanted).fullmatch(plain(said)):
            pytest.fail(told, pytrace=False)
        found = PREDICTION.findall(said)
        self._prediction = found[-1] if found else self._prediction

    def _run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout


def plain(text: str) -> str:
    """Without what differs from run to run, without empty lines and runs of spaces."""
    for pattern, name in KINDS:
        text = pattern.sub(name, text)
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines() if line.strip())


def pattern_of(wanted: str) -> re.Pattern[str]:
    lines = plain(wanted).splitlines()
    parts = [
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, re.split(" ?…", line))) + r"\n"
        for line in lines
    ]
    return re.compile("".join(parts))


@pytest.mark.timeout(180)
def test_every_session_of_the_documents_goes_as_it_is_written(home: Home, tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "examples").symlink_to(ROOT / "examples")
    shell = Shell(tmp_path / "checkout", home.path)

    for document in SESSION:
        for step in steps_of(document):
            shell.take(step)


def test_no_marked_fence_is_left_out() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        if FENCE.search(path.read_text(encoding="utf-8"))
    }

    assert marked - {"README.md"} <= set(SESSION)
    assert set(SESSION) <= marked


def test_the_app_in_the_readme_is_the_example() -> None:
    files = [step for step in steps_of("README.md") if step.kind.startswith("file=")]

    assert [step.kind for step in files] == ["file=examples/diabetes/app.py"]
    assert files[0].text == (ROOT / "examples/diabetes/app.py").read_text()


def test_the_tutorials_app_is_short() -> None:
    """From a CSV to a monitored service in 25 lines, and in four commands after the installation."""
    steps = steps_of("docs/tutorial/first-loop.md")
    app = next(step for step in steps if step.kind == "file=app.py")
    typed = [step.text for step in steps if step.kind == "command"]
    until_live = typed[: typed.index("kernos run app.py") + 1]

    assert len([line for line in app.text.splitlines() if line.strip()]) <= 25
    assert [command for command in until_live if command.startswith("kernos")] == [
        "kernos up --detach",
        "kernos run app.py",
    ]
    assert len([command for command in until_live if not command.startswith("cd ")]) <= 4


def test_the_comparison_is_not_blind() -> None:
    assert pattern_of("live  1\n…\nend 3 s\n").fullmatch(plain("live 1\nx\ny\nend 12.5 s\n"))
    assert pattern_of("a … c\n").fullmatch("a b c\n")
    assert not pattern_of("live 1\n").fullmatch("live 2\n")
    assert not pattern_of("live 1\n").fullmatch("live 1\nmore\n")
    assert not pattern_of("").fullmatch("anything\n")
