from __future__ import annotations

from pathlib import Path

import pytest

from kernos.base.errors import InvalidError, LimitError, NotFoundError
from kernos.spec.code import BUNDLE_LIMIT_BYTES, Code, bundle

APP = '''"""Doc."""
import polars as pl
from kernos import App
import features
from helpers.text import tidy

app = App("a", target="y", sensitive=["sex"])
LIMITS = {"low": 1}
LIMITS["high"] = 2
other = 5


def scale(rows):
    """Words."""
    return rows * LIMITS["low"]


@app.step
def clean(rows: pl.DataFrame, factor=1.0):
    return scale(rows) * factor


@app.step(cpus=1)
def train(rows):
    other = 3
    return features.make(rows) + other


@app.flow(tune={"C": (1.0, 2.0)}, trials=3)
def build(source="x.csv"):
    return train(clean(app.read(source)))


app.gate("accuracy >= 0.5")
if __name__ == "__main__":
    build()
'''
FILES = {
    "app.py": APP,
    "features.py": "from helpers import text\ndef make(rows): return text.tidy(rows)\n",
    "helpers/__init__.py": "",
    "helpers/text.py": "def tidy(rows): return rows\n",
}


def digests(files: dict[str, str]) -> dict[str, str]:
    code = Code(files)
    return {name: code.of_function("app.py", name) for name in ("clean", "train", "build")}


