"""What fails, when, and for how long: drawn from a seed, and then done."""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cluster.network import Host, Network
from cluster.nodes import Gateway, Node


@dataclass
class Fault:
    """``began``, ``ended``: by the monotonic clock; the end is when the node was in order again."""

    kind: str
    node: str
    other: str = ""
    began: float = 0.0
    ended: float = 0.0

    def __str__(self) -> str:
        where = f"{self.node} and {self.other}" if self.other else self.node
        return f"{self.kind} {where} ({self.ended - self.began:.1f} s)"


@dataclass
class Plan:
    """``kinds``: the names of the faults that are drawn. ``pause``: seconds that a node sleeps, at most."""

    network: Network
    nodes: Sequence[Node]
    seed: int
    kinds: Sequence[str]
    pause: float = 6.0
    every: float = 2.0
    done: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._heals: list[tuple[float, int, Fault, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ill: set[str] = set()
        self._deck = self._shuffled()

    def run(self, seconds: float) -> None:
        """Let things fail for ``seconds``, and until each kind has come; then bring all of it in order."""
        end = time.monotonic() + seconds
        first = len(self._deck)
        for number in itertools.count():
            if number >= first and time.monotonic() > end:
                break
            self._one()
            self._heal(time.monotonic() + self.every * (0.5 + self._chance.random()))
        while self._heals:
            self._heal(self._heals[0][0])

    def _one(self) -> None:
        """Let one node fail, if one is well: each kind comes before any comes again, at a gateway and at another."""
        self._deck = self._deck or self._shuffled()
        kind, of_gateway = self._deck.pop()
        well = [node for node in self.nodes if node.name not in self._ill]
        if chosen := [node for node in well if isinstance(node, Gateway) is of_gateway]:
            getattr(self, f"_{kind}")(self._chance.choice(chosen))

    def _shuffled(self) -> list[tuple[str, bool]]:
        """Each kind, and whether it is a gateway that fails. Other nodes have no workers."""
        deck = [(kind, of_gateway) for kind in self.kinds for of_gateway in (True, False)]
        deck = [each for each in deck if each != ("worker", False)]
        self._chance.shuffle(deck)
        return deck

    def _heal(self, until: float) -> None:
        """Wait until then, and heal what is due meanwhile."""
        while self._heals and self._heals[0][0] <= until:
            due, _, fault, heal = heapq.heappop(self._heals)
            time.sleep(max(0.0, due - time.monotonic()))
            heal()
            fault.ended = time.monotonic()
            self._ill.discard(fault.node)
        time.sleep(max(0.0, until - time.monotonic()))

    def _begin(self, kind: str, node: Node, seconds: float, heal: Callable[[], None], other: str = "") -> None:
        fault = Fault(kind, node.name, other, time.monotonic())
        self.done.append(fault)
        self._ill.add(node.name)
        heapq.heappush(self._heals, (time.monotonic() + seconds, next(self._order), fault, heal))

    def _kill(self, node: Node) -> None:
        node.kill()
        self._begin("kill -9", node, self._chance.random(), node.start)

    def _worker(self, node: Node) -> None:
        """kill -9 of one process of several."""
        assert isinstance(node, Gateway)
        if worker := node.kill_worker(self._chance):
            self._begin("kill -9 a worker of", node, 1.0, lambda: None, worker)

    def _restart(self, node: Node) -> None:
        self._begin("restart", node, 0.0, node.restart)

    def _pause(self, node: Node) -> None:
        node.pause()
        self._begin("pause", node, self.pause * (0.3 + 0.7 * self._chance.random()), node.resume)

    def _cut(self, node: Node) -> None:
        """From one other node, or from all and the clients."""
        others = [each for each in self._hosts() if each is not node.host]
        chosen = [self._chance.choice(others)] if self._chance.random() < 0.7 else others
        for other in chosen:
            self.network.cut(node.host, other)
        name = chosen[0].name if len(chosen) == 1 else "all"

        def mend() -> None:
            for other in chosen:
                self.network.mend(node.host, other)

        self._begin("cut", node, self.pause * (0.3 + 0.7 * self._chance.random()), mend, name)

    def _hosts(self) -> Iterator[Host]:
        yield self.network.clients
        yield from (node.host for node in self.nodes)
