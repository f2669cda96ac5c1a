"""Which loggers there are. Ours are known; others may come with a module that is imported later."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from gateway.config.diagnostics import nearest

_PACKAGES = ("gateway", "protocols")
_NOT_MODULES = ("protocols.mail.traffic", "protocols.sms.traffic")


def logger_fault(name: str) -> str:
    """Return what is wrong with the name of a logger; empty if it exists, or may."""
    if name.partition(".")[0] not in _PACKAGES or name in _ours():
        return ""
    near = nearest(name, _ours())
    return f"no logger is called {name!r}" + (f"; did you mean {near!r}?" if near else "")


@cache
def _ours() -> frozenset[str]:
    return frozenset([*_NOT_MODULES, *(each for package in _PACKAGES for each in _modules(package))])


def _modules(package: str) -> Iterator[str]:
    """Yield the names of the modules of ``package``, which their loggers have, without importing them."""
    for folder in map(Path, import_module(package).__path__):
        for path in folder.rglob("*.py"):
            yield ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
