"""One message on its way in: its chunks, the memory that they take, and the time until which it must be complete."""

from collections import deque
from dataclasses import dataclass

from protocols.errors import RemoteProtocolError
from protocols.mail.smtp.data import Chunks
from protocols.net.byte_budget import Reservation

HELD = 2
"""How many times its size a complete message counts while it is handled: applications join its chunks."""


@dataclass(slots=True)
class Incoming:
    """:meth:`end` gives the memory back, when the message was handled, refused or given up."""

    chunks: Chunks
    reservation: Reservation
    deadline: float
    """In the loop's time."""

    def came(self) -> None:
        """Count what has come. If there is no memory for it, the message is discarded, also what is still to come."""
        if not self.reservation.resize(self.chunks.size):
            self.chunks.discard()

    @property
    def refused(self) -> bool:
        """Whether the message cannot be taken any more."""
        return self.reservation.refused or self.chunks.refusal is not None

    def check(self) -> None:
        """Raises RemoteProtocolError if the message cannot be taken any more."""
        if self.reservation.refused:
            raise RemoteProtocolError("4.3.1 Too much mail at one time, please try again later", answer=452)
        if self.chunks.refusal is not None:
            raise self.chunks.refusal

    def complete(self) -> deque[bytes]:
        """Return the chunks of the complete message. Raises RemoteProtocolError."""
        message = self.chunks.take()
        self.reservation.resize(self.chunks.size * HELD)
        self.check()
        return message

    def end(self) -> None:
        """Hold no memory. Idempotent."""
        self.chunks.discard()
        self.reservation.release()
