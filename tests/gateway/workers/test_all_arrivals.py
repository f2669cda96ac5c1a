"""What the console shows of arrivals: those of all workers, whichever of them answers."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from servers.site import until
from servers.workers import FILE, Workers

pytestmark = pytest.mark.timeout(120)

ASKED = 16
"""Requests on connections of their own: two workers have got some of them, but for one time in 30,000."""

MANY = 34
"""Streams: twice as many as a control socket has connections for commands, and two."""
THREADS = 32
"""`threads` of each worker, if the file does not say it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    running = Workers(tmp_path_factory.mktemp("workers"), file=FILE + "log: {{arrivals: true}}\n")
    running.all_serve()
    yield running
    running.close()


class Stream:
    """A client of the stream of arrivals, on a thread."""

    def __init__(self, site: Workers, **parameters: object) -> None:
        self.told: list[dict[str, Any]] = []
        self._url = f"http://127.0.0.1:{site.console}/api/arrivals"
        self._parameters = {"follow": "true", "content": "true", "type": "http", **parameters}
        self._client = httpx.Client(timeout=httpx.Timeout(20, read=None))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        until(lambda: any("listening" in each for each in self.told), "it listens")

    def _read(self) -> None:
        with (
            contextlib.suppress(httpx.HTTPError),
            self._client.stream("GET", self._url, params=self._parameters) as got,
        ):
            self._socket: socket.socket = got.extensions["network_stream"].get_extra_info("socket")
            for line in got.iter_lines():
                if line.startswith("data: "):
                    self.told.append(json.loads(line.removeprefix("data: ")))

    @property
    def arrivals(self) -> dict[int, str]:
        """Each by its number."""
        found = [(each["number"], each["arrival"]["what"]) for each in self.told if "arrival" in each]
        assert len(dict(found)) == len(found), "no number comes twice"
        return dict(found)

    def hears_of(self, asked: list[str]) -> None:
        """It has these and no others."""
        until(lambda: sorted(self.arrivals.values()) == sorted(asked), lambda: str(self.told))

    def close(self) -> None:
        """Leave. To close the client would not wake the thread that reads."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._client.close()


def ask(site: Workers, name: str) -> list[str]:
    """Ask so often that every worker has got something. Return what the console has to show."""
    answered = {site.answer(f"{name}-{number}") for number in range(ASKED)}
    assert len(answered) == 2, answered
    return [f"GET /{name}-{number}" for number in range(ASKED)]


def api(site: Workers, path: str, **parameters: object) -> httpx.Response:
    """Ask on a connection of its own, so that each worker answers now and then."""
    return httpx.get(f"http://127.0.0.1:{site.console}{path}", params=parameters, timeout=20)


def last(site: Workers, number: int) -> list[str]:
    lines = api(site, "/api/arrivals", last=number, type="http").text.splitlines()
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    return [each["arrival"]["what"] for each in told if "arrival" in each]


def test_the_last_ones_are_those_of_all_workers_in_their_order(site: Workers) -> None:
    asked = ask(site, "one")
    until(lambda: last(site, ASKED) == asked, lambda: f"{last(site, ASKED)}")
    for _ in range(6):
        assert last(site, ASKED) == asked
        assert last(site, 5) == asked[-5:]
        page = api(site, "/live", type="http").text
        assert all(each in page for each in asked)


def test_a_stream_has_those_of_all_workers_and_each_can_be_opened(site: Workers) -> None:
    stream = Stream(site)
    asked = ask(site, "two")
    stream.hears_of(asked)
    for number, what in stream.arrivals.items():
        assert api(site, f"/api/arrivals/{number}").json()["arrival"]["what"] == what
    assert api(site, "/api/arrivals/7").status_code == 404
    stream.close()


def test_a_client_that_comes_back_gets_what_came_meanwhile_from_all(site: Workers) -> None:
    first = Stream(site)
    before = ask(site, "before")
    until(lambda: len(first.arrivals) == ASKED, lambda: str(first.told))
    first.close()
    meanwhile = ask(site, "meanwhile")
    again = Stream(site, after=max(first.arrivals))
    after = ask(site, "after")
    until(lambda: len(again.arrivals) >= 2 * ASKED, lambda: str(again.told))
    assert [each for each in again.arrivals.values() if each in meanwhile] == meanwhile
    assert sorted(again.arrivals.values()) == sorted(meanwhile + after)
    assert not set(before) & set(again.arrivals.values())
    again.close()


def test_a_filter_that_is_wrong_is_refused_as_with_one_process(site: Workers) -> None:
    answer = api(site, "/api/arrivals", type="carrier-pigeon", follow="true")
    assert answer.status_code == 400
    assert "there is no scope type 'carrier-pigeon'" in answer.json()["error"]


def test_many_live_pages_keep_no_command_and_no_scrape_out(site: Workers) -> None:
    """One of the workers has 17 or more of them, and asks the other one as often."""
    streams = [Stream(site) for _ in range(MANY)]
    assert site.command("status").count("ready, for") == 2
    assert site.metric("gateway_threads") == 2 * THREADS, "the parent reaches both, too"
    asked = ask(site, "many")
    for each in streams:
        each.hears_of(asked)
        each.close()


def test_a_stream_goes_on_with_workers_that_take_the_places_of_others(site: Workers) -> None:
    """The one that answers lives on."""
    stream = Stream(site)
    killed = next(pid for pid in site.pids() if not _has_a_client(pid, site.console))
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(site.answering()) == 2 and killed not in site.pids(), site.said)
    asked = ask(site, "three")
    until(lambda: set(asked) <= set(stream.arrivals.values()), lambda: str(stream.told))
    assert len([each for each in stream.arrivals.values() if each in asked]) == ASKED
    stream.close()


def _has_a_client(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections("tcp")
    return any(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in connections)
