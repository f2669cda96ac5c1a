"""One trial: a cluster, its load, its faults, and the verdict."""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from cluster import load, oracle
from cluster.faults import Fault, Plan
from cluster.network import Network
from cluster.nodes import Broker, Gateway, Mailbox, Node, Redis
from servers.site import until

KINDS = ("kill", "restart", "pause", "cut")
SETTLED = 60.0
"""Seconds within which all that was acknowledged is handled, when nothing fails any more."""


class Trial:
    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._folder, self._given = folder, given
        self._network = Network()
        self._book = folder / "book"
        self._stack = ExitStack()
        self._failures: list[str] = []

    def run(self) -> bool:
        with self._stack:
            self._begin()
            plan = self._plan()
            self._expect(self._all_get_on, "every client is answered before anything fails")
            plan.run(self._given.seconds)
            self._end(plan.done)
        for line in self._failures:
            print("FAILED:", line)
        return not self._failures

    # The cluster.

    def _begin(self) -> None:
        host = self._network.host
        self.redis = Redis(host("redis"), self._folder / "redis")
        self.broker = Broker(host("broker"), self._folder / "broker")
        self.mailbox = Mailbox(host("mailbox"), self._folder / "mailbox")
        bridge = ("connection up", f"address {self.broker.host.address}:1883", "topic plant/# out 2", "cleansession false", "restart_timeout 1")
        self.edge = Broker(host("edge"), self._folder / "edge", *bridge)
        self._peers: list[Node] = [self.redis, self.broker, self.mailbox, self.edge]
        for peer in self._peers:
            peer.start()
            self._stack.callback(peer.kill)
        self.gateways = [self._gateway(number) for number in range(1, self._given.hosts + 1)]
        for gateway in self.gateways:
            gateway.start()
            self._stack.callback(gateway.kill)
        self._expect(lambda: all(each.ready() for each in self.gateways), "all gateways are ready")
        self._load()

    def _gateway(self, number: int) -> Gateway:
        name = f"host{number}"
        settings = {
            "CLUSTER_BOOK": str(self._book),
            "CLUSTER_STORE": f"sqlite:{self._folder}/gateway.db",
            "CLUSTER_LAYER": "memory",
            "CLUSTER_BROKER": self.broker.url,
            "CLUSTER_MAILBOX": self.mailbox.host.address,
            "CLUSTER_MAILBOX_PORT": str(self.mailbox.port),
        }
        return Gateway(self._network.host(name), self._folder / name, **settings)

    def _load(self) -> None:
        addresses = [gateway.host.address for gateway in self.gateways]
        first = count()

        def turns() -> load.Turns:
            return load.Turns(addresses, next(first))

        self.senders: list[load.Timed] = []
        self.devices: list[load.Device] = []

        def sends(prefix: str, send: Callable[[str], bool]) -> None:
            self.senders.append(load.Timed(prefix, send))

        def device(prefix: str, host: str, topic: str, qos: int) -> None:
            each = load.Device(prefix, host, topic=topic, qos=qos)
            self.devices.append(each)
            sends(prefix, each.send)

        for number in range(2):
            sends(f"sms{number}", load.text(turns()))
            sends(f"smtp{number}", load.mail(turns(), "kept@example.org"))
            sends(f"inbox{number}", load.mail(turns(), "inbox@example.org"))
        sends("http", load.request(turns(), "order"))
        sends("say", load.request(turns(), "say"))
        sends("imap", load.append(self.mailbox.host.address, self.mailbox.port))
        device("qos1", self.broker.host.address, "plant/1/kept", 1)
        device("qos2", self.broker.host.address, "plant/2/kept", 2)
        device("direct", self.broker.host.address, "plant/1/direct", 1)
        device("edge", self.edge.host.address, "plant/3/kept", 2)
        self.listener = load.Device("listener", self.broker.host.address, subscribe="out/#")
        self.pages = [load.Visitor(address) for address in addresses]
        for thread in (*self.pages, *self.senders):
            thread.start()

    def _plan(self) -> Plan:
        nodes = [*self.gateways, *self._peers]
        chosen = [node for node in nodes if not self._given.only or node.name in self._given.only]
        return Plan(self._network, chosen, self._given.seed, self._given.kinds, self._given.pause, self._given.every)

    # The verdict.

    def _expect(self, look: Callable[[], object], what: str, seconds: float = SETTLED) -> None:
        until(look, lambda: f"{what}\n{self._standing()}", seconds)

    def _standing(self) -> str:
        """How things stand."""
        return ", ".join(f"{sender.prefix}: {len(sender.acknowledged)}" for sender in self.senders)

    def _all_get_on(self) -> bool:
        return all(len(sender.acknowledged) > 3 for sender in self.senders)

    def _end(self, faults: list[Fault]) -> None:
        healed = time.monotonic()
        self._check(lambda: all(s.times and s.times[-1] > healed for s in self.senders), lambda: f"answered again: {[s.prefix for s in self.senders if s.times[-1] < healed]}")
        for sender in self.senders:
            sender.stopping.set()
        for sender in self.senders:
            sender.join(SETTLED)
            if sender.is_alive():
                self._failures.append(f"{sender.prefix} gets no answer")
        handled = [sender for sender in self.senders if sender.prefix != "say"]
        self._check(lambda: not oracle.missing(self._read(), handled), lambda: f"lost: {sorted(oracle.missing(self._read(), handled))[:20]}")
        told = [sender for sender in self.senders if sender.prefix.startswith(("http", "sms"))]
        self._check(lambda: {w for s in told for w in s.acknowledged} <= set(self.listener.heard), lambda: f"not published: {sorted({w for s in told for w in s.acknowledged} - set(self.listener.heard))[:20]}")
        self._check(lambda: self.mailbox.left() == 0, lambda: f"{self.mailbox.left()} mails are left")
        self._failures += oracle.doubled(self._read(), self.senders, faults)[:20]
        self._leave()
        self._report(faults)

    def _check(self, look: Callable[[], bool], what: Callable[[], str]) -> None:
        deadline = time.monotonic() + SETTLED
        while not look():
            if time.monotonic() > deadline:
                self._failures.append(what())
                return
            time.sleep(0.1)

    def _leave(self) -> None:
        for device in (*self.devices, self.listener):
            device.close()
        for page in self.pages:
            page.stopping.set()
        codes = {gateway.name: gateway.stop() for gateway in self.gateways}
        if any(codes.values()):
            self._failures.append(f"exit codes: {codes}")
        for gateway in self.gateways:
            if "Traceback" in gateway.log():
                self._failures.append(f"{gateway.name} has a traceback in its log")

    def _read(self) -> oracle.Book:
        return oracle.Book.read(self._book)

    def _report(self, faults: list[Fault]) -> None:
        print("; ".join(map(str, faults)))
        for sender in self.senders:
            print(f"{sender.prefix:8} {len(sender.acknowledged):5} acknowledged, longest gap {sender.longest_gap():5.1f} s")
        print(f"{oracle.again(self._read())} handled again under the same event id")
        said = next(sender for sender in self.senders if sender.prefix == "say")
        for page in self.pages:
            lost = [what for what in said.acknowledged if what not in page.heard]
            print(f"page at {page.host}: {len(page.heard)} heard, {len(lost)} not, opened {len(page.opened)} times")
