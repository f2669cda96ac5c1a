"""Our half of a session with a broker: what QoS 2 has to know of earlier connections (4.1, 4.3.3). Pure."""


class ClientSession:
    """Packet ids whose conversation is not over. It lives as long as the process, over all its connections."""

    def __init__(self) -> None:
        self.handled: dict[int, int] = {}
        """Messages that the application is done with, and the reason code for their PUBREC. Until its PUBREL the broker
        may send one again, which is no new message."""
        self.unreleased: set[int] = set()
        """Messages that we have begun to publish. Until its PUBCOMP the broker takes a message with the same id for the
        same message."""
        self._inherited: bool | None = None
        self._cleared: set[int] = set()

    def begin(self, present: bool) -> None:
        """CONNACK says whether the broker has kept our session (3.2.2.1.1)."""
        if not present:
            self.handled.clear()
            self.unreleased.clear()
        # One that is there at our first connection is an earlier process's, whose ids we do not know.
        self._inherited = present and self._inherited is not False

    def is_doubtful(self, id: int) -> bool:
        """Whether an earlier process may have left a message with this id unreleased."""
        return bool(self._inherited) and id not in self._cleared

    def clear(self, id: int) -> None:
        """The broker has said that it knows no message with this id."""
        self._cleared.add(id)
