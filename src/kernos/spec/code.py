"""Digests of code. Two texts have one digest only if they do the same: comments and layout do not count,
helpers do.

A function's code is its normalised syntax tree and, transitively, every statement at module level that makes
or changes a name it uses, and the whole of each local module those statements import. What is looked up by a
computed name (`globals()`, `eval`) cannot be followed: a function that does so stands for its whole module.
"""

from __future__ import annotations

import ast
import symtable
import tokenize
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from kernos.base import digests
from kernos.base.errors import InvalidError, LimitError, NotFoundError
from kernos.base.ids import Digest
from kernos.spec.place import Place

BUNDLE_LIMIT_BYTES = 4 * 2**20
"""Source is written by hand; more than this is data in the wrong place."""

_DECLARING = frozenset({"step", "flow"})
_OPAQUE = frozenset({"globals", "eval", "exec", "vars", "__import__", "import_module"})
_MAIN_GUARD = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


def bundle(main: Path) -> dict[str, str]:
    """`main` and every module below its folder that it imports, directly or not: relative path -> source.

    Only files below the folder count; a link that leads out of it does not. LimitError above 4 MiB in all.
    """
    folder = main.resolve().parent
    files: dict[str, str] = {}
    waiting = [main.name]
    size = 0
    while waiting:
        relative = waiting.pop()
        if relative in files:
            continue
        files[relative] = _read(folder / relative)
        size += len(files[relative].encode())
        if size > BUNDLE_LIMIT_BYTES:
            raise LimitError(
                f"The source of {main.name} is larger than {BUNDLE_LIMIT_BYTES >> 20} MiB.",
                hint="Keep data in files and read it with app.read.",
            )
        tree = _parse(files[relative], str(folder / relative))
        waiting += _local_imports(tree, relative, lambda path: _is_below(folder, path))
    return dict(sorted(files.items()))


class Code:
    """A bundle, parsed where asked."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self._modules: dict[str, _Module] = {}

    def digest(self) -> Digest:
        """Of the sources as they are, comments and all."""
        return digests.of_value(dict(self.files))

    def doc(self, file: str) -> str:
        """The module's docstring."""
        return self._module(file).doc

    def of_function(self, file: str, name: str) -> Digest:
        """Of the module-level function `name` and all it reaches. InvalidError if `file` has no such
        function."""
        module = self._module(file)
        if name not in module.definitions:
            raise InvalidError(
                f"{file} defines no {name} at module level.", hint="Move the function out to module level."
            )
        statements = module.reach({name})
        imported: set[str] = set()
        waiting = [path for statement in statements for path in self._imports(statement, file)]
        while waiting:
            path = waiting.pop()
            if path not in imported:
                imported.add(path)
                waiting += self._imports(self._module(path).tree, path)
        return digests.of_value(
            {
                "function": name,
                "statements": [ast.dump(statement) for statement in statements],
                "modules": {path: ast.dump(self._module(path).tree) for path in imported},
            }
        )

    def _module(self, file: str) -> _Module:
        if file not in self._modules:
            self._modules[file] = _Module(_parse(self.files[file], file))
        return self._modules[file]

    def _imports(self, tree: ast.AST, file: str) -> Iterator[str]:
        return _local_imports(tree, file, self.files.__contains__)


class _Module:
    """One module's statements by the names they make or change."""

    def __init__(self, tree: ast.Module) -> None:
        self.doc = ast.get_docstring(tree) or ""
        self.tree = _normal(tree)
        self.apps = {name for statement in tree.body for name in _app_names(statement)}
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef):
                statement.decorator_list = [
                    item for item in statement.decorator_list if not self._declares(item)
                ]
        self.body = [statement for statement in tree.body if not self._is_outside(statement)]

    @cached_property
    def definitions(self) -> dict[str, list[int]]:
        """Name -> indexes into `body` of what makes or changes it. `*` holds what a star import may bring."""
        found: dict[str, list[int]] = {}
        imported: set[str] = set()
        for index, statement in enumerate(self.body):
            for name in _touched(statement):
                found.setdefault(name, []).append(index)
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    imported.add(name)
        made = {name: list(indexes) for name, indexes in found.items()}
        for index, statement in enumerate(self.body):
            beyond = set() if isinstance(statement, ast.Expr) else imported
            for name in (_closure(_effect(statement) - beyond, made, self._uses) - beyond) & made.keys():
                found[name] = sorted({*found[name], index})
        return found

    def reach(self, names: set[str]) -> list[ast.stmt]:
        """The statements that `names` stand on, in source order."""
        reached = _closure(names | {"*"}, self.definitions, self._uses)
        if reached & _OPAQUE:
            return self.body
        indexes = {index for name in reached for index in self.definitions.get(name, ())}
        return [self.body[index] for index in sorted(indexes)]

    def _uses(self, index: int) -> set[str]:
        if index not in self._used:
            self._used[index] = _used(self.body[index])
        return self._used[index]

    @cached_property
    def _used(self) -> dict[int, set[str]]:
        return {}

    def _declares(self, decorator: ast.expr) -> bool:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        return isinstance(target, ast.Attribute) and target.attr in _DECLARING and _root(target) in self.apps

    def _is_outside(self, statement: ast.stmt) -> bool:
        """Declarations on an App (gates, serve, contract), the main guard and bare constants are no
        function's code."""
        if isinstance(statement, ast.If):
            return ast.dump(statement.test) == _MAIN_GUARD
        if not isinstance(statement, ast.Expr):
            return False
        value = statement.value
        return isinstance(value, ast.Constant) or (
            isinstance(value, ast.Call) and _root(value.func) in self.apps
        )


