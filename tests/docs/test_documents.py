"""The documents name what there is: settings, commands, routes, capabilities with their tests, and pages that exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from kernos.api.app import create_app
from kernos.base.clock import ManualClock
from kernos.base.errors import KernosError
from kernos.base.settings import Settings
from kernos.catalog.records import EventRecord
from kernos.catalog.store import SqlStore
from kernos.cli.main import make_app
from kernos.models.package import PackageManifest
from kernos.spec.gates import METRICS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
STATES = {"works", "simulated", "planned"}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of every table row whose first cell matches `first`."""
    lines = [line for line in read(page).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if re.fullmatch(first, row[0])]


def test_every_setting_stands_in_the_reference_with_its_default() -> None:
    told = {
        row[0].strip("`"): json.loads(row[1].strip("`"))
        for row in rows("docs/reference/settings.md", r"`[a-z_.]+`")
    }

    assert told == dict(settings_of(msgspec.to_builtins(Settings())))


def settings_of(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from settings_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_every_command_and_option_stands_in_the_reference() -> None:
    shared = {"--home", "--json", "--help"}
    told = {
        row[0].strip("`").removeprefix("kernos "): set(re.findall(r"--[a-z-]+", row[2]))
        for row in rows("docs/reference/cli.md", r"`kernos [a-z ]+`")
    }

    assert told == {name: options - shared for name, options in commands_of()}


def commands_of() -> Iterator[tuple[str, set[str]]]:
    """Each command with its long options."""
    import typer.main

    group: Any = typer.main.get_command(make_app())
    for name, command in group.commands.items():
        for verb, inner in getattr(command, "commands", {"": command}).items():
            options = {text for option in inner.params for text in option.opts if text.startswith("--")}
            yield f"{name} {verb}".strip(), options


def test_exit_codes_are_those_of_the_errors() -> None:
    told = {
        code.strip("`"): int(row[0])
        for row in rows("docs/reference/cli.md", r"[0-9]+")
        for code in row[1].split(", ")
    }
    told.pop("", None)

    kinds: list[type[KernosError]] = [KernosError, *KernosError.__subclasses__()]
    assert told == {kind.code: kind.exit for kind in kinds}


def test_every_route_stands_in_the_reference(tmp_path: Path) -> None:
    told = {
        (row[0], row[1].strip("`")) for row in rows("docs/reference/api.md", r"GET|POST") if "/v1/" in row[1]
    }

    assert told == set(routes(tmp_path))


def routes(folder: Path) -> Iterator[tuple[str, str]]:
    """Method and path, as the API's own OpenAPI document has them."""
    clock = ManualClock()
    store = SqlStore(f"sqlite:///{folder / 'catalog.db'}", clock)
    store.open()
    loop = SimpleNamespace(status=lambda: None)
    system = SimpleNamespace(settings=Settings(), clock=clock, store=store, loop=loop)
    with TestClient(create_app(system), base_url="http://127.0.0.1") as http:  # type: ignore[arg-type]  # only the schema is asked for
        paths = http.get("/v1/openapi.json").json()["paths"]
    store.close()
    for path, methods in paths.items():
        yield from ((method.upper(), path) for method in methods)


def test_every_metric_stands_in_the_reference() -> None:
    assert {row[0].strip("`") for row in rows("docs/reference/gates.md", r"`[a-z_0-9]+`")} == set(METRICS)


def test_every_kind_of_event_stands_in_the_reference() -> None:
    kind = re.compile(r"(?:run|artifact|name|gate|deployment|service|drift|principal)\.(?!html$)[a-z_]+")
    told = set(re.findall(rf"`({kind.pattern})`", read("docs/reference/events.md")))
    words = {
        node.value
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and kind.fullmatch(node.value)
    }

    assert words <= told | {"run.json"}
    assert told - words <= {"run.failed", "run.stopped", "run.done"}  # made from the state's name


@pytest.mark.parametrize(
    ("file", "kind"), [("kpkg-manifest.schema.json", PackageManifest), ("event.schema.json", EventRecord)]
)
def test_published_schemas_are_those_of_the_code(file: str, kind: type) -> None:
    """After a change that is meant, write `msgspec.json.schema` anew, and give the format a new version if a reader must know."""
    assert json.loads(read(f"docs/reference/{file}")) == schema_of(kind)


def schema_of(kind: type) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(msgspec.json.encode(msgspec.json.schema(kind), order="sorted"))
    return schema


def test_there_are_160_capabilities_each_with_a_state() -> None:
    told = rows("docs/capabilities.md", r"K[0-9]+")

    assert [row[0] for row in told] == [f"K{number}" for number in range(1, 161)]
    assert {len(row) for row in told} == {5}
    assert {row[3] for row in told} <= STATES
    assert f"\n{sum(row[3] == 'works' for row in told)} of 160 work.\n" in read("docs/capabilities.md")


def test_what_works_names_the_tests_that_prove_it() -> None:
    for row in rows("docs/capabilities.md", r"K[0-9]+"):
        named = re.findall(r"tests/[\w/]+\.py(?:::\w+)?", row[4])
        if row[3] != "planned":
            assert named, f"{row[0]} names no test"
            assert all("::" in test for test in named), row[0]
        for test in named:
            file, _, function = test.partition("::")
            assert (ROOT / file).is_file(), f"{row[0]}: there is no {file}"
            assert not function or function in functions(ROOT / file), f"{row[0]}: there is no {test}"


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for _, target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The ids that headings get, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_below_docs_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for _, target in LINK.findall(page.read_text(encoding="utf-8"))
    }

    assert [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in linked] == []


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    readme = read("README.md")

    assert len(readme.splitlines()) < 150
    assert readme.index("make demo") < readme.index("## ")
    assert readme.index("make test") < readme.index("## ")


def test_images_say_in_words_what_they_show() -> None:
    for page in PAGES:
        for text in re.findall(r"!\[([^\]]*)\]\(", page.read_text(encoding="utf-8")):
            assert len(text) > 20, f"{page.name}: an image without a text"


def test_decision_records_are_numbered_and_whole() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("0*.md"))

    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {record.name[:4]}. "), record.name
        assert re.findall(r"^## (.*)$", text, re.M) == ["Context", "Options", "Choice", "Consequences"], (
            record.name
        )
        assert len(text.splitlines()) < 60, record.name


def test_the_project_says_how_it_works() -> None:
    for page in ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "ARCHITECTURE.md"):
        assert len(read(page).splitlines()) > 10, page


def test_the_licence_is_apache_2() -> None:
    licence = read("LICENSE")

    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in licence
    assert 'license = "Apache-2.0"' in read("pyproject.toml")


def test_figures_in_the_readme_are_those_that_were_measured() -> None:
    page = read("README.md")
    table = page[page.index("| figure | target |") : page.index("## What it does not do yet")]
    goals = [
        goal
        for file in sorted((ROOT / "bench/results").glob("*.json"))
        for goal in json.loads(file.read_text())["goals"]
    ]

    assert len(goals) > 15
    assert [goal for goal in goals if goal["measured"] not in table] == []
    assert table.count("missed") == sum(not goal["met"] for goal in goals)
