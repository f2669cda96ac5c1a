"""What a running gateway has one of (a store, a channel layer, a pool of threads), reached from anywhere in it.

A gateway enters its services when it starts a server, so that every connection, task and thread that comes of it is in
a context that has them. Several gateways of one process do not see each other's. Code that runs in no gateway's
context (a thread that the application started itself) finds those of the gateway that is installed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Service(Generic[T]):
    """One thing that a gateway has; ``default`` is for programs that run without a gateway, such as tests."""

    def __init__(self, name: str, default: T | None = None) -> None:
        self.name = name
        self.default = default

    def get(self) -> T:
        """Return that of the gateway whose context this is, or of the installed one. Raises LookupError."""
        services = _current.get() or _Process.services
        found: T | None = services.get(self, self.default)
        if found is None:
            raise LookupError(f"there is no {self.name} here: no gateway that has one is running")
        return found


Services = Mapping[Service[Any], Any]


class _Process:
    services: Services = MappingProxyType({})


_current: ContextVar[Services] = ContextVar("services", default=_Process.services)


@contextmanager
def entered(services: Services) -> Iterator[None]:
    """Let code find ``services`` within this context, and in all tasks and threads that begin in it."""
    token = _current.set(services)
    try:
        yield
    finally:
        _current.reset(token)


def install(services: Services) -> Services:
    """Let code in no gateway's context find ``services`` from now on. Return those that it found before."""
    before, _Process.services = _Process.services, services
    return before
