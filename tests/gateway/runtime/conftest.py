"""What a test starts ends with it: a daemon, or gateways in its own process."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.operated import Run, Start

from gateway import services


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def run(**options: Any) -> Run:
        started.append(Run(tmp_path, **options))
        return started[-1]

    yield run
    for each in started:
        each.process.kill()
        each.process.wait(10)


@pytest.fixture
def replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Makes a module of handlers, in the folder where the test works; gateways can be installed until its end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def module(name: str, text: str) -> Any:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    before, root = services.install({}), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield module
    services.install(before)
    root.handlers[:] = handlers
    root.setLevel(level)
