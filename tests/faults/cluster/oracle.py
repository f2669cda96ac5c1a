"""What must be true after all that has failed: of the book that handlers write, and of what clients were answered."""

import itertools
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.faults import Fault

DEDUPLICATED = ("sms", "smtp", "inbox", "atomic0", "atomic1", "imap", "qos2", "own2")
"""Kinds of messages whose repetitions are recognized: docs/identity.md."""
MOSQUITTO = ("qos", "direct", "edge", "atomic-qos")
"""Kinds of messages that Mosquitto acknowledges to their sender."""
SLACK = 3.0
"""Seconds after a fault within which its consequences begin: a timeout runs out, a client connects again."""


FORGETS = 1.5
"""Seconds before a kill -9 of Mosquitto of which it may have forgotten what it had acknowledged: it writes its state
after it has answered, and not with each message."""


@dataclass
class Gap:
    """A start of a Mosquitto, by the monotonic clock, and what it may lose around it of what it acknowledges."""

    began: float
    """What it took from then on it may have forgotten, if it was killed."""
    started: float
    joined: float = math.inf
    """When a shared subscription had a member again: one of 2.0.11 that starts, also after an orderly stop, knows its
    members only when they have subscribed again. What comes before that goes nowhere."""


SECOND = 1.5
"""The log has the second in which a line was written; and a sender notes an acknowledgement a little later."""
_RELEASED = re.compile(r"Sending PUBREL to (\S+) \(m(\d+)\)")
_COMPLETED = re.compile(r"Received PUBCOMP from (\S+) \(Mid: (\d+)")
_SENT_AGAIN = re.compile(r"Sending PUBLISH to (\S+) \(d1, q2, r\d, m(\d+),")
_SENT = re.compile(r"Sending PUBLISH to (\S+) \(d\d, q[12], r\d, m(\d+),")
_ANSWERED = re.compile(r"Received (?:PUBACK|PUBCOMP) from (\S+) \(Mid: (\d+)")
_REFUSED = re.compile(r"Sending (?:PUBACK|PUBREC) to (\S+) \(m\d+, rc([1-9]\d*)\)")
_TAKEN = re.compile(r"Received PUBLISH from \S+ \(d\d, q\d, r\d, m\d+, '([^']*)'")


class Broker:
    """What the log of a Mosquitto says."""

    def __init__(self, log: Iterable[str]) -> None:
        self.gaps: list[Gap] = []
        self._taken: list[tuple[float, str]] = []
        self.sent_anew = 0
        """Messages at QoS 2 whose PUBREL it had sent, and then PUBLISH again, which MQTT-4.3.3-6 forbids: 2.0.11 does
        so when two connections end before the PUBCOMP. Their receiver has to take each for another message."""
        self.refused = Counter[tuple[str, ...]]()
        """How many messages it has acknowledged with a reason code other than 0, by client and code: 16 says that there
        was no subscriber. A client of 3.1.1 is not told the code."""
        self._released: set[tuple[str, ...]] = set()
        self._sent: set[tuple[str, ...]] = set()
        ahead, last, orderly = time.time() - time.monotonic(), 0.0, True
        for line in log:
            stamp, _, said = line.partition(": ")
            moment = float(stamp) - ahead if stamp.isdecimal() else last
            if said.endswith(" terminating"):
                orderly = True
            elif said.endswith(" starting"):
                if self.gaps:  # one that had no member until now has ended
                    self.gaps[-1].joined = min(self.gaps[-1].joined, moment)
                self.gaps.append(Gap(moment if orderly else last - FORGETS, moment))
                self._sent.clear()  # what it still has it sends again
                orderly = False
            elif "$share/" in said and self.gaps and self.gaps[-1].joined == math.inf:
                self.gaps[-1].joined = moment + SECOND
            elif found := _TAKEN.match(said):
                self._taken.append((moment, found[1]))
            else:
                self._follow(said)
            last = moment

    def _follow(self, said: str) -> None:
        """Follow the messages that it sends at QoS 1 and 2."""
        if found := _SENT.match(said):
            self._sent.add(found.groups())
        elif found := _ANSWERED.match(said):
            self._sent.discard(found.groups())
        elif found := _REFUSED.match(said):
            self.refused[found.groups()] += 1
        if found := _RELEASED.match(said):
            self._released.add(found.groups())
        elif found := _COMPLETED.match(said):
            self._released.discard(found.groups())
        elif (found := _SENT_AGAIN.match(said)) and found.groups() in self._released:
            self._released.discard(found.groups())
            self.sent_anew += 1

    def unanswered(self) -> Counter[str]:
        """How many messages each client has got and not acknowledged."""
        return Counter(client for client, _ in self._sent)

    def may_lose(self, moment: float) -> bool:
        """Whether it may lose what it acknowledges then for a shared subscription."""
        return any(gap.began < moment < gap.joined for gap in self.gaps)

    def lost(self, topic: str) -> int:
        """How many messages to topics that begin so it may have lost that were for a shared subscription."""
        return sum(name.startswith(topic) and self.may_lose(moment) for moment, name in self._taken)

    def forgotten(self, topic: str) -> int:
        """The same, of those for a client of its own: what it knew when it was killed."""
        moments = [moment for moment, name in self._taken if name.startswith(topic)]
        return sum(any(gap.began < moment < gap.started for gap in self.gaps) for moment in moments)


