"""Turns the target of a route into an ASGI 3 application: a consumer class, an ASGI 3 callable or an ASGI 2
callable."""

import functools
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asgiref.compatibility import double_to_single_callable, is_double_callable

from gateway.consumers.base import Consumer
from protocols.asgi import Application, Receive, Send

SINGLE, DOUBLE = 3, 1
"""Arguments of an ASGI 3 application (scope, receive, send) and of the first call to an ASGI 2 one (scope)."""


@dataclass(frozen=True)
class Named:
    """An application under the name that the file gives it: ``main.app`` is an object of a class of Starlette, say."""

    app: Application
    target_name: str

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def as_application(target: Any) -> Application:
    """An ASGI 3 application of ``target``: a consumer class, an ASGI 3 or ASGI 2 callable, or a router.

    Raises ValueError if it is none of them, as far as that can be seen before it is called.
    """
    if isinstance(target, Named):
        return target.app
    if isinstance(target, type) and hasattr(target, "as_asgi"):
        application: Application = target.as_asgi()
        return application
    if isinstance(target, Consumer):
        name = type(target).__name__
        raise ValueError(f"an instance of {name} serves one scope: give the class, or {name}.as_asgi(...)")
    if not callable(target):
        raise ValueError(f"{target!r} is not an ASGI application{_instead(target)}")
    if inspect.isfunction(target) and hasattr(target, "consumer_class"):  # what as_asgi() has made, one for each route
        return target
    single: Application = double_to_single_callable(target) if _is_double(target) else target
    return single


def _is_double(target: Any) -> bool:
    """Whether it is an ASGI 2 application: as asgiref sees it, if its arguments fit. Raises ValueError."""
    return _is_double_function(target) if inspect.isfunction(target) else _looks_double(target)


@functools.lru_cache(maxsize=256)  # a long file has many routes to few functions
def _is_double_function(target: Any) -> bool:
    return _looks_double(target)


def _looks_double(target: Any) -> bool:
    takes = _fitting(target, (SINGLE, DOUBLE))
    called = _innermost(target)
    double = _called_twice(called) and _called_twice(inspect.unwrap(called))  # what a decorator calls tells, too
    if isinstance(target, type):  # Starlette's endpoints are awaitable: a class, and a single callable
        double = DOUBLE in takes and _has(target, "__call__")
        takes = takes if double or _has(target, "__await__") else []
    if (DOUBLE if double else SINGLE) not in takes or (double and not _takes_scope(target)):
        raise ValueError(f"{name_of(target)} is not an ASGI application{_instead(target)}")
    return double


def _takes_scope(target: Any) -> bool:
    """Whether the only argument of an ASGI 2 application may be the scope: any other function has one argument, too."""
    return isinstance(target, type) or next(iter(_parameters(target)), _SCOPE) == _SCOPE


_SCOPE = "scope"


def _instead(target: Any) -> str:
    """Return what ``target`` seems to be, and what to write instead."""
    match _parameters(target):
        case ["request", *_]:
            return (
                f" but a view, as it takes request; write app: django, and {name_of(target)} in the project's urls.py"
            )
        case ["environ", *_]:
            return " but a WSGI application; write app = asgiref.wsgi.WsgiToAsgi(app), and that as the target"
    return ", which is async and takes scope, receive and send; write that, or a consumer class"


def _parameters(target: Any) -> list[str]:
    """Return the names of the positional arguments that the function below all decorators takes."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in parameters if each.kind in _POSITIONAL]


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _called_twice(target: Any) -> bool:
    double: bool = is_double_callable(target)
    return double


def _has(kind: type, method: str) -> bool:
    return any(method in base.__dict__ for base in kind.__mro__)


def _fitting(target: Any, counts: Iterable[int]) -> list[int]:
    """Return the numbers of arguments among ``counts`` that ``target`` takes; all of them if it does not say."""
    try:
        signature = inspect.signature(target, follow_wrapped=False)
    except (TypeError, ValueError):
        return list(counts)
    return [count for count in counts if _binds(signature, count)]


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _innermost(target: Any) -> Any:
    """What a ``functools.partial`` calls in the end."""
    while isinstance(target, functools.partial):
        target = target.func
    return target


def name_of(target: Any) -> str:
    """``tickets.SupportTicketHandler`` for a class, a function, ``as_asgi()``, a partial, or an instance's class; what
    has a ``target_name`` is called that."""
    if isinstance(given := getattr(target, "target_name", None), str):
        return given
    named = _innermost(getattr(target, "consumer_class", target))
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"
