from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernos.base.errors import InvalidError, NotFoundError
from kernos.spec.load import load

APP = "from kernos import App\nimport neighbour\napp = App(neighbour.NAME, target='y')\n"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in {"neighbour", "pack", "pack.inner"} or name.startswith("kernos_app_"):
            del sys.modules[name]


def write(folder: Path, source: str, **modules: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(source)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_neighbours_are_found_and_nothing_is_written_beside_them(tmp_path: Path) -> None:
    folder = write(tmp_path, APP, neighbour="NAME = 'first'")

    assert load(folder, "app.py").name == "first"
    assert sorted(path.name for path in folder.iterdir()) == ["app.py", "neighbour.py"]


def test_each_app_gets_its_own_neighbours_as_they_are_now(tmp_path: Path) -> None:
    one = write(tmp_path / "one", APP, neighbour="NAME = 'one'")
    two = write(tmp_path / "two", APP, neighbour="NAME = 'two'")

    assert load(one, "app.py").name == "one"
    assert load(two, "app.py").name == "two"
    write(one, APP, neighbour="NAME = 'new'")
    assert load(one, "app.py").name == "new"


def test_packages_beside_the_app_are_loaded_anew(tmp_path: Path) -> None:
    source = "from kernos import App\nfrom pack.inner import NAME\napp = App(NAME, target='y')\n"
    for name in ("one", "two"):
        folder = write(tmp_path / name, source)
        (folder / "pack").mkdir()
        (folder / "pack" / "__init__.py").touch()
        (folder / "pack" / "inner.py").write_text(f"NAME = {name!r}")

        assert load(folder, "app.py").name == name


def test_classes_of_the_module_have_the_same_name_in_every_process(tmp_path: Path) -> None:
    load(write(tmp_path, "from kernos import App\nclass A: pass\napp = App('a', target='y')\n"), "app.py")

    module = sys.modules["kernos_app_app"]
    assert module.A.__module__ == "kernos_app_app"


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("x = 1\ny = x / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("x = 1\ndef (:\n", 2, "SyntaxError"),
        ("import neighbr\n", 1, "ModuleNotFoundError"),
        ("def f():\n    raise SystemExit(3)\nf()\n", 2, "SystemExit: 3"),
        ("from kernos.base.errors import LimitError\nraise LimitError('too much')\n", 2, "too much"),
        ("from kernos.spec.gates import parse_rule\nparse_rule('x')\n", 2, "no metric"),
    ],
)
def test_whatever_goes_wrong_names_the_users_line(tmp_path: Path, source: str, line: int, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        load(write(tmp_path, source), "app.py")

    assert caught.value.message.startswith(f"app.py:{line}: ")
    assert says in caught.value.message
    assert caught.value.hint
    assert caught.value.details["line"] == line


def test_an_error_in_a_neighbour_names_the_neighbours_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"^neighbour.py:2: NameError"):
        load(write(tmp_path, APP, neighbour="\nNAME = nothing\n"), "app.py")


def test_a_missing_module_offers_the_neighbours(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        load(write(tmp_path, "import neighbr\n", neighbour=""), "app.py")

    assert "Did you mean neighbour?" in caught.value.hint


def test_an_interrupt_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(write(tmp_path, "raise KeyboardInterrupt\n"), "app.py")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n", "makes no App"),
        (
            "from kernos import App\na = App('a', target='y')\nb = App('b', target='y')\n",
            "makes 2 Apps: a, b",
        ),
    ],
)
def test_a_module_makes_exactly_one_app(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        load(write(tmp_path, source), "app.py")


def test_two_names_of_one_app_are_one_app(tmp_path: Path) -> None:
    source = "from kernos import App\napp = App('a', target='y')\nalias = app\n"

    assert load(write(tmp_path, source), "app.py").name == "a"


def test_an_app_of_a_neighbour_is_loaded_from_there(tmp_path: Path) -> None:
    neighbour = "from kernos import App\napp = App('a', target='y')\n"

    with pytest.raises(InvalidError) as caught:
        load(write(tmp_path, "from neighbour import app\n", neighbour=neighbour), "app.py")

    assert caught.value.hint == "Load neighbour.py instead."


def test_the_main_file_is_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, APP)

    with pytest.raises(InvalidError, match="out of the App's folder"):
        load(tmp_path / "inner", "../app.py")
    with pytest.raises(NotFoundError):
        load(tmp_path, "other.py")
