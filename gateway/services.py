"""Gives code anywhere in a running gateway that gateway's services: its store, channel layer and pool of threads.

A gateway enters its services when it starts a server, so every connection, task and thread that the server starts has
them in its context. Several gateways in one process do not see each other's services. Code outside any gateway's
context, such as a thread that the application started itself, finds those of the installed gateway.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Service(Generic[T]):
    """One service of a gateway. Programs without a gateway, such as tests, get ``default``."""

    def __init__(self, name: str, default: T | None = None) -> None:
        self.name = name
        self.default = default

    def get(self) -> T:
        """Return the service of the gateway whose context this is, or of the installed one. Raises LookupError."""
        found: T | None = services_here().get(self, self.default)
        if found is None:
            raise LookupError(f"there is no {self.name} here: no gateway that has one is running")
        return found


Services = Mapping[Service[Any], Any]


class _Process:
    services: Services = MappingProxyType({})


_current: ContextVar[Services] = ContextVar("services", default=_Process.services)


def services_here() -> Services:
    """Return the services of the gateway whose context this is, or of the installed one."""
    return _current.get() or _Process.services


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


def _forget() -> None:
    """Let a process that was forked find no gateway: the threads that run it are not in there."""
    _Process.services = MappingProxyType({})
    _current.set(_Process.services)  # a fork has one thread, which goes on in this context


os.register_at_fork(after_in_child=_forget)
