"""How many texts leave in a second: for an account, and for each sender number. Pure."""

from collections import OrderedDict


class Rate:
    """The generic cell rate algorithm: ``rate`` in a second, of which a second's worth may leave at once."""

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._burst = max(1.0, rate) * self._interval
        self._next = 0.0

    def slot(self, now: float) -> float:
        """Return the time from which the next one may leave; ``now`` if it may leave at once."""
        return max(now, self._next + self._interval - self._burst)

    def take(self, now: float) -> None:
        """One leaves at its :meth:`slot`."""
        self._next = max(now, self._next) + self._interval


class Rates:
    """The rate of an account, and one for each of the numbers that it sends from."""

    most_senders = 1000
    """Numbers that are remembered; the one that has sent nothing for the longest time goes first."""

    def __init__(self, rate: float, sender_rate: float) -> None:
        self._account = Rate(rate)
        self._sender_rate = sender_rate
        self._senders: OrderedDict[str, Rate] = OrderedDict()

    def slot(self, sender: str, now: float) -> float:
        """Return the time from which a text from ``sender`` may leave."""
        return max(self._account.slot(now), self._of(sender).slot(now))

    def take(self, sender: str, now: float) -> None:
        """A text from ``sender`` leaves at its :meth:`slot`."""
        self._account.take(now)
        self._of(sender).take(now)

    def _of(self, sender: str) -> Rate:
        found = self._senders.pop(sender, None) or Rate(self._sender_rate)
        self._senders[sender] = found
        if len(self._senders) > self.most_senders:
            self._senders.popitem(last=False)
        return found
