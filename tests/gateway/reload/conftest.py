"""A supervisor for a module of tests, and one for a single test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.edited import Edited

Start = Callable[..., Edited]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Edited] = []

    def run(files: dict[str, str], **options: object) -> Edited:
        started.append(Edited(tmp_path, files, **options))  # type: ignore[arg-type]  # whatever it takes
        return started[-1]

    yield run
    for each in started:
        each.close()
