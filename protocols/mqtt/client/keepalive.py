"""When a silent connection is probed, and when it is given up (3.1.2.10). Pure."""


class KeepAlive:
    """``interval`` seconds; 0 for never.

    Within it we have to send something ("the Client MUST send a PINGREQ packet" in the absence of anything else); a
    broker that has said nothing for twice as long, although it was asked, is gone.
    """

    __slots__ = ("_heard", "_pinged", "_sent", "interval")

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._sent = self._heard = now
        self._pinged = False

    def sent(self, now: float) -> None:
        self._sent = now

    def heard(self, now: float) -> None:
        self._heard = now
        self._pinged = False

    @property
    def due(self) -> float | None:
        """When to look again; None for never."""
        if not self.interval:
            return None
        probe = self._heard + self.interval * (2 if self._pinged else 1)
        return min(self._sent + self.interval, probe)

    def is_over(self, now: float) -> bool:
        return bool(self.interval) and now >= self._heard + 2 * self.interval

    def asks(self, now: float) -> bool:
        """Whether PINGREQ is due, which is sent then."""
        if self.due is None or now < self.due:
            return False
        self._pinged = True
        self._sent = now
        return True
