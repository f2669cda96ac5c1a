"""The shared harness: servers side by side, the same load for each, alternated, the median of the rounds.

A rate drifts from run to run and machine to machine; a ratio of two servers that were measured in turns, in one run, by
one client, does not. Each server has one core and the client has the others (on Linux; with ``--unpinned`` the
system decides, and a server that has threads of its own takes several). A script makes its peers and one load function,
and calls :func:`compare`::

    compare("HTTP hello", [Peer("ours", command), Peer("uvicorn", command)], load, unit="requests/s")

The first peer is ours. The last line that is printed is ``ratio ours/uvicorn 1.52, ours/granian 1.08``. On Linux a
table of the CPU time that each server takes comes first: where other programs run, it says more than the rates do.
"""

import argparse
import contextlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

Load = Callable[[int, float], float]
"""(port, seconds) -> what was done per second."""
NOT_SERVED = 3
"""The exit code of a load client whose server does not do what is measured. Its output says why."""


class NotServedError(Exception):
    """A server does not do what is measured, and why."""


@dataclass(frozen=True)
class Peer:
    """A server to measure: ``command(port)`` is the argument vector that serves on 127.0.0.1:port."""

    name: str
    command: Callable[[int], Sequence[str]]


def python(*arguments: str) -> list[str]:
    """The argument vector of this interpreter with ``arguments``."""
    return [sys.executable, *arguments]


def client(*arguments: str) -> float:
    """Run a load client in a process of its own; the last word that it prints is the rate."""
    done = subprocess.run(python(*arguments), stdout=subprocess.PIPE, text=True)
    if done.returncode == NOT_SERVED:
        raise NotServedError(done.stdout.strip())
    done.check_returncode()
    return float(done.stdout.split()[-1])


def compare(title: str, peers: Sequence[Peer], load: Load, *, unit: str, least: float = 0.0) -> dict[str, float]:
    """Measure ``peers`` in turns, print the table and the ratios of the first to each other, return the medians.

    A ``unit`` such as ``messages/s`` has a table of CPU time, too. A round takes ``least`` seconds of load, or more. A
    peer that does not do what is measured is reported, and the others are compared.
    """
    options = options_of(title)
    seconds = max(options.seconds, least)
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" and not options.unpinned else []
    has_cpu = sys.platform == "linux" and unit.endswith("/s")
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    costs: dict[str, list[float]] = {peer.name: [] for peer in peers}
    print(interpreter())
    with contextlib.ExitStack() as stack:
        servers = {peer.name: stack.enter_context(running(peer, cores[:1])) for peer in peers}
        _pin(0, cores[1:])
        for number in range(options.rounds + 1):
            for name, (port, pid) in list(servers.items()):
                began = cpu(pid) if has_cpu else 0.0
                try:
                    rate = load(port, seconds if number else min(1.0, seconds))  # the first one warms up
                except NotServedError as error:
                    _leave_out(name, str(error), servers, rates, costs)
                    continue
                if number:
                    rates[name].append(rate)
                if number and has_cpu:
                    costs[name].append((cpu(pid) - began) / (rate * seconds) * 1e6)
    if has_cpu:
        report(title, f"CPU us of the server for each of the {unit.removesuffix('/s')}, less is better", costs)
    return report(title, unit, rates)


def _leave_out(name: str, reason: str, *tables: dict[str, Any]) -> None:
    """A peer leaves all tables. Without the first one, which is ours, there is nothing to compare."""
    print(f"  {name} is left out: {reason}", flush=True)
    if name == next(iter(tables[0])):
        raise SystemExit(f"{name} {reason}")
    for each in tables:
        del each[name]


def interpreter() -> str:
    """The interpreter and how it was built: a build that is optimised for speed has other ratios, too."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    found = [each for each in ("--enable-optimizations", "--with-lto", "--disable-gil") if each in options]
    build = " ".join([platform.python_version(), platform.python_compiler(), *(found or ["not optimised"])])
    return f"{platform.python_implementation()} {build}, {platform.system()} {platform.machine()}"


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process and its children, also former ones, have taken: in the program, and in
    the system for it (proc_pid_stat(5))."""
    process = Path(f"/proc/{pid}")
    try:
        children = [int(each) for path in process.glob("task/*/children") for each in path.read_text().split()]
        of_children = sum(map(cpu, children))
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it has ended: its parent, which is read after it, has its time
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + of_children


def medians(peers: Sequence[str], rounds: int, *command: str) -> dict[str, list[float]]:
    """Run ``python COMMAND`` for each peer in turn, with the peer in place of ``{peer}``, and return the median of each
    figure that it prints."""
    found: dict[str, list[list[float]]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer, rows in found.items():
            words = [word.replace("{peer}", peer) for word in command]
            done = subprocess.run(python(*words), stdout=subprocess.PIPE, check=True, text=True)
            rows.append([float(each) for each in done.stdout.split()])
    return {peer: [statistics.median(each) for each in zip(*rows, strict=True)] for peer, rows in found.items()}


def options_of(title: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="5 rounds of half a second")
    parser.add_argument("--unpinned", action="store_true", help="let every process use every core")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load in one round on one server")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 5, 0.5
    return options


def report(title: str, unit: str, rates: dict[str, list[float]]) -> dict[str, float]:
    medians = {name: statistics.median(each) for name, each in rates.items()}
    ours, *others = medians
    print(f"{title}, {unit}, median (lowest - highest) of {len(rates[ours])} rounds")
    for name, each in rates.items():
        print(f"  {name:<28}{medians[name]:>12,.0f}   ({min(each):,.0f} - {max(each):,.0f})")
    print("ratio " + ", ".join(f"{ours}/{name} {medians[ours] / medians[name]:.2f}" for name in others), flush=True)
    return medians


@contextlib.contextmanager
def running(peer: Peer, cores: Sequence[int] = ()) -> Iterator[tuple[int, int]]:
    """The server, listening: its port and its process."""
    port = free_port()
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would stop a server that says much
        process = subprocess.Popen(peer.command(port), stdout=subprocess.DEVNULL, stderr=log)
        _pin(process.pid, cores)
        try:
            _wait(peer, process, port, log)
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _pin(pid: int, cores: Sequence[int]) -> None:
    if cores and sys.platform == "linux":
        os.sched_setaffinity(pid, cores)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(peer: Peer, process: "subprocess.Popen[bytes]", port: int, log: TextIO) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise SystemExit(f"{peer.name} ended with {process.returncode}: {log.read()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{peer.name} did not listen within 15 s")
