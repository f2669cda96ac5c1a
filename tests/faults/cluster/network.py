"""Hosts as network namespaces on one switch. It runs inside namespaces of its own, which end with its process.

The process that makes the network is a host, too: the switch is its own, and clients run there.
"""

import ctypes
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from servers.programs import namespaces, program

T = TypeVar("T")
NAMES = Path("/run/netns")
PREFIX = "10.77.0"
BRIDGE = "switch"
NOWHERE = "02:00:00:00:00:ff"
"""The address of no network card: what is sent to it is lost, and its sender learns nothing."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def isolated(command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` in namespaces of its own. What it starts ends with it."""
    namespaces()
    options = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [program("unshare"), *options, *command]


def _ip(*words: str) -> None:
    subprocess.run([program("ip"), *words], check=True, stdout=sys.stderr)


class Host:
    """``namespace`` is empty for the host of the clients."""

    def __init__(self, name: str, number: int, device: str = "eth0", namespace: str = "") -> None:
        self.name = name
        self.address = f"{PREFIX}.{number}"
        self.device = device
        self.namespace = namespace
        self._thread = ThreadPoolExecutor(1, name, self._enter if namespace else None)

    def _enter(self) -> None:
        """Move this thread to the host, and what it starts with it."""
        with (NAMES / self.namespace).open() as place:
            if _LIBC.setns(place.fileno(), 0):
                raise OSError(ctypes.get_errno(), f"setns {self.namespace}")

    def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call it on the host, on a thread that stays: a program may end with the thread that has started it."""
        return self._thread.submit(call, *arguments).result()

    def ip(self, *words: str) -> None:
        _ip(*(["-n", self.namespace] if self.namespace else []), *words)


class Network:
    def __init__(self) -> None:
        NAMES.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(NAMES)], check=True)
        self._numbers = itertools.count(2)
        self._cuts: Counter[frozenset[str]] = Counter()
        """How many cuts there are between two hosts, by their addresses."""
        self.clients = Host("clients", 1, BRIDGE)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("link", "set", BRIDGE, "up")
        _ip("address", "add", f"{self.clients.address}/24", "dev", BRIDGE)

    def host(self, name: str) -> Host:
        """Make a host and connect it to the switch."""
        number = next(self._numbers)
        host = Host(name, number, namespace=name)
        _ip("netns", "add", name)
        _ip("link", "add", f"port{number}", "type", "veth", "peer", "name", host.device, "netns", name)
        _ip("link", "set", f"port{number}", "master", BRIDGE, "up")
        host.ip("address", "add", f"{host.address}/24", "dev", host.device)
        for device in ("lo", host.device):
            host.ip("link", "set", device, "up")
        return host

    def cut(self, one: Host, other: Host) -> None:
        """Lose every packet between the two, in silence. Connections stay open, as with a cable that is pulled."""
        self._cuts[frozenset((one.address, other.address))] += 1
        for here, there in ((one, other), (other, one)):
            neighbour = (there.address, "lladdr", NOWHERE, "nud", "permanent", "dev", here.device)
            here.ip("neighbour", "replace", *neighbour)

    def mend(self, one: Host, other: Host) -> None:
        """Take back one :meth:`cut`; packets pass when there is no other one."""
        pair = frozenset((one.address, other.address))
        self._cuts[pair] -= 1
        if self._cuts[pair]:
            return
        for here, there in ((one, other), (other, one)):
            here.ip("neighbour", "delete", there.address, "dev", here.device)
