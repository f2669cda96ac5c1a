"""What the metrics cost: a gateway that counts and one that does not, in turns, in one process under one load.

Its rows are an HTTP hello by a bare application, one by a consumer behind a router, and MQTT at QoS 0 and at QoS 1 to
a consumer behind a router. The load goes on while all that counts is taken out of the process and put back: the meter
of runs, and each statement that counts bytes or messages. A round is a number of requests or messages, and its cost is
the CPU time of the process. Each round with metrics is compared with the one beside it without them. The ratio of two
rounds without them, which are side by side as well, shows what the machine adds.

``python -m benchmarks.metrics_cost`` takes some minutes. ``--quick`` has fewer rounds, ``--only qos0`` one row.
"""

import argparse
import asyncio
import gc
import inspect
import os
import statistics
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import uvloop

from benchmarks.metrics_apps import work
from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from gateway.scopes.mqtt.router import _Branch
from protocols.app_run import observed
from protocols.http.connection import HTTPConnection
from protocols.http.exchange import Exchange
from protocols.mqtt.connection.client_socket import ClientSocket

SETTLE = 10
"""One part in so many of a round comes before it and is not measured: Python adapts its code to what has changed."""
FILE = 'log: {level: warning}\nservers: {in: {protocol: %s, bind: "127.0.0.1:0"}}\nroutes: %s\n'


@dataclass(frozen=True)
class Row:
    """``load`` is the client's command, with the port for ``{port}`` and seconds for ``{seconds}``."""

    work: str
    file: str
    load: str
    units: int
    "Requests or messages of a round: about 50 ms."


_HTTP, _MQTT = "-m benchmarks.windowed http {port} 64 1 {seconds}", "-m benchmarks.mqtt_load %s {port} 10 %d {seconds}"
_APPS = "benchmarks.metrics_apps"
_PATHS = f"{{http: [{{path: ^other$, app: {_APPS}.Hello}}, {{path: ^, app: {_APPS}.Hello}}]}}"
_TOPICS = f"{{mqtt: [{{topic: sensors/+/temperature, app: {_APPS}.Sensors}}, {{topic: '#', app: {_APPS}.Sensors}}]}}"
ROWS = {
    "hello": Row("HTTP hello by a bare application", FILE % ("http", f"{{http: {_APPS}.hello}}"), _HTTP, 2_500),
    "routed": Row("HTTP hello by a consumer behind a router", FILE % ("http", _PATHS), _HTTP, 2_000),
    "qos0": Row("MQTT QoS 0 to a consumer behind a router", FILE % ("mqtt", _TOPICS), _MQTT % ("qos0", 4), 20_000),
    "qos1": Row("MQTT QoS 1 to a consumer behind a router", FILE % ("mqtt", _TOPICS), _MQTT % ("qos1", 100), 15_000),
}
COUNTING: tuple[tuple[type, str, dict[str, str]], ...] = (
    (Exchange, "__init__", {"self.busy = self.service.busy": "pass"}),
    (HTTPConnection, "data_received", {"self.bytes_received += len(data)": "pass"}),
    (HTTPConnection, "write", {"self.bytes_sent += len(data)": "pass"}),
    (ClientSocket, "data_received", {"self._server.counters.bytes_received += size": "pass"}),
    (
        _Branch,
        "receive",
        {
            "waited = not events": "pass",
            "counts.taken += 1": "pass",
            'event["id"] is not None and (waited or not self._had_one or not counts.taken & UNTIMED)': "False",
        },
    ),
    (_Branch, "send", {'if kind == "mqtt.ack"': "if False"}),
)
"""Class, method, and what counts in it, with what stands there instead."""


def without(owner: type, name: str, counting: dict[str, str]) -> FunctionType:
    """Return the method without what counts in it. Raises LookupError if it does not have it."""
    source = textwrap.dedent(inspect.getsource(owner.__dict__[name]))
    for statement, instead in counting.items():
        if statement not in source:
            raise LookupError(f"{owner.__qualname__}.{name} has no {statement!r}")
        source = source.replace(statement, instead)
    made: dict[str, Callable[[type], FunctionType]] = {}
    maker = f"def make(__class__):\n{textwrap.indent(source, '    ')}\n    return {name}\n"
    exec(maker, sys.modules[owner.__module__].__dict__, made)  # noqa: S102 -- our own source
    return made["make"](owner)


