from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kernos.base.errors import InvalidError, NotFoundError
from kernos.spec.app import App
from kernos.spec.load import load
from kernos.spec.manifest import Manifest, Service, Trigger

WHOLE = '''"""Diabetes, start to end."""
import polars as pl
from kernos import App, Model

app = App("diabetes", target="progressed", sensitive=["sex"])
app.contract(bmi="float? 10..70", sex="int in 0,1", progressed="bool")

@app.step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.drop_nulls()

@app.step(cpus=2, memory="1GiB", priority="interactive", retries=2, time="10m")
def train(rows: pl.DataFrame, C: float = 1.0, kind="a", skip=(1, 2)) -> Model:
    return Model(onnx=str(rows["bmi"].sum() * C).encode())

@app.flow(tune={"C": (0.001, 10.0), "kind": ["a", "b"]}, trials=8, every="on drift, at most daily")
def build(source: str = "rows.csv") -> Model:
    return train(clean(app.read(source)))

def calm(evidence) -> bool:
    return True

app.gate("accuracy >= 0.65", "parity_gap(sex) <= 0.30", "not worse than live")
app.gate(calm)
app.serve(build, canary="10% for 2m", rollback="errors > 1% or p99 > 50ms", explain=True)

if __name__ == "__main__":
    print(build().onnx.decode())
'''


Loader = Callable[[str], App]


@pytest.fixture
def made(tmp_path: Path) -> Loader:
    def make(source: str) -> App:
        (tmp_path / "app.py").write_text(source)
        return load(tmp_path, "app.py")

    return make


def test_a_module_becomes_its_manifest(made: Loader) -> None:
    manifest = made(WHOLE).manifest()

    assert (manifest.app, manifest.target, manifest.sensitive) == ("diabetes", "progressed", ["sex"])
    assert manifest.doc == "Diabetes, start to end."
    assert [column.name for column in manifest.contract] == ["bmi", "sex", "progressed"]
    clean, train = manifest.steps
    assert (clean.name, clean.klass, clean.cpus, clean.line) == ("clean", "batch", 1.0, 8)
    assert (train.cpus, train.memory_bytes, train.klass, train.retries, train.wall_s) == (
        2.0,
        2**30,
        "interactive",
        2,
        600.0,
    )
    assert train.params == {"C": 1.0, "kind": "a"}
    flow = manifest.flows[0]
    assert flow.tune == {"C": [0.001, 10.0], "kind": ["a", "b"]}
    assert (flow.choices, flow.trials, flow.params) == (["kind"], 8, {"source": "rows.csv"})
    assert flow.trigger == Trigger("on drift, at most daily", "drift", 86400.0)
    assert [(gate.text, gate.kind) for gate in manifest.gates] == [
        ("accuracy >= 0.65", "threshold"),
        ("parity_gap(sex) <= 0.3", "threshold"),
        ("not worse than live", "not_worse"),
        ("calm()", "callable"),
    ]
    assert manifest.service == Service("build", 0.1, 120.0, 0.01, 50.0, True, 25)


def test_the_same_module_has_the_same_manifest_anywhere(made: Loader, tmp_path: Path) -> None:
    first = made(WHOLE).manifest()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "app.py").write_text(WHOLE)

    assert load(elsewhere, "app.py").manifest() == first
    assert isinstance(first, Manifest)


def test_a_function_of_a_neighbouring_module_can_be_a_step(made: Loader, tmp_path: Path) -> None:
    source = "from kernos import App\nimport steps\napp = App('a', target='y')\none = app.step(steps.one)\n"
    digests = []
    for text in ("def one(): return 1\n", "def one(): return 2\n"):
        (tmp_path / "steps.py").write_text(text)
        digests.append([(step.name, step.code) for step in made(source).manifest().steps])

    assert digests[0][0][0] == "one"
    assert digests[0] != digests[1]