def changed(old: str, new: str, file: str = "app.py") -> set[str]:
    assert old in FILES[file]
    before, after = digests(FILES), digests(FILES | {file: FILES[file].replace(old, new)})
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Doc."""', '"""Other words."""'),
        ('    """Words."""\n', ""),
        ("other = 5", "other = 6  # a comment"),
        ("accuracy >= 0.5", "accuracy >= 0.9"),
        ("@app.step\n", "@app.step(cpus=2)\n"),
        ("trials=3", "trials=4"),
        ("    build()\n", "    build('y.csv')\n"),
        ("return scale(rows) * factor", "return (scale( rows )\n        * factor)"),
    ],
)
def test_what_does_not_change_the_work_does_not_change_the_digest(old: str, new: str) -> None:
    assert changed(old, new) == set()


@pytest.mark.parametrize(
    ("old", "new", "file", "names"),
    [
        ("factor=1.0", "factor=2.0", "app.py", {"clean", "build"}),
        ("other = 3", "other = 4", "app.py", {"train", "build"}),
        ('rows * LIMITS["low"]', 'rows + LIMITS["low"]', "app.py", {"clean", "build"}),
        ('{"low": 1}', '{"low": 7}', "app.py", {"clean", "build"}),
        ('LIMITS["high"] = 2', 'LIMITS["high"] = 3', "app.py", {"clean", "build"}),
        ("import polars as pl", "import pandas as pl", "app.py", {"clean", "build"}),
        ('target="y"', 'target="z"', "app.py", {"build"}),
        ("text.tidy(rows)", "text.tidy(rows) + 1", "features.py", {"train", "build"}),
        ("return rows", "return rows[1:]", "helpers/text.py", {"train", "build"}),
        ("def tidy(rows)", "# words\ndef tidy(rows)", "helpers/text.py", set()),
    ],
)
def test_what_changes_the_work_changes_the_digest_of_those_it_reaches(
    old: str, new: str, file: str, names: set[str]
) -> None:
    assert changed(old, new, file) == names


def digest(source: str) -> str:
    return Code({"app.py": source}).of_function("app.py", "f")


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        pytest.param("S = []\n{}\ndef f(): return S\n", "S.append(1)", "S.append(2)", id="calls on it"),
        pytest.param(
            "S = []\ndef put(x): S.append(x)\n{}\ndef f(): return S\n",
            "put(1)",
            "put(2)",
            id="another function",
        ),
        pytest.param(
            "R = []\ndef keep(g): R.append(g)\n@keep\ndef g(): return {}\ndef f(): return R\n",
            "1",
            "2",
            id="a decorator",
        ),
        pytest.param(
            "S = {{}}\ndef put(x): S[0] = x\n_ = put({})\ndef f(): return S\n",
            "1",
            "2",
            id="an assignment that calls",
        ),
        pytest.param(
            "try:\n    X = 1\nexcept E as e:\n    X = {}\ndef f(): return X\n", "2", "3", id="a block"
        ),
        pytest.param("class A:\n    b = 1\nA.b = {}\ndef f(): return A\n", "2", "3", id="an attribute"),
        pytest.param("match {}:\n    case x: pass\ndef f(): return x\n", "1", "2", id="a match"),
        pytest.param(
            "class A:\n    def m(self): return B\nB = {}\ndef f(): return A()\n", "1", "2", id="a class"
        ),
        pytest.param("from {} import *\ndef f(): return sep\n", "os", "sys", id="a star import"),
        pytest.param("K = {}\ndef f(): return globals()['K']\n", "1", "2", id="globals"),
        pytest.param(
            "import importlib\nK = {}\ndef f(): return importlib.import_module('x')\n",
            "1",
            "2",
            id="import_module",
        ),
        pytest.param("X = {}\ndef f(a=X): return a\n", "1", "2", id="a default"),
        pytest.param("X = {}\ndef f(): return f\"{{X + len('\x7f')}}\"\n", "1", "2", id="an f-string"),
    ],
)
def test_ways_to_change_what_a_function_does_are_seen(source: str, before: str, after: str) -> None:
    assert digest(source.format(before)) != digest(source.format(after))


def test_setting_up_one_thing_does_not_change_those_that_only_share_a_library() -> None:
    text = "import numpy as np\nX = np.zeros({})\ndef f(): return np.ones(1)\n"

    assert digest(text.format(1)) == digest(text.format(2))


def test_an_annotated_app_is_an_app() -> None:
    text = "app: App = App('a')\n@app.step(cpus={})\ndef f(): return 1\n"

    assert digest(text.format(1)) == digest(text.format(2))


def test_only_functions_at_module_level_have_a_digest() -> None:
    with pytest.raises(InvalidError, match="defines no nothing"):
        Code(FILES).of_function("app.py", "nothing")


def test_the_bundles_digest_is_of_the_text() -> None:
    assert Code(FILES).digest() == Code(dict(reversed(FILES.items()))).digest()
    assert Code(FILES).digest() != Code(FILES | {"app.py": APP + "# words\n"}).digest()
    assert Code(FILES).doc("app.py") == "Doc."


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "app.py"


def test_a_bundle_holds_the_local_modules_an_app_imports(tmp_path: Path) -> None:
    main = write(tmp_path, FILES | {"unused.py": "1", "helpers/more.py": "1"})

    assert bundle(main) == FILES


def test_relative_imports_in_packages_are_followed(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {
            "app.py": "import p.a",
            "p/__init__.py": "",
            "p/a.py": "from . import b\nfrom .c import d\n",
            "p/b.py": "",
            "p/c.py": "",
        },
    )

    assert set(bundle(main)) == {"app.py", "p/__init__.py", "p/a.py", "p/b.py", "p/c.py"}


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("password = 1")
    main = write(tmp_path / "app", {"app.py": "import secret"})
    (tmp_path / "app" / "secret.py").symlink_to(tmp_path / "secret.py")

    assert set(bundle(main)) == {"app.py"}


def test_relative_imports_cannot_climb_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("password = 1")
    main = write(tmp_path / "app", {"app.py": "from .. import secret\nfrom ...x import secret\n"})

    assert set(bundle(main)) == {"app.py"}


def test_too_much_source_is_refused(tmp_path: Path) -> None:
    half = "#" * (BUNDLE_LIMIT_BYTES // 2 + 1)
    main = write(tmp_path, {"app.py": "import more\n" + half, "more.py": half})

    with pytest.raises(LimitError):
        bundle(main)

    with pytest.raises(LimitError):
        bundle(write(tmp_path, {"app.py": half + half}))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        bundle(tmp_path / "app.py")


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        bundle(write(tmp_path, {"app.py": "x = 1\ndef (:\n"}))

    assert caught.value.message.startswith("app.py:2: SyntaxError")
    assert caught.value.hint == "def (:"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_bytes(b"x = '\xff'")

    with pytest.raises(InvalidError, match="not text"):
        bundle(tmp_path / "app.py")


def test_null_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError):
        bundle(write(tmp_path, {"app.py": "x = 1\0"}))
