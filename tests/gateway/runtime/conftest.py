"""A daemon that ends with its test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.operated import Run, Start


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
