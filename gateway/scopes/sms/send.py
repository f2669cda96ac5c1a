"""`gateway send sms`: one text, as its provider posts it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from gateway.scopes.http.client import Client, answer_to, url_at
from gateway.scopes.sending import Peer, Sent, ServerOption, dial, find
from protocols.sms import TextMessage, provider_for


@dataclass(frozen=True)
class SMS:
    """Posts one text to the webhook, signed as its provider signs."""

    sender: str
    text: str
    recipient: str = "+15005550006"
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        _, settings = find(servers, ("sms",), self.server)
        return replace(dial(settings.on, servers[settings.on]), carried=settings)

    async def send(self, peer: Peer) -> Sent:
        settings = peer.carried
        url = url_at(peer, f"/{settings.path.lstrip('/')}")
        message = TextMessage(self.sender, self.recipient, f"gateway-send-{secrets.token_hex(8)}", self.text)
        request = provider_for(settings).sign(getattr(settings, "public_url", None) or url, message)
        async with Client(peer).session() as client:
            sent = await answer_to(client.request(request.method, url, data=request.body, headers=request.headers))
        return replace(sent, arrives_as={"event": "sms.receive", "who": self.sender, "what": self.recipient})


def sms(
    sender: Annotated[str, typer.Argument(help="Who texts, such as +447700900123.")],
    text: Annotated[str, typer.Argument()],
    recipient: Annotated[str, typer.Option("--to")] = "+15005550006",
    server: ServerOption = None,
) -> SMS:
    """Post a text to the webhook, signed with the configured secret as its provider signs.

    Example: gateway send sms +447700900123 'When do you open?'
    """
    return SMS(sender, text, recipient, server)
