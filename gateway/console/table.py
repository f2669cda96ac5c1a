"""The table of all operations, by name. It is imported with the first request: a daemon without requests does
not need it."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from gateway.console.operation import Operation

NOUNS = (
    *("status", "servers", "clients", "sessions", "retained", "arrivals", "messages", "dead", "outgoing", "reload"),
    *("log", "routes", "certificates", "configuration", "description", "workers"),
)
"""The files of ``operations``."""


@cache
def operations() -> Mapping[str, Operation]:
    modules = [import_module(f"gateway.console.operations.{noun}") for noun in NOUNS]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Operation)]
    return {each.name: each for each in found}