def test_a_module_runs_without_a_kernel(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WHOLE)
    (tmp_path / "rows.csv").write_text("bmi,sex,progressed\n20,0,true\n,1,false\n30,1,true\n")

    done = subprocess.run(
        [sys.executable, "-W", "error", "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.stderr) == ("50.0", "")


def test_declaring_an_app_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from kernos import App, Model; import kernos.spec.load; "
        "heavy = 'numpy', 'polars', 'sklearn', 'sqlalchemy', 'cryptography', 'asyncio'; "
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_decorated_functions_are_plain_functions(made: Loader) -> None:
    app = made(WHOLE)
    rows = pl.DataFrame({"bmi": [1.0, None, 2.0]})

    cleaned = app.function("clean")(rows)

    assert cleaned["bmi"].to_list() == [1.0, 2.0]
    assert app.checks["calm()"](None) is True
    assert repr(app) == "App('diabetes')"


def test_an_unknown_function_is_not_found(made: Loader) -> None:
    with pytest.raises(NotFoundError, match="no step or flow 'clan'") as caught:
        made(WHOLE).function("clan")

    assert "Did you mean clean?" in caught.value.hint


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson", "jsonl"])
def test_reading_without_a_kernel_reads_the_file_beside_the_app(
    made: Loader, tmp_path: Path, kind: str
) -> None:
    rows = pl.DataFrame({"a": [1, 2]})
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        rows.write_csv(path)
    elif kind == "parquet":
        rows.write_parquet(path)
    else:
        rows.write_ndjson(path)

    assert made(WHOLE).read(path.name).equals(rows)


def test_reading_what_is_not_there_says_where_it_was_sought(made: Loader, tmp_path: Path) -> None:
    app = made(WHOLE)

    with pytest.raises(NotFoundError, match=str(tmp_path)):
        app.read("income.csv")
    with pytest.raises(InvalidError, match="no known kind"):
        app.read("app.py")


HEAD = 'from kernos import App\napp = App("a", target="y", sensitive=["sex"])\n'
STEP = "@app.step\ndef one(rows, C=1.0): return rows\n"
FLOW = "@app.flow\ndef build(source='x.csv'): return one(app.read(source))\n"


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ('app.gate("accurcy >= 0.6")', 3, "Did you mean accuracy?"),
        ('app.gate("accuracy >= 0.6", "accuracy >= 0.60")', 3, "stands twice"),
        ('app.gate("parity_gap(age) <= 0.1")', 3, "to be sensitive"),
        ('app.gate(lambda evidence: True)', 3, "named function"),
        ("app.gate(3)", 3, "named function"),
        ('app.contract(y="int", sex="integer")', 3, "Did you mean int?"),
        ('app.contract(y="int", sex=int)', 3, "given as text"),
        ('app.contract(age="int", sex="int")', 3, "target 'y' is not in the contract"),
        ('app.contract(y="int")', 3, "sensitive column 'sex' is not in the contract"),
        ('app.contract(y="int", sex="int")\napp.contract(y="int")', 4, "in the contract twice"),
        ('@app.step(priority="bach")\ndef one(): pass', 3, "Did you mean batch?"),
        ('@app.step(memory="1 gig")\ndef one(): pass', 3, "is not a size"),
        ("@app.step(memory=1024)\ndef one(): pass", 3, "given as text"),
        ('@app.step(time="soon")\ndef one(): pass', 3, "is not a duration"),
        ("@app.step(cpus=0)\ndef one(): pass", 3, "number of cores"),
        ("@app.step(retries=11)\ndef one(): pass", 3, "whole number from 0 to 10"),
        ("@app.step\nasync def one(): pass", 3, "plain function"),
        ("@app.step\ndef one(): yield", 3, "plain function"),
        ("@app.step\nclass One: pass", 3, "is a function"),
        ("@app.step\ndef _one(): pass", 3, "not a name for a step"),
        (f"{STEP}@app.flow\ndef one(): pass", 5, "two steps or flows called 'one'"),
        ("def make():\n    @app.step\n    def one(): pass\nmake()", 4, "not at the top of app.py"),
        (f'{STEP}@app.flow(tune={{"D": (0, 1)}}, trials=2)\ndef build(): pass', 5, "'D', which no step"),
        ("@app.flow(trials=2)\ndef build(): pass", 3, "trials without tune"),
        ("@app.flow(tune={'C': (2, 1)}, trials=2)\ndef build(C): pass", 3, "low 2 not below high 1"),
        ('@app.flow(every="on drift, at most dayly")\ndef build(): pass', 3, "Did you mean daily?"),
        (f"{STEP}{FLOW}app.serve(one)", 7, "not a flow"),
        (f"{STEP}{FLOW}app.serve('build')", 7, "Did you mean build?"),
        (f"{STEP}{FLOW}app.serve(build)\napp.serve(build)", 8, "one service"),
        (f"{STEP}{FLOW}app.serve(build, canary='10 for 2m')", 7, "expected a share"),
        (f"{STEP}{FLOW}app.serve(build, rollback='p98 > 1ms')", 7, "Did you mean p99?"),
        (f"{STEP}{FLOW}app.serve(build, canary=0.1)", 7, "given as text"),
        ('app = App("a b", target="y")', 3, "not a name for an app"),
        ('app = App("a", target="")', 3, "column to predict"),
        ('app = App("a", target="y", sensitive="sex")', 3, "list of column names"),
        ('app = App("a", target="y", sensitive=["y"])', 3, "cannot be sensitive too"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_at_load_that_names_the_line(
    made: Loader, source: str, line: int, says: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        made(HEAD + source + "\n")

    assert caught.value.message.startswith(f"app.py:{line}: ")
    assert says in str(caught.value)
    assert caught.value.hint
    assert caught.value.details["line"] == line
