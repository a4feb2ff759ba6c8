"""What every test shares: deterministic Hypothesis, no user configuration, loud skips."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "kernos", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("kernos")

for name in [name for name in os.environ if name.startswith("KERNOS_") and name != "KERNOS_DATA"]:
    del os.environ[name]


@pytest.fixture
def data_folder() -> Path:
    """Real data sets that are not part of the project; tests that need them skip where they are absent."""
    folder = os.environ.get("KERNOS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KERNOS_DATA does not name a folder with the benchmark data sets")
    return Path(folder)


class Home:
    """A home with a kernel of its own, driven by the public commands."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kernos.cli.main", *words, "--home", str(self.path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)

    def json(self, *words: str) -> Any:
        """What a command answers with --json; the command must succeed."""
        done = self.command(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def refusal(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and problem document of a command that must not succeed."""
        done = self.command(*words, "--json")
        assert done.returncode != 0, done.stdout
        return done.returncode, json.loads(done.stdout)

    def up(self) -> None:
        done = self.command("up", "--detach")
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        self.command("down", "--yes")

    def kernel(self) -> dict[str, Any]:
        """What `kernel.json` says of the kernel that runs."""
        facts: dict[str, Any] = json.loads((self.path / "kernel.json").read_text())
        return facts

    def kill_kernel(self) -> None:
        """As a power cut would: no goodbye."""
        os.kill(int(self.kernel()["pid"]), signal.SIGKILL)

    def token(self) -> str:
        return (self.path / "token").read_text().strip()


@pytest.fixture
def cold_home(tmp_path: Path) -> Iterator[Home]:
    """A home whose kernel the test starts itself; whatever runs there at the end is ended."""
    home = Home(tmp_path / "home")
    yield home
    home.down()


@pytest.fixture
def home(cold_home: Home) -> Home:
    """A home with a running kernel."""
    cold_home.up()
    return cold_home


@pytest.fixture
def diabetes(tmp_path: Path) -> Path:
    """The example App's folder, with its data written."""
    folder = tmp_path / "app"
    examples = Path(__file__).parents[1] / "examples" / "diabetes"
    folder.mkdir()
    for name in ("app.py", "shuffled.py", "brittle.py"):
        (folder / name).write_text((examples / name).read_text())
    subprocess.run([sys.executable, str(examples / "data.py"), str(folder)], check=True, timeout=60)
    return folder
