"""One trial: a cluster, its load, its faults, and the verdict."""

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from cluster import oracle
from cluster.balancer import balancer
from cluster.effects import Effects, not_once
from cluster.faults import Fault, Plan
from cluster.load import Clients
from cluster.network import Network
from cluster.nodes import MQTT, Broker, Database, Gateway, Mailbox, Node, Redis

N = TypeVar("N", bound=Node)
KINDS = ("kill", "worker", "restart", "pause", "cut")
SETTLED = 60.0
"""Seconds within which all that was acknowledged is handled, when nothing fails any more and the store is empty."""
LONGEST = 240.0
"""Seconds for which something may wait in the store or in the mailbox. What has failed often waits for its next
attempt. A Dovecot that is killed leaves a lock file, which the next one respects for 120 s."""
HANDLED = ("http", "sms", "smtp", "inbox", "imap", "qos", "direct", "edge", "own", "atomic")


class Cluster:
    """The nodes, each on a host of its own."""

    def __init__(self, folder: Path, number: int, store: str, stack: ExitStack) -> None:
        self.network = Network()
        self.book = folder / "book"
        self._folder, self._stack = folder, stack
        self.database = self._node(Database, "database") if store == "postgresql" else None
        url = f"sqlite:{folder}/gateway.db" if self.database is None else self.database.url
        self.effects = Effects(url)
        self.redis = self._node(Redis, "redis")
        self.broker = self._node(Broker, "broker")
        # Not at QoS 2: killed within its handshake, the two Mosquittos of 2.0.11 refuse each other for ever.
        bridge = ("connection up", f"address {self.broker.host.address}:{MQTT}", "topic plant/# out 1")
        self.edge = self._node(partial(Broker, lines=(*bridge, "cleansession false", "restart_timeout 1")), "edge")
        self.mailbox = self._node(Mailbox, "mailbox")
        self.gateways: list[Gateway] = []
        self._start(self.nodes)
        settings = {
            "CLUSTER_BOOK": str(self.book),
            "CLUSTER_STORE": url,
            "CLUSTER_LAYER": self.redis.url,
            "CLUSTER_INSERT": self.effects.insert,
            "CLUSTER_BROKER": self.broker.url,
            "CLUSTER_MAILBOX": self.mailbox.host.address,
            "CLUSTER_MAILBOX_PORT": str(self.mailbox.port),
        }
        self.gateways = [self._node(partial(Gateway, **settings), f"host{each + 1}") for each in range(number)]
        self._start(self.gateways)

    def _node(self, make: Callable[..., N], name: str) -> N:
        return make(self.network.host(name), self._folder / name)

    def _start(self, nodes: Sequence[Node]) -> None:
        """Start them together."""

        def start(node: Node) -> None:
            node.start()
            self._stack.callback(node.kill)

        with ThreadPoolExecutor() as threads:
            list(threads.map(start, nodes))

    @property
    def nodes(self) -> list[Node]:
        databases = [self.database] if self.database else []
        return [*self.gateways, *databases, self.redis, self.broker, self.edge, self.mailbox]


