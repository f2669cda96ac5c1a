"""Every ``async def`` test runs on asyncio's own loop and on uvloop; with ``--loops one``, many run on one of them."""

import gc
import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import ModuleType
from zlib import crc32

import pytest
from httpx._transports import default as httpx_transports
from hypothesis import Phase, settings
from servers.keeper import keep

if os.environ.get("CI") == "true":  # to make an example simpler takes longer than a test may
    settings.register_profile(
        "ci", settings.get_profile("ci"), phases=[Phase.explicit, Phase.reuse, Phase.generate], print_blob=True
    )
    settings.load_profile("ci")

# Each `httpx.get` reads the certificates of all public authorities, which takes 17 ms of CPU, also for http://. Tests
# ask a gateway until it answers, or all the time. Which certificates a client believes stays as it is.
httpx_transports.create_ssl_context = cache(httpx_transports.create_ssl_context)
# And each of its async requests asks three times which event loop runs, and looks for this in all folders.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # that is: there is no such module


def pytest_configure(config: pytest.Config) -> None:
    """Nothing that they start outlives the tests. And a process that was started with ``nohup`` or in the background of
    a script ignores these signals, and so do all processes that it starts, unless it has a handler of its own."""
    config.add_cleanup(keep())
    for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: lambda *_: None}.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """The collected tests are millions of objects that stay in memory. The garbage collector skips them, while they
    are made and later: otherwise each collection that a test asks for would take a second instead of milliseconds.

    The compiled tests are kept even if PYTHONDONTWRITEBYTECODE is set. Otherwise each worker would compile for 10 s."""
    writes_nothing, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = writes_nothing


@pytest.fixture(
    params=[pytest.param(False, id="asyncio"), pytest.param(True, id="uvloop")],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


LOOP_MATTERS = ("tests/protocols/", "tests/gateway/runtime/")
"""Sockets, TLS, signals and child processes differ from loop to loop. The rest of the gateway needs tasks and futures
only."""
OWN_PROCESS = {"servers.daemon", "servers.gateway_process", "servers.operated"}
"""A file that imports one of these starts gateways in processes of their own: the loop of the test is a peer's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    loops = "one: a test that does not touch the loop runs on one of the two, always the same; both (default): on each"
    parser.addoption("--loops", choices=("both", "one"), default="both", help=loops)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--loops") == "one":
        spare = {item for item in items if _is_spare(item)}
        items[:] = [item for item in items if item not in spare]
        config.hook.pytest_deselected(items=list(spare))
    by_file: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.path, []).append(item)
    items[:] = chain.from_iterable(sorted(by_file.values(), key=_may_take, reverse=True))


@cache
def _starts_processes(module: ModuleType) -> bool:
    return not OWN_PROCESS.isdisjoint(getattr(each, "__module__", None) for each in vars(module).values())


def _may_take(items: list[pytest.Item]) -> tuple[float, int]:
    """How long the tests of a file may take: its longest timeout, and how many they are. With ``--dist loadfile``, a
    worker takes one file after another: the longest begin first, so that none of them runs alone at the end."""
    timeouts = [mark.args[0] for item in items if (mark := item.get_closest_marker("timeout"))]
    return max(timeouts, default=0.0), len(items)


def _is_spare(item: pytest.Item) -> bool:
    """Whether the same test runs on the other loop too, and that is enough."""
    call = getattr(item, "callspec", None)
    if not isinstance(item, pytest.Function) or call is None or "anyio_backend" not in call.params:
        return False
    if item.nodeid.startswith(LOOP_MATTERS) and not _starts_processes(item.module):
        return False
    name = item.nodeid.replace("uvloop", "asyncio")
    return bool(crc32(name.encode()) % 2) != bool(call.params["anyio_backend"])


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Before the items are made: a marker that comes later loses the test's own parameters, and the loops above."""
    function = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
    if collector.istestfunction(obj, name) and inspect.iscoroutinefunction(inspect.unwrap(function)):
        pytest.mark.anyio(obj)
        pytest.mark.usefixtures("anyio_backend")(obj)


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """A test that configures logging, sets Django up or answers mail leaves no trace in the next, nor in what that
    starts."""
    root = logging.getLogger()
    letters = sys.modules.get("gateway.consumers.answering")
    if letters is not None:  # how many answers an address has had within the hour
        letters.answering.default = letters.Answering()
    level, handlers, environment = root.level, list(root.handlers), dict(os.environ)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    os.environ.clear()
    os.environ.update(environment)


POOLS = (
    "handler-",
    "log",
    "login_",
    "mail reader_",
    "operator",
    "static files_",
    "store",
    "pytest_timeout",
    "ThreadPoolExecutor-",
)
"""Names of threads that a process keeps while it lives. The last one is asgiref's, which runs sync code of an async
caller that is in no thread-sensitive context."""


@pytest.fixture(autouse=True, scope="module")
def _threads_as_they_were() -> Iterator[None]:
    """A thread that outlives the tests of its file disturbs those of another: it draws random numbers while Hypothesis
    compares the state of the generator, or logs what another test counts."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before and not each.name.startswith(POOLS)]
    for each in left:
        each.join(10)
    assert not (alive := [each for each in left if each.is_alive()]), "\n".join(map(_stack, alive))


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{thread.name} still runs:\n{''.join(traceback.format_stack(frame))}"
