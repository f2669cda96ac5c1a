"""One message on its way in: its bytes, the memory that they take, and the time until which it must be complete."""

from dataclasses import dataclass

from protocols.errors import RemoteProtocolError
from protocols.mail.smtp.data import MessageBuffer
from protocols.net.byte_budget import Reservation


@dataclass(slots=True)
class Incoming:
    """:meth:`end` gives the memory back, when the message was handled, refused or given up."""

    buffer: MessageBuffer
    reservation: Reservation
    deadline: float
    """In the loop's time."""

    def came(self) -> None:
        """Count what has come. If there is no memory for it, the message is discarded, also what is still to come."""
        if not self.reservation.resize(self.buffer.size):
            self.buffer.discard()

    @property
    def refused(self) -> bool:
        """Whether the message cannot be taken any more."""
        return self.reservation.refused or self.buffer.refusal is not None

    def check(self) -> None:
        """Raises RemoteProtocolError if the message cannot be taken any more."""
        if self.reservation.refused:
            raise RemoteProtocolError("4.3.1 Too much mail at one time, please try again later", answer=452)
        if self.buffer.refusal is not None:
            raise self.buffer.refusal

    def complete(self) -> bytes:
        """Return the complete message. Raises RemoteProtocolError."""
        message = self.buffer.take()
        self.came()  # the end of the last line may have been missing
        self.check()
        return message

    def end(self) -> None:
        """Hold no memory. Idempotent."""
        self.buffer.discard()
        self.reservation.release()
