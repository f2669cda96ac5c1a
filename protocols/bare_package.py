"""Imports modules of a large package without running the package itself."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


@contextmanager
def bare_package(name: str) -> Iterator[None]:
    """Let the modules of ``name`` be imported within the block without its ``__init__``, which may import everything.

    The package itself is imported when somebody asks for it. It is then the parent of the same modules. If it has been
    imported already, or is not installed, nothing is different within the block.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        yield
        return
    package: Any = module_from_spec(spec)
    package.__version__ = version(name)  # what a module of its own usually asks it for
    sys.modules[name] = package
    try:
        yield
    finally:
        del sys.modules[name]
        sys.meta_path.insert(0, _Rest(package, spec.loader))


class _Rest(MetaPathFinder, Loader):
    """Runs ``package`` with ``loader`` once it is imported, in the module object that has its modules already."""

    def __init__(self, package: ModuleType, loader: Loader) -> None:
        self._package = package
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._package.__name__:
            return None
        spec = _spec_of(self._package)
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._package

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path.remove(self)
        _spec_of(module).loader = module.__loader__ = self._loader
        self._loader.exec_module(module)


def _spec_of(module: ModuleType) -> ModuleSpec:
    assert module.__spec__ is not None
    return module.__spec__
