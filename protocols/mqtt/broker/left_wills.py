"""Wills of clients that the server itself has disconnected, because another server takes its place. Pure.

3.1.2.5: "In the case of a Server shutdown or failure, the Server MAY defer publication of Will Messages until a
subsequent restart". A client that connects again in time has not gone.
"""

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from protocols.mqtt.broker import record
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.timers import Timers


class LeftWill(NamedTuple):
    """A will that waits for its client to come back."""

    message: ApplicationMessage
    absence: float
    """Seconds that the client has. They begin again when a server restores the will: no client could connect before."""
    user: str | None
    """The client's user name, if it has one."""


class LeftWills:
    """One for each client. ``publish`` gets the client identifier and the message when the time is over."""

    def __init__(
        self,
        timers: Timers,
        journal: Journal | None,
        clock: Callable[[], float],
        publish: Callable[[str, ApplicationMessage], None],
    ) -> None:
        self._wills: dict[str, LeftWill] = {}
        self._timers = timers
        self._journal = journal
        self._clock = clock
        self._publish = publish

    def __len__(self) -> int:
        return len(self._wills)

    def leave(self, client_id: str, will: LeftWill) -> None:
        """Keep the will of a client that may come back."""
        self.restore(client_id, will)
        self._keep(client_id, record.left_will(*will))

    def restore(self, client_id: str, will: LeftWill) -> None:
        """Take over what a predecessor or a journal had."""
        self._wills[client_id] = will
        self._timers.at(self._clock() + will.absence, _key(client_id), lambda: self.publish(client_id))

    def returned(self, client_id: str, user: str | None) -> None:
        """Forget the will, because its client is back; publish it if the user is another one, and so the client."""
        will = self._wills.get(client_id)
        if will is not None and will.user == user:
            self.forget(client_id)
        else:
            self.publish(client_id)

    def publish(self, client_id: str) -> None:
        """Publish the will now, if there is one: its client has gone."""
        if (will := self.forget(client_id)) is not None:
            self._publish(client_id, will.message)

    def forget(self, client_id: str) -> LeftWill | None:
        """Remove the will, and return it."""
        will = self._wills.pop(client_id, None)
        if will is not None:
            self._timers.cancel(_key(client_id))
            self._keep(client_id, None)
        return will

    def items(self) -> list[tuple[str, LeftWill]]:
        """Return the client identifiers and their wills, as they are now."""
        return list(self._wills.items())

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield a record of each."""
        for client_id, will in self._wills.items():
            yield record.left_will_key(client_id), record.left_will(*will)

    def _keep(self, client_id: str, value: bytes | None) -> None:
        if self._journal is not None:
            self._journal.put(record.left_will_key(client_id), value)


def _key(client_id: str) -> Hashable:
    return "left will", client_id
