"""Connections as an operator sees them."""

from collections.abc import Iterable, Iterator
from typing import Any

from protocols.mqtt.broker.resources import receives, session_details, waiting
from protocols.mqtt.connection.client_connection import ClientConnection
from protocols.mqtt.connection.preconnect import Preconnect
from protocols.resources import Resource, client_facts

_NOTHING = {"subscriptions": 0, "queued": 0, "queued_bytes": 0, "inflight": 0}


class ClientResource(Resource):
    """A connection that has said CONNECT."""

    __slots__ = ("_client",)

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    @property
    def key(self) -> float:
        return self._client.since

    def facts(self) -> dict[str, Any]:
        client, session = self._client, self._client.session
        scope: Any = client.scope
        common = client_facts(
            since=client.since,
            protocol="mqtt",
            address=scope["client"],
            user=session.user if session is not None else None,
            client_id=client.client_id,
            doing=client.doing(),
        )
        return {**common, **(waiting(session) if session is not None else _NOTHING), **client.facts()}

    def details(self, content: int) -> dict[str, Any]:
        client, session = self._client, self._client.session
        scope: Any = client.scope
        said = {
            "version": scope["protocol_version"],
            "transport": scope["transport"],
            "tls": "tls" in scope["extensions"],
            "keepalive": client.keepalive(),
            "clean_start": scope["clean_start"],
            "session_present": scope["session_present"],
        }
        if session is None:
            return {**self.facts(), **said}
        return {**self.facts(), **said, "expiry": session.expiry, **session_details(session, content)}

    def receives(self, topic_filter: str) -> bool:
        session = self._client.session
        return session is not None and receives(session, topic_filter)

    def remove(self, *, with_will: bool = True) -> None:
        self._client.remove(with_will=with_will)


class PreconnectResource(Resource):
    """A connection that has not said CONNECT."""

    __slots__ = ("_preconnect",)

    def __init__(self, preconnect: Preconnect) -> None:
        self._preconnect = preconnect

    @property
    def key(self) -> float:
        return self._preconnect.since

    def facts(self) -> dict[str, Any]:
        here, doing = self._preconnect, "has not said CONNECT"
        return client_facts(
            since=here.since, protocol="mqtt", address=here.client, user=None, client_id=None, doing=doing
        )

    def remove(self, *, with_will: bool = True) -> None:
        self._preconnect.close()


def clients(connected: Iterable[ClientConnection], preconnects: Iterable[Preconnect]) -> Iterator[Resource]:
    """Yield the connections that there are now."""
    here, waiting_for_connect = list(connected), list(preconnects)
    yield from map(ClientResource, here)
    yield from map(PreconnectResource, waiting_for_connect)
