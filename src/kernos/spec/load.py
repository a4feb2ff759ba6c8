"""Running a user's module to get its App. Whatever goes wrong inside is an InvalidError with the user's file
and line.

User code runs here: call it in a process that may be thrown away. It changes that process: the folder comes
first on the module path and stays there, since functions may import their neighbours late.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import ModuleType

from kernos.base.errors import InvalidError, KernosError
from kernos.spec.app import App
from kernos.spec.code import bundle
from kernos.spec.place import Place, nearest


def load(folder: Path, main: str) -> App:
    """The one App that `folder/main` makes, with everything it declares checked."""
    path = _inside(folder, main)
    bundle(path)  # tells of what cannot be parsed, before anything runs
    app = import_app(folder, main)
    with _told_by(path.parent):
        app.manifest()
    return app


def import_app(folder: Path, main: str) -> App:
    """The App of a module that `load` has checked before: its functions, at the cost of an import.

    The module's name is `kernos_app_<stem of main>`, the same in every process, so that values of its classes
    can travel between Runs.
    """
    path = _inside(folder, main)
    module = ModuleType(f"kernos_app_{path.stem}")
    module.__file__ = str(path)
    _forget((file.relative_to(path.parent).as_posix() for file in path.parent.rglob("*.py")), path.parent)
    sys.modules[module.__name__] = module
    with _importing_from(path.parent), _told_by(path.parent):
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))  # noqa: S102 - running the user's module is the point
    return _only_app(module, path)


def _inside(folder: Path, main: str) -> Path:
    path = (folder / main).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidError(f"{main!r} leads out of the App's folder.", hint="Name a file in the folder.")
    return path


def _only_app(module: ModuleType, path: Path) -> App:
    apps = {id(value): (name, value) for name, value in vars(module).items() if isinstance(value, App)}
    if len(apps) == 1:
        name, app = apps.popitem()[1]
        if app.file != path:
            raise InvalidError(
                f"{path.name} takes its App {name!r} from {app.file.name}.",
                hint=f"Load {app.file.name} instead.",
            )
        return app
    if not apps:
        raise InvalidError(
            f"{path.name} makes no App.", hint='Write app = App("name", target="column") at the top.'
        )
    names = [name for name, _ in apps.values()]
    raise InvalidError(
        f"{path.name} makes {len(apps)} Apps: {', '.join(names)}.", hint="Keep one App a module."
    )


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """The folder first on the path, and no byte-code written beside the user's sources."""
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    sys.path_importer_cache.pop(str(folder), None)  # its files may be newer than what was seen of it
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _forget(files: Iterable[str], folder: Path) -> None:
    """Drop neighbours loaded earlier, from an older text or another App's folder; the standard library
    stays."""
    for file in files:
        parts = PurePosixPath(file).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[0] not in sys.stdlib_module_names:
            sys.modules.pop(name, None)


@contextmanager
def _told_by(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise
    except InvalidError as error:
        if "line" in error.details:
            raise
        raise _invalid(error, folder) from error
    except BaseException as error:  # SystemExit too: a module that exits makes no App
        raise _invalid(error, folder) from error


def _invalid(error: BaseException, folder: Path) -> InvalidError:
    """The error at the deepest line that is the user's own."""
    lines = [
        (Place(frame.filename, frame.lineno or 1), frame.line or "")
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    place, line = lines[-1] if lines else (Place(str(folder), 1), "")
    text = error.message if isinstance(error, KernosError) else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, KernosError) else line
    if isinstance(error, ModuleNotFoundError) and error.name:
        neighbours = [path.stem for path in folder.glob("*.py")]
        hint = f"{line}\nInstall it, or put it beside the App. {nearest(error.name, neighbours)}"
    return InvalidError(
        f"{place}: {text}", hint=hint or "Correct the module.", file=place.file, line=place.line
    )
