"""Imports ``module.attribute`` or ``module:attribute``, with a different error message for each way to fail."""

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.config.diagnostics import suggestion
from gateway.frames import is_own, own_frame, short
from protocols.errors import describe_error

_FRAMES = 5
"""How many of the user's own frames are shown of a module that failed: the last ones."""


class TargetError(Exception):
    """The target cannot be imported; the message is one sentence. ``trace``: where in the user's own code it failed.
    ``module``: what failed, if the mistake is in the code of a module and not in the target."""

    def __init__(self, message: str, trace: Sequence[str] = (), module: str = "") -> None:
        super().__init__(message)
        self.trace = trace
        self.module = module


def import_target(target: str) -> Any:
    """Import what ``target`` names. Raises TargetError."""
    module_name, _, attribute = target.partition(":") if ":" in target else target.rpartition(".")
    if not all(part.isidentifier() for part in f"{module_name}.{attribute}".split(".")):
        raise TargetError(f"{target!r} is not a target; write {_meant(target)}")
    if module_name.endswith(".py") or attribute == "py":
        raise TargetError(f"{target!r} is a file and not a target; write {_meant(target)}")
    found: Any = _import(module_name, target)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            kind = "module" if isinstance(found, ModuleType) else "object"
            place = f"{kind} {getattr(found, '__name__', module_name)!r}"
            hint = suggestion(name, _offers(found), otherwise="it has")
            raise TargetError(f"{target!r}: {place} has no {name!r}{hint}") from error
        except Exception as error:  # a module's own __getattr__, a property
            raise _failed(module_name, target, error) from error
    if isinstance(found, ModuleType):
        hint = suggestion("", _offers(found), otherwise="it has")
        raise TargetError(f"{target!r} is a module; write what in it answers, as {target}.NAME{hint}")
    return found


def _meant(target: str) -> str:
    """Return the target that was meant, if that is in a module of the user's own; else the two forms."""
    path, _, attribute = target.removesuffix(".as_asgi()").partition(":")
    module = path.removesuffix(".py").removeprefix("./").replace("/", ".")
    if target.endswith(".as_asgi()"):
        return f"{target.removesuffix('.as_asgi()')}, without the call"
    if Path(sys.path[0] or ".", f"{module.replace('.', '/')}.py").is_file():
        return f"{module}.{attribute or 'NAME'}, with the name of what answers in it"
    return "module.attribute or module:attribute"


def _import(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, target, error) from error
        raise TargetError(f"{target!r}: there is no module {error.name!r}{_near(error.name)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the module's own code does
        raise _failed(name, target, error) from error


def _failed(name: str, target: str, error: BaseException) -> TargetError:
    sentence = f"{target!r}: importing {name!r} failed{place_of(error)}: {describe_error(error)}"
    return TargetError(sentence, source_lines(error), name)


def source_lines(error: BaseException) -> list[str]:
    """Return the lines of the user's own code that led to ``error``, each with its place; last the one that failed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    lines = [f"{short(frame.filename)}:{frame.lineno}  {frame.line}" for frame in frames[-_FRAMES:]]
    if isinstance(error, SyntaxError) and error.filename and error.text:
        lines.append(f"{short(error.filename)}:{error.lineno}  {error.text.strip()}")
    return lines


def place_of(error: BaseException) -> str:
    """The line of the user's code that failed, as `` at shop/handlers.py:3``, or a library's line if no user's code is
    in the traceback."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {short(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_import_machinery(frame.filename)]
    frame = own_frame(error.__traceback__) or (frames[-1] if frames else None)
    return f" at {short(frame.filename)}:{frame.lineno}" if frame else ""


def _is_import_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen") or filename == importlib.__file__


def _offers(found: Any) -> list[str]:
    """Return the names in ``found`` that a target may have meant: its own public callables, and applications that it
    has made of a library's class."""
    module = getattr(found, "__name__", None)
    callables = {name: value for name, value in vars(found).items() if callable(value) and not name.startswith("_")}
    return [
        name
        for name, value in callables.items()
        if getattr(value, "__module__", module) == module or iscoroutinefunction(type(value).__call__)
    ]


def _near(name: str) -> str:
    parent, _, last = name.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", None) if parent else [sys.path[0] or "."]
    hint = suggestion(last, [module.name for module in pkgutil.iter_modules(paths)])
    if hint.startswith("; did"):
        return hint
    return f"; looked in {' and '.join(repr(short(path)) for path in paths or [])}{'' if parent else ' first'}"