def _closure(
    names: set[str], definitions: Mapping[str, list[int]], uses: Callable[[int], set[str]]
) -> set[str]:
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [used for index in definitions.get(name, ()) for used in uses(index)]
    return reached


def _touched(statement: ast.stmt) -> Iterator[str]:
    """Names that running `statement` at module level binds or changes in place."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
        case _:
            for node in ast.iter_child_nodes(statement):
                yield from _touched_in(node)


def _touched_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.stmt):
        yield from _touched(node)
        return
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            yield _root(node)
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _touched_in(child)


def _effect(statement: ast.stmt) -> set[str]:
    """Names through which running `statement` may change others: what it calls, or is decorated with."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return set()
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {
                _root(item.func if isinstance(item, ast.Call) else item) for item in statement.decorator_list
            }
        case ast.Assign() | ast.AnnAssign():
            return {_root(node.func) for node in ast.walk(statement) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _used(statement: ast.stmt) -> set[str]:
    """Module-level names (builtins among them) that `statement` reads, in whichever scope inside it."""
    try:
        waiting = [symtable.symtable(ast.unparse(statement), "<statement>", "exec")]
    except ValueError:  # f-strings that Python 3.11 cannot write back: every name, to be safe
        return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    names: set[str] = set()
    while waiting:
        table = waiting.pop()
        is_top = table.get_type() == "module"
        names |= {symbol.get_name() for symbol in table.get_symbols() if is_top or symbol.is_global()}
        waiting += table.get_children()
    names |= {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)} & {
        "import_module"
    }
    return names


def _normal(tree: ast.Module) -> ast.Module:
    """`tree` without docstrings, changed in place."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Module():
                if ast.get_docstring(node, clean=False) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
    return tree


def _app_names(statement: ast.stmt) -> Iterator[str]:
    """The names that `app = App(…)` or `app: App = kernos.App(…)` binds."""
    match statement:
        case ast.Assign(targets=targets, value=ast.Call(func=made)):
            pass
        case ast.AnnAssign(target=target, value=ast.Call(func=made)):
            targets = [target]
        case _:
            return
    name = made.attr if isinstance(made, ast.Attribute) else _root(made)
    if name == "App":
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _root(node: ast.AST) -> str:
    """`a` of `a.b[c].d`; empty for anything else."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _local_imports(tree: ast.AST, file: str, exists: Callable[[str], bool]) -> Iterator[str]:
    """Relative paths of the modules below the folder that `tree`, in `file`, imports; packages on the way
    included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                dotted = [alias.name.split(".") for alias in aliases]
            case ast.ImportFrom(names=aliases):
                start = [] if node.level == 0 else list(PurePosixPath(file).parts[: -node.level])
                start += node.module.split(".") if node.module else []
                dotted = [[*start, alias.name] for alias in aliases]
            case _:
                continue
        for parts in dotted:
            for length in range(1, len(parts) + 1):
                stem = "/".join(parts[:length])
                yield from (path for path in (f"{stem}.py", f"{stem}/__init__.py") if exists(path))


def _is_below(folder: Path, relative: str) -> bool:
    path = folder / relative
    return path.is_file() and path.resolve().is_relative_to(folder)


def _read(path: Path) -> str:
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="Check the path.")
    if path.stat().st_size > BUNDLE_LIMIT_BYTES:
        raise LimitError(
            f"{path.name} is larger than {BUNDLE_LIMIT_BYTES >> 20} MiB.", hint="Keep data in data files."
        )
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path.name} is not text: {error}.", hint="Save it as UTF-8.") from error


def _parse(source: str, file: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        place = Place(file, getattr(error, "lineno", None) or 1)
        text = (getattr(error, "text", None) or "").strip()
        raise InvalidError(
            f"{place}: {type(error).__name__}: {getattr(error, 'msg', error)}.",
            hint=text or "Correct the source.",
            file=place.file,
            line=place.line,
        ) from error
