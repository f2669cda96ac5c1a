"""The verdict on a message, accepted, rejected or deferred: one for all of its recipients, or one for each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocols.errors import LocalProtocolError, OutOfOrder
from protocols.events import Event


@dataclass(frozen=True, slots=True)
class Accept:
    """The handler has finished, and is responsible for the message now."""

    failed: bool = False
    """Whether the message is not handled and is kept elsewhere: its attempts are used up, and it is a dead letter."""

    def __str__(self) -> str:
        return "failed, kept as a dead letter" if self.failed else "accepted"


@dataclass(frozen=True, slots=True)
class Reject:
    """The handler does not want the message, now or later."""

    code: int = 550
    """An SMTP reply code, 500 to 599."""
    reason: str = "Message rejected"

    def __str__(self) -> str:
        return f"rejected, {self.code}"


@dataclass(frozen=True, slots=True)
class Defer:
    """The sender, or the reader of the mailbox, keeps the message and tries again later."""

    reason: str = "Temporary failure, please try again later"
    retry_after: float | None = None
    """Seconds that the handler asked for. A mailbox reader waits for them; SMTP has no way to say them."""

    def __str__(self) -> str:
        return "deferred"


Verdict = Accept | Reject | Defer

ACCEPTED: Event = {"type": "email.accept"}
DEFERRED: Event = {"type": "email.defer"}


def verdict_of(event: Event) -> Verdict:
    """Return the verdict of a checked event."""
    match event["type"]:
        case "email.reject":
            return Reject(event["code"], event["reason"] or Reject().reason)
        case "email.defer":
            return Defer(event.get("reason") or Defer().reason, event.get("retry_after"))
        case _:
            return Accept(event.get("failed", False))


def combined(events: Iterable[Event]) -> Event:
    """Return the one answer to a sender that gets no answer for each recipient.

    The message is deferred if it is for one recipient, for the shortest of the times that were asked for; it is
    rejected if every recipient rejects it; it has failed if it has for one recipient.
    """
    verdicts = sorted(events, key=lambda verdict: not verdict.get("failed"))
    by_type = {verdict["type"]: verdict for verdict in reversed(verdicts)}
    wishes = [verdict["retry_after"] for verdict in verdicts if "retry_after" in verdict]
    if "email.defer" in by_type and wishes:
        return {**by_type["email.defer"], "retry_after": min(wishes)}
    for kind in ("email.defer", "email.accept", "email.reject"):
        if kind in by_type:
            return by_type[kind]
    return ACCEPTED


class Verdicts:
    """The verdict events of one run over a message for ``recipients``.

    An event with ``rcpt_to`` is for those recipients. It stands, whatever becomes of the run. An event without is for
    all recipients that have none yet, and only counts if the run ends well. Without any, the message is accepted.
    """

    __slots__ = ("_each", "_recipients", "_rest")

    def __init__(self, recipients: Sequence[str]) -> None:
        self._recipients = recipients
        self._each: dict[str, Event] = {}
        self._rest: Event | None = None

    def add(self, event: Event) -> None:
        """Take a checked event. Raises LocalProtocolError if its recipients are not ours, or have a verdict."""
        named = event.get("rcpt_to")
        if self._rest is not None or (named is None and self._each and self._each.keys() >= set(self._recipients)):
            said = f"{event['type']!r} may not be sent now: there is a verdict for every recipient"
            raise OutOfOrder(said, "decided")
        if named is None:
            self._rest = event
            return
        if strangers := [each for each in named if each not in self._recipients]:
            raise LocalProtocolError(f"{event['type']}: rcpt_to has {len(strangers)} that the scope's rcpt_to has not")
        if twice := [each for each in named if each in self._each]:
            raise LocalProtocolError(f"{event['type']}: there is a verdict for {len(twice)} of its rcpt_to already")
        verdict = {key: value for key, value in event.items() if key != "rcpt_to"}
        self._each.update(dict.fromkeys(named, verdict))

    def fail(self) -> None:
        """Defer every recipient without a verdict of its own, because the run did not end well."""
        self._rest = DEFERRED

    def event_for(self, recipient: str) -> Event:
        """Return the verdict event for one recipient."""
        return self._each.get(recipient) or self._rest or ACCEPTED

    def of(self, recipient: str) -> Verdict:
        """Return the verdict for one recipient."""
        return verdict_of(self.event_for(recipient))

    @property
    def combined_event(self) -> Event:
        """The one event for a sender that gets no answer for each recipient."""
        if not self._each:
            return self._rest or ACCEPTED
        return combined(map(self.event_for, self._recipients))

    @property
    def combined(self) -> Verdict:
        return verdict_of(self.combined_event)

    @property
    def differ(self) -> bool:
        """Whether recipients have verdicts of their own."""
        return bool(self._each)

    def groups(self) -> Iterator[tuple[Event, list[str]]]:
        """Yield each verdict event with its recipients, in the order of the first of them."""
        found: dict[int, tuple[Event, list[str]]] = {}
        for recipient in self._recipients:
            event = self.event_for(recipient)
            found.setdefault(id(event), (event, []))[1].append(recipient)
        yield from found.values()

    def __str__(self) -> str:
        if not self._each:
            return str(self.combined)
        return ", ".join(f"{verdict_of(event)} for {' '.join(names)}" for event, names in self.groups())


def deferred(recipients: Sequence[str] = ()) -> Verdicts:
    """Return the verdicts of a run that came to nothing."""
    verdicts = Verdicts(recipients)
    verdicts.fail()
    return verdicts
