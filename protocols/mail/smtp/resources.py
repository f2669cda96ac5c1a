"""Connections as an operator sees them."""

from collections.abc import Iterable, Iterator
from typing import Any

from protocols.mail.smtp.session import SMTPSession
from protocols.resources import Resource, client_facts


class SessionResource(Resource):
    """A connection of a mail server, or of a client that sends mail."""

    __slots__ = ("_session",)

    def __init__(self, session: SMTPSession) -> None:
        self._session = session

    @property
    def key(self) -> float:
        return self._session.since

    def facts(self) -> dict[str, Any]:
        session = self._session
        return client_facts(
            since=session.since,
            protocol=session.settings.protocol,
            address=session.client,
            user=session.user,
            client_id=session.greeted_as(),
            doing=session.doing(),
        )

    def details(self, content: int) -> dict[str, Any]:
        return {**self.facts(), "tls": self._session.encrypted(), "messages_received": self._session.messages}

    def remove(self, *, with_will: bool = True) -> None:
        self._session.end_soon()


def clients(sessions: Iterable[SMTPSession]) -> Iterator[Resource]:
    """Yield the connections that there are now."""
    return map(SessionResource, list(sessions))
