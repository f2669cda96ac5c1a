"""The pytest plugin: fixtures that do nothing until a test asks for them.

This module imports nothing of the gateway at its top: pytest imports it in every project that has the gateway
installed.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gateway.testing.in_memory import InMemoryGateway
    from gateway.testing.live import GatewayLiveServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "gateway_config", "the gateway.yaml of the fixtures, relative to the root folder", default="gateway.yaml"
    )


@pytest.fixture(scope="session")
def gateway_config(pytestconfig: pytest.Config) -> Path:
    """The file of the fixtures below. Override this fixture for another one."""
    return pytestconfig.rootpath / str(pytestconfig.getini("gateway_config"))


@pytest.fixture
def gateway(request: pytest.FixtureRequest, gateway_config: Path) -> "InMemoryGateway":
    """The gateway of the file, in memory: its routes with their policies, a store, an outbox, time that can be moved.

    It runs while an ``async def`` test runs, on the loop of that test, whichever plugin runs it. Any other test starts
    it with ``async with``.
    """
    from gateway.testing.in_memory import InMemoryGateway

    made = InMemoryGateway(gateway_config)
    if inspect.iscoroutinefunction(request.node.obj):
        request.node.obj = _within(made, request.node.obj)
    return made


@pytest.fixture(scope="module")
def gateway_server(gateway_config: Path) -> "Iterator[GatewayLiveServer]":
    """The gateway of the file with its servers, on a thread, for real clients; one for all tests of a module."""
    from gateway.testing.live import GatewayLiveServer

    with GatewayLiveServer(gateway_config) as server:
        yield server


def _within(gateway: "InMemoryGateway", test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(**arguments: Any) -> Any:
        async with gateway:
            return await test(**arguments)

    return run