class Trial:
    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._folder, self._given = folder, given
        self._failures: list[str] = []
        self._faults: list[Fault] = []
        self._ended: list[str] = []
        self.report: list[str] = []

    def run(self) -> list[str]:
        """Return what went wrong. ``report`` says how it went."""
        with ExitStack() as stack:
            self._cluster = Cluster(self._folder, self._given.hosts, self._given.store, stack)
            stack.enter_context(self._supervised())
            self._expect(lambda: all(each.ready() for each in self._cluster.gateways), lambda: "not ready")
            self._cluster.effects.make()
            stack.enter_context(balancer([gateway.host.address for gateway in self._cluster.gateways]))
            self._clients = self._begin()
            stack.callback(self._clients.close)
            self._fail()
            self._settle()
            self._judge()
            recoveries = [
                f"{fault}: all are answered again after {self._recovered(fault):.1f} s" for fault in self._faults
            ]
            self.report = [*recoveries, *self._ended, *self._figures()]
        return self._failures

    @contextmanager
    def _supervised(self) -> Iterator[None]:
        """Start gateways again that end by themselves: one that starts while the database is away does."""
        over = threading.Event()

        def supervise() -> None:
            while not over.wait(1.0):
                self._ended.extend(filter(None, [each.supervise() for each in self._cluster.gateways]))

        thread = threading.Thread(target=supervise, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _expect(
        self, look: Callable[[], object], what: Callable[[], str], backlog: Callable[[], object] = lambda: 0
    ) -> None:
        """Wait until ``look`` returns something true; after a time without a ``backlog``, ``what`` is a failure."""
        began = idle = time.monotonic()
        while not look():
            if backlog() and time.monotonic() < began + LONGEST:
                idle = time.monotonic()
            elif time.monotonic() > idle + SETTLED:
                self._failures.append(what())
                return
            time.sleep(0.1)

    def _begin(self) -> Clients:
        cluster = self._cluster
        hosts = [gateway.host.address for gateway in cluster.gateways]
        mailbox = (cluster.mailbox.host.address, cluster.mailbox.port)
        return Clients(
            hosts,
            mailbox,
            cluster.broker.host.address,
            cluster.edge.host.address,
            cluster.network.clients.address,
            self._given.rest,
        )

    def _fail(self) -> None:
        """Let things fail, once each client has had answers."""
        given = self._given
        self._expect(lambda: not self._clients.silent(), lambda: f"not answered: {self._clients.silent()}")
        nodes = [node for node in self._cluster.nodes if not given.only or node.name in given.only]
        plan = Plan(self._cluster.network, nodes, given.seed, given.kinds, given.pause, given.every)
        self._faults = plan.done
        plan.run(given.seconds)

    def _settle(self) -> None:
        """Nothing fails any more: all is answered, handled and published."""
        clients, mended = self._clients, time.monotonic()
        self._expect(lambda: not clients.silent(mended), lambda: f"not answered again: {clients.silent(mended)}")
        self._expect(lambda: not clients.deaf(mended), lambda: f"pages hear nothing new: {clients.deaf(mended)}")
        if unanswered := clients.finish(SETTLED):
            self._failures.append(f"no answer to the last message of {unanswered}")
        self._end(self._missing, "acknowledged and not handled")
        self._end(self._unpublished, "handled and not published")
        self._end(self._untold, "handled and not told")
        self._end(self._backlog, f"in the store at {time.time():.0f}")
        self._ended.append(f"the store was empty {time.monotonic() - mended:.0f} s after the last fault")
        left = self._cluster.mailbox.left
        self._expect(lambda: not left(), lambda: "mails are left", left)

    def _end(self, look: Callable[[], Sequence[str]], what: str) -> None:
        """Wait until ``look`` finds nothing that is left."""
        self._expect(lambda: not look(), lambda: f"{what}: {_some(look())}", self._waiting)

    def _waiting(self) -> object:
        """What waits where it is not lost."""
        return self._cluster.effects.backlog() or self._cluster.mailbox.left()

    def _backlog(self) -> list[str]:
        """What still waits: a handler that has run may not have been committed."""
        return [str(each) for each in self._cluster.effects.backlog()]

    def _missing(self) -> list[str]:
        return sorted(self._unhandled() - self._forgotten())

    def _unhandled(self) -> set[str]:
        return self._clients.acknowledged(*HANDLED) - self._book().handled()

    def _forgotten(self) -> set[str]:
        unhandled = self._unhandled()
        missing = [(what, moment) for what, moment in self._clients.moments() if what in unhandled]
        return oracle.forgotten(missing, self._faults, self._mosquitto())

    def _mosquitto(self) -> oracle.Broker:
        return oracle.Broker(self._cluster.broker.log())

    def _unpublished(self) -> list[str]:
        """What a Mosquitto that was killed may have lost of it is left out, as a number: it has no names for them."""
        acknowledged = self._clients.acknowledged("http", "sms", "atomic0", "atomic1")
        missing = sorted(acknowledged - set(self._clients.listener.heard))
        return missing if len(missing) > self._mosquitto().forgotten("out/") else []

    def _untold(self) -> list[str]:
        return sorted(self._clients.acknowledged("own") - set(self._clients.told.heard))

    def _book(self) -> oracle.Book:
        return oracle.Book.read(self._cluster.book)

    def _judge(self) -> None:
        self._failures += oracle.doubled(self._book(), self._clients.copies(), self._faults, self._mosquitto())[:20]
        acknowledged = self._clients.acknowledged("atomic") - self._forgotten()
        self._failures += not_once(self._cluster.effects.rows(), acknowledged)[:20]
        self._ended += [f"a dead letter: {each}" for each in self._cluster.effects.dead()]
        for client, number in self._mosquitto().unanswered().items():
            self._ended.append(f"Mosquitto waits for {number} acknowledgements of {client}")
        for (client, code), number in self._mosquitto().refused.items():
            self._ended.append(f"Mosquitto acknowledged {number} messages of {client} with reason code {code}")
        for gateway in self._cluster.gateways:
            if code := gateway.stop():
                self._failures.append(f"{gateway.name} ended with {code}")
            if "Traceback" in gateway.log():
                self._failures.append(f"{gateway.name} has a traceback in its log")

    def _recovered(self, fault: Fault) -> float:
        """Seconds from the beginning of a fault until each client has had an answer."""
        firsts = (next((each for each in sender.times if each > fault.began), 0.0) for sender in self._clients.senders)
        return max(firsts) - fault.began

    def _figures(self) -> Iterator[str]:
        for sender in self._clients.senders:
            name, count, gap = sender.prefix, len(sender.acknowledged), sender.longest_gap()
            yield f"{name:8} {count:5} acknowledged, the longest time without an answer {gap:4.1f} s"
        yield f"{oracle.again(self._book())} handled again under the same event id"
        without = sum(gap.joined - gap.started for gap in self._mosquitto().gaps[1:])
        alone = f"it had no member of a shared subscription for {without:.0f} s"
        yield f"{self._mosquitto().sent_anew} sent again at QoS 2 by a Mosquitto that had released them"
        yield f"{len(self._forgotten())} forgotten by a Mosquitto that was killed or restarted; {alone}"
        said = self._clients.acknowledged("say")
        for page in self._clients.pages:
            not_heard = f"{len(said - page.heard.keys())} of {len(said)} not heard"
            yield f"page at {page.host}: opened {len(page.opened)} times, {not_heard}"


def _some(found: Sequence[str]) -> str:
    """Return how many there are, of each sender too, and the first ten."""
    senders = Counter(each.rpartition("-")[0] for each in found if " " not in each)
    return f"{len(found)} {dict(senders)}: {', '.join(found[:10])}"
