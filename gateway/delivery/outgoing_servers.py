"""The servers by which a gateway can send, and the choice among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.delivery.kind import kind_of_event
from gateway.delivery.outgoing import THROUGH
from protocols.events import Event, checked


@dataclass(frozen=True)
class OutgoingServers:
    """What the file says about sending, by scope type."""

    scopes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Scope type -> name of the server -> the keys of a scope that sending by this server needs."""
    lacking: Mapping[str, str]
    """Scope type -> what to write into the file so that it can be sent."""

    def addressed(self, event: Event, via: str) -> Event:
        """Return ``event`` as the outbox takes it from code that has no scope: checked, with the server that it leaves
        by.

        Raises LocalProtocolError if the event is not valid, ValueError if ``via`` names no server, RuntimeError if
        there is none, or several and ``via`` names none.
        """
        kind = kind_of_event(event)
        scope = self._scope(kind.name, via)
        return {**kind.complete(checked(kind.checks, event), scope), THROUGH: scope}

    def _scope(self, kind: str, via: str) -> Mapping[str, Any]:
        servers = self.scopes.get(kind, {})
        if not servers:
            lacking = self.lacking.get(kind, "nothing of this type is sent")
            raise RuntimeError(f"nothing in this gateway sends {kind}; {lacking}")
        if via in servers:
            return servers[via]
        names = ", ".join(filter(None, servers))
        if via:
            known = f"it is one of {names}" if names else "leave it out"
            raise ValueError(f"via={via!r} does not name a server that sends {kind}; {known}")
        if len(servers) > 1:
            raise RuntimeError(f"this gateway has several servers that send {kind}; write via= and one of {names}")
        return next(iter(servers.values()))
