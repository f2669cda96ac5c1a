"""`gateway reload --code`, as a real Prometheus sees it: a process that begins anew, and rates that stay right."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from servers.ports import free_port
from servers.prometheus import Prometheus, prometheus
from servers.replaced import Replaced
from servers.site import until

FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:PORT"}}
routes: {http: handlers.page}
console: {bind: "127.0.0.1:CONSOLE"}
"""
HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
RUNS = 'gateway_runs_total{server="web",type="http",route="http -> handlers.page",verdict="2xx"}'


def sees(server: Prometheus, query: str, expected: float) -> None:
    until(lambda: server.value(query) == expected, lambda: f"{query} is {server.value(query)}; {server.target()}")


@contextlib.contextmanager
def scraped(console: int) -> Iterator[list[int]]:
    """Scrape again and again, on a connection each; the statuses of the answers."""
    statuses: list[int] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            statuses.append(httpx.get(f"http://127.0.0.1:{console}/metrics", timeout=30).status_code)

    thread = threading.Thread(target=scrape)
    thread.start()
    yield statuses
    over.set()
    thread.join(30)


def test_a_new_process_is_a_reset_and_the_rate_goes_on(tmp_path: Path) -> None:
    console = free_port()
    site = Replaced(tmp_path, {"gateway.yaml": FILE.replace("CONSOLE", str(console)), "handlers.py": HANDLERS})
    try:
        asked = 1  # it has been asked whether it answers
        with prometheus(f"127.0.0.1:{console}", "2s") as server:
            sees(server, RUNS, asked)
            began = server.value("process_start_time_seconds")
            for _ in range(30):
                assert site.answer() == "hello"
            sees(server, RUNS, asked + 30)
            with scraped(console) as statuses:
                done = site.reload()
            assert done.returncode == 0, done.stderr
            assert set(statuses) == {200}, "no scrape fails meanwhile"
            until(lambda: server.value("process_start_time_seconds") != began, "Prometheus has seen the new process")
            sees(server, RUNS, 0)
            for _ in range(20):
                assert site.answer() == "hello"
            sees(server, RUNS, 20)
            sees(server, f"resets({RUNS}[5m])", 1)
            sees(server, "changes(process_start_time_seconds[5m])", 1)
            sees(server, "gateway_config_generation", 1)
            grown = server.value(f"increase({RUNS}[5m])")  # by 50; Prometheus extrapolates to the ends of the range
            assert grown is not None
            assert 50 <= grown < 75
            sees(server, f"min_over_time(rate({RUNS}[10s])[5m:2s]) >= bool 0", 1)
    finally:
        site.close()