class Switch:
    """Takes the metrics out, and puts them back."""

    def __init__(self) -> None:
        self._meter = observed.meter
        methods = [(owner.__dict__[name], without(owner, name, counting)) for owner, name, counting in COUNTING]
        self._codes = [(method, method.__code__, bare.__code__) for method, bare in methods]

    def turn(self, *, on: bool) -> None:
        observed.meter = self._meter if on else None
        for method, counting, bare in self._codes:
            method.__code__ = counting if on else bare


class Rounds:
    """Some triples of rounds: with metrics, without, without; and every other time the other way round."""

    def __init__(self, triples: int, units: int) -> None:
        self.costs: list[float] = []
        """CPU us of a unit."""
        self.over = asyncio.Event()
        self._units = units
        self._plan = [(True, False, False), (False, False, True)] * (triples // 2)
        self._turns = [on for triple in self._plan for on in triple]
        self._switch = Switch()
        self._began = 0.0
        work.left, work.done = units, self._settle

    def _settle(self) -> None:
        gc.collect()
        if len(self.costs) == len(self._turns):
            self.over.set()
            return
        self._switch.turn(on=self._turns[len(self.costs)])
        work.left, work.done = self._units // SETTLE, self._begin

    def _begin(self) -> None:
        work.left, work.done = self._units, self._end
        self._began = time.process_time()

    def _end(self) -> None:
        self.costs.append((time.process_time() - self._began) / self._units * 1e6)
        self._settle()

    def close(self) -> None:
        self._switch.turn(on=True)

    @property
    def triples(self) -> list[tuple[float, ...]]:
        """With, without beside it, without beside that."""
        found = [tuple(self.costs[at : at + 3]) for at in range(0, len(self.costs), 3)]
        return [each if plan[0] else each[::-1] for each, plan in zip(found, self._plan, strict=True)]


async def measure(row: Row, triples: int) -> list[tuple[float, ...]]:
    running = RunningGateway(build(parse(row.file, name="gateway.yaml", folder=Path())))
    await install(running)
    port = running.gateway.servers.named("in").address.rpartition(":")[2]
    words = row.load.format(port=port, seconds=600).split()
    client = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.DEVNULL)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(client.pid, cores[1:] or cores)
    os.sched_setaffinity(0, cores[:1])
    rounds = Rounds(triples, row.units)
    try:
        await rounds.over.wait()
    finally:
        rounds.close()
        client.terminate()
        await client.wait()
        await running.drain()
        await running.shut_down()
        await running.close()
        os.sched_setaffinity(0, cores)
    return rounds.triples


def report(row: Row, triples: list[tuple[float, ...]]) -> None:
    metrics, beside, again = zip(*triples, strict=True)
    print(f"{row.work}: CPU us {statistics.median(metrics):.2f} with metrics, {statistics.median(beside):.2f} without")
    print(f"  with / without     {spread(metrics, beside)}")
    print(f"  without / without  {spread(beside, again)}", flush=True)


def spread(these: tuple[float, ...], those: tuple[float, ...]) -> str:
    ratios = sorted(one / other for one, other in zip(these, those, strict=True))
    tenth, half = len(ratios) // 10, len(ratios) // 2
    off = round(len(ratios) ** 0.5)  # two standard errors of the median, in ranks
    sure = f"(95 % sure: {ratios[half - off]:.3f} - {ratios[half + off]:.3f})"
    most = f"80 % of {len(ratios)} ratios {ratios[tenth]:.3f} - {ratios[-tenth - 1]:.3f}"
    return f"{statistics.median(ratios):.4f} {sure}; {most}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="what the metrics cost a request and a message")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=ROWS)
    parser.add_argument("--rounds", type=int, default=300, help="with metrics; twice as many have none")
    options = parser.parse_args()
    for name, row in ROWS.items():
        if options.only in (None, name):
            report(row, uvloop.run(measure(row, 30 if options.quick else options.rounds)))