@dataclass
class Run:
    """One run of a handler."""

    host: str
    event: str
    began: float
    ended: float = 0.0


@dataclass
class Book:
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, path: Path) -> "Book":
        book = cls()
        for line in path.read_text().splitlines() if path.exists() else ():
            moment, host, step, what, event = line.split()
            if step == "begin":
                book.runs[what].append(Run(host, event, float(moment)))
            else:
                running = [run for run in book.runs[what] if (run.host, run.event) == (host, event) and not run.ended]
                running[0].ended = float(moment)
        return book

    def handled(self) -> set[str]:
        return {what for what, runs in self.runs.items() if any(run.ended for run in runs)}


def doubled(book: Book, copies: Counter[str], faults: Sequence[Fault], broker: Broker) -> list[str]:
    """Runs that no guarantee allows: under another event id, or without a fault since the run before. ``copies``: how
    many messages there may be that say the same, where that is more than one."""
    found, anew = [], []
    for what, runs in book.runs.items():
        if not what.startswith(DEDUPLICATED):
            continue
        events = list(dict.fromkeys(run.event for run in runs))
        if len(events) > max(1, copies[what]) and not _excused(what, runs, faults):
            (anew if what.startswith("qos2") else found).append(f"{what}: {len(events)} event ids: {_story(runs)}")
        for earlier, later in itertools.pairwise(runs):
            if earlier.event == later.event and not any(_between(fault, earlier, later) for fault in faults):
                found.append(f"{what}: again, and nothing had failed: {_story(runs)}")
    return found + (anew if len(anew) > broker.sent_anew else [])


def _excused(what: str, runs: Sequence[Run], faults: Sequence[Fault]) -> bool:
    """Whether a message at QoS 2 came again because a Mosquitto had forgotten that it had it. Our own broker keeps that
    before it answers."""
    return what.startswith("qos2") and _forgot(faults, runs[0].began)


def forgotten(missing: Iterable[tuple[str, float]], faults: Sequence[Fault], broker: Broker) -> set[str]:
    """Return what a Mosquitto may have lost that was killed or restarted, of what is ``missing``: (what, when it was
    acknowledged)."""
    at_mosquitto = [(what, moment) for what, moment in missing if what.startswith(MOSQUITTO)]
    lost = {what for what, moment in at_mosquitto if _forgot(faults, moment) or broker.may_lose(moment)}
    # The other Mosquitto acknowledges first, and may send on much later.
    from_edge = {what for what, _ in at_mosquitto if what.startswith("edge")} - lost
    return lost | from_edge if len(from_edge) <= broker.lost("plant/3/") else lost


def _forgot(faults: Sequence[Fault], moment: float) -> bool:
    """Whether a Mosquitto was killed soon after."""
    kills = [each for each in faults if each.kind.startswith("kill -9") and each.node in ("broker", "edge")]
    return any(moment < fault.ended and fault.began - FORGETS < moment for fault in kills)


def _between(fault: Fault, earlier: Run, later: Run) -> bool:
    return fault.began < later.began and earlier.began < fault.ended + SLACK


def _story(runs: Iterable[Run]) -> str:
    return "; ".join(f"{run.host} {run.began:.2f}-{run.ended:.2f} {run.event}" for run in runs)


def again(book: Book) -> int:
    """How many runs ended of messages that had been handled already."""
    return sum(max(0, sum(bool(run.ended) for run in runs) - 1) for runs in book.runs.values())
