"""Whether the server's own users and rules let a client in; the application decides after that."""

import asyncio

from protocols.mqtt.connection.context import ServerContext
from protocols.mqtt.connection.handshake import Handshake
from protocols.mqtt.wire import reasons
from protocols.net.endpoints import host_port


class NotAdmitted(Exception):
    """The client is refused with this reason code. The text is for the log."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


async def authenticate(server: ServerContext, transport: asyncio.Transport, handshake: Handshake) -> str | None:
    """Return the user name that its password or certificate proves. Raises NotAdmitted."""
    connect = handshake.connect
    tls, client = transport.get_extra_info("ssl_object"), host_port(transport.get_extra_info("peername"))
    certificate = tls.getpeercert() if tls is not None else None
    host = client[0] if client is not None else ""
    while True:
        access = server.access
        verdict = await access.authenticate(connect.username, connect.password, certificate, host)
        if access is server.access:  # else users have changed meanwhile
            break
    if verdict.reason_code:
        raise NotAdmitted(verdict.reason_code, "not known by its user name and password, or certificate")
    return verdict.username


def authorize(server: ServerContext, handshake: Handshake, username: str | None) -> None:
    """Note who the client is and what it may do. Raises NotAdmitted."""
    client_id = handshake.connect.client_id
    handshake.user = username
    handshake.rules = server.access.rules_for(client_id, username)
    if not server.broker.belongs_to(client_id, username):
        raise NotAdmitted(reasons.CLIENT_ID_INVALID, "its client identifier has another user's session")
    if not handshake.may_have_will():
        raise NotAdmitted(reasons.NOT_AUTHORIZED, "its will's topic is not allowed to it")
