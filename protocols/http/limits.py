"""The limits on how much peers may ask for: of a server, from one address, over one connection."""

import math
import time
from typing import NamedTuple, Self

from protocols.asgi import HostPort
from protocols.http.settings import HTTPSettings
from protocols.net.addresses import AddressRate, is_near

RETRY_AFTER = 1
"""Seconds after which a client may try again when a server has as many requests as it may have."""


class Excess(NamedTuple):
    """Why a request is one too many, and what its client is told."""

    status: int
    why: str
    retry_after: int
    """Seconds."""


class Limits:
    """The limits of one server that are set. What they count goes on when its settings change."""

    def __init__(self, settings: HTTPSettings) -> None:
        self._most = settings.max_concurrent_requests or math.inf
        self._rate = AddressRate(settings.max_request_rate)
        self._most_of_connection = settings.max_requests_per_connection or math.inf
        self._oldest = settings.max_connection_age or math.inf

    @classmethod
    def of(cls, settings: HTTPSettings) -> Self | None:
        """Return the limits in ``settings``; None if there are none, so that nothing is counted."""
        count = settings.max_concurrent_requests or settings.max_request_rate
        return cls(settings) if count or settings.max_requests_per_connection or settings.max_connection_age else None

    def become(self, made: Self) -> None:
        """Take over the limits of ``made``."""
        self._most, self._oldest = made._most, made._oldest
        self._most_of_connection, self._rate.limit = made._most_of_connection, made._rate.limit

    def excess(self, running: int, client: HostPort | None) -> Excess | None:
        """Count a request of ``client``, unless it is one too many: then return why. ``running``: requests that are
        handled now. This machine, and a peer on a Unix socket, may ask as often as they like."""
        if running >= self._most:
            return Excess(503, "the server has max_concurrent_requests requests", RETRY_AFTER)
        if client is None or is_near(client[0]) or self._rate.admit(client[0]):
            return None
        wait = math.ceil(self._rate.pause(client[0]))
        return Excess(429, f"more than max_request_rate requests a minute from {client[0]}", max(1, wait))

    def is_last(self, count: int, since: float) -> bool:
        """Whether a connection that began at ``since`` (Unix time) ends with its request number ``count``."""
        return count >= self._most_of_connection or time.time() - since >= self._oldest
