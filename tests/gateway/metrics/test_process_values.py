"""The process and its log, compared with what the system says."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psutil
import pytest
from servers.measured import Measured
from servers.small_disk import small_disk

import gateway

LIMIT = 15.0
FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:PORT_web"}}
routes: {http: handlers.page}
log: {level: warning}
"""
HANDLERS = """
import asyncio, gc, logging, time

gc.disable()

class Ring:
    def __init__(self):
        self.ring = self

async def page(scope, receive, send):
    doing, number = scope["path"][1:], float(scope["query_string"] or b"0")
    if doing == "block":
        time.sleep(number)
    if doing == "burn":
        until = time.process_time() + number
        while time.process_time() < until:
            pass
    if doing == "collect":
        rings = [Ring() for _ in range(int(number))]
        del rings
        gc.collect()
    if doing == "say":
        for each in range(int(number)):
            logging.getLogger(__name__).error("%1000d", each)
    if doing == "keep":
        global kept
        kept = b"x" * int(number)
    if doing == "threads":
        for _ in range(int(number)):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    with closing(Measured(tmp_path_factory.mktemp("site"), FILE, HANDLERS)) as site:
        yield site


def let(site: Measured, do: str) -> None:
    assert httpx.get(site.url("web", f"/{do}"), timeout=60).status_code == 200


def test_which_gateway_and_which_python(site: Measured) -> None:
    told = {"version": gateway.__version__, "python": platform.python_version()}
    assert site.number("gateway_build_info", **told) == 1
    command = [sys.executable, "-m", "gateway", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=site.folder)
    assert told["version"] in said.stdout


def long_delays(site: Measured) -> float:
    """How often the loop took more than half a second."""
    told = site.scrape()
    below = told["gateway_loop_delay_seconds_bucket", frozenset({("le", "0.5")})]
    return told["gateway_loop_delay_seconds_count", frozenset()] - below


def test_a_handler_that_blocks_the_loop(site: Measured) -> None:
    before, total = long_delays(site), site.number("gateway_loop_delay_seconds_sum")
    let(site, "block?2.5")  # two looks a second: one of them waits for two seconds or more
    assert long_delays(site) >= before + 1
    assert site.number("gateway_loop_delay_seconds_sum") >= total + 1.5


def test_the_garbage_collector(site: Measured) -> None:
    collected = site.number("gateway_gc_objects_collected_total", generation="2")
    runs = site.number("gateway_gc_collections_total", generation="2")
    let(site, "collect?1000")
    assert site.number("gateway_gc_collections_total", generation="2") == runs + 1
    assert site.number("gateway_gc_objects_collected_total", generation="2") >= collected + 1000


def test_cpu_time(site: Measured) -> None:
    before = site.number("process_cpu_seconds_total")
    let(site, "burn?0.5")
    after = site.number("process_cpu_seconds_total")
    times = psutil.Process(site.process.pid).cpu_times()
    assert before + 0.5 <= after <= times.user + times.system + 0.02, "the system counts in hundredths"


def test_memory(site: Measured) -> None:
    before = site.number("process_resident_memory_bytes")
    let(site, "keep?50000000")
    told, has = site.scrape(), psutil.Process(site.process.pid).memory_info()
    resident = told["process_resident_memory_bytes", frozenset()]
    assert resident > before + 40_000_000
    assert abs(resident - has.rss) < 10_000_000
    assert abs(told["process_virtual_memory_bytes", frozenset()] - has.vms) < 100_000_000


def test_descriptors(site: Measured) -> None:
    before = site.number("process_open_fds")
    with ExitStack() as dialled:
        for _ in range(20):
            dialled.enter_context(site.dial("web"))
        site.becomes(20, "gateway_connections", server="web")
        assert abs(site.number("process_open_fds") - before - 20) <= 2, "a scrape has one or two of its own"
        assert abs(site.number("process_open_fds") - psutil.Process(site.process.pid).num_fds()) <= 2
    assert site.number("process_max_fds") == psutil.Process(site.process.pid).rlimit(psutil.RLIMIT_NOFILE)[0]


def test_when_it_began(site: Measured) -> None:
    began = site.number("process_start_time_seconds")
    assert abs(began - psutil.Process(site.process.pid).create_time()) < 1
    assert began < time.time()


def test_records_of_the_log_that_cannot_be_written(tmp_path: Path) -> None:
    """Standard error is a disk that is full."""
    under = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    with closing(Measured(tmp_path, FILE, HANDLERS, under)) as site:
        before = site.number("gateway_log_records_lost_total")
        let(site, "say?7")
        site.becomes(before + 7, "gateway_log_records_lost_total")


@pytest.mark.parametrize("file", ["/dev/full", "disk/log"])
def test_a_file_of_the_log_that_cannot_be_written(tmp_path: Path, file: str) -> None:
    """Records wait within bounds, the rest is lost and counted, and requests are answered all the while."""
    with ExitStack() as used:
        disk = used.enter_context(small_disk(tmp_path / "disk")) if file == "disk/log" else None
        text = FILE.replace("warning", f"warning, file: {file}")
        site = used.enter_context(closing(Measured(tmp_path, text, HANDLERS)))
        if disk is not None:
            disk.fill()
        let(site, "say?6000")
        assert site.number("gateway_log_records_lost_total") == 0, "8 MiB wait"
        let(site, "say?6000")
        site.passes(1000, "gateway_log_records_lost_total")
        lost = site.number("gateway_log_records_lost_total")
        assert lost < 6000
        let(site, "say?7")
        site.becomes(lost + 7, "gateway_log_records_lost_total")
        assert site.text.count(f"{file} cannot be written: No space left on device; up to 8 MiB of records wait") == 1


def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """What does not fit into the pipe waits within bounds, and the rest is lost and counted."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    silent = os.open(pipe, os.O_RDWR)  # so that the gateway can open it
    under = ("sh", "-c", 'exec "$@" 2>"$0"', str(pipe))
    with closing(Measured(tmp_path, FILE, HANDLERS, under)) as site:
        let(site, "say?20000")
        site.passes(1000, "gateway_log_records_lost_total")
        assert site.number("gateway_log_records_lost_total") < 20_000
    os.close(silent)


def test_threads_that_a_handler_has_taken_are_not_needed(tmp_path: Path) -> None:
    """asyncio has few threads. Code that blocks all of them, a name server that does not answer, is when one looks at
    the metrics."""
    with closing(Measured(tmp_path, FILE, HANDLERS)) as site:
        site.scrape()
        let(site, "threads?100")
        assert site.number("gateway_metrics_reader_success", reader="process") == 1
        assert site.number("process_open_fds") > 0
