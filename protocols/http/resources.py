"""Connections as an operator sees them."""

from collections.abc import Iterable, Iterator
from typing import Any

from protocols.http.service import OpenConnection
from protocols.resources import Resource, client_facts


class ConnectionResource(Resource):
    """A connection, whether a request or a WebSocket is on it or not."""

    __slots__ = ("_connection",)

    def __init__(self, connection: OpenConnection) -> None:
        self._connection = connection

    @property
    def key(self) -> float:
        return self._connection.since

    def facts(self) -> dict[str, Any]:
        connection = self._connection
        protocol, doing = connection.doing()
        facts = client_facts(
            since=connection.since,
            protocol=protocol,
            address=connection.client,
            user=None,
            client_id=None,
            doing=doing,
        )
        return facts | connection.counts()

    def details(self, content: int) -> dict[str, Any]:
        return {**self.facts(), "tls": self._connection.scheme == "https"}

    def remove(self, *, with_will: bool = True) -> None:
        self._connection.dismiss()


def clients(connections: Iterable[OpenConnection]) -> Iterator[Resource]:
    """Yield the connections that there are now."""
    return map(ConnectionResource, list(connections))
