"""Imports a module when one of its names is asked for."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def imported(home: str) -> Any:
    """Import what ``home`` names, as ``module:name``."""
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def lazy_names(package: str, homes: Mapping[str, Iterable[str]]) -> tuple[list[str], Callable[[str], Any]]:
    """Return ``__all__`` and ``__getattr__`` (PEP 562) for ``package``. ``homes``: module -> names in it."""
    modules = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = import_module(modules[name])
        if found.__name__ != f"{package}.{name}":  # a module may be public itself
            found = getattr(found, name)
        setattr(sys.modules[package], name, found)  # the next one finds it at once
        return found

    return sorted(modules), find
