"""Every ``async def`` test runs twice: on asyncio's own loop and on uvloop."""

import inspect
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(
    params=[pytest.param(False, id="asyncio"), pytest.param(True, id="uvloop")],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "obj", None)
        if inspect.iscoroutinefunction(inspect.unwrap(function) if function else None):
            item.add_marker(pytest.mark.anyio)


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """A test that configures logging leaves no trace in the next."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
