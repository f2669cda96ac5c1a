"""`gateway send email`: one message, as another mail server delivers it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import Annotated, Any

import aiosmtplib
import typer

from gateway.scopes.sending import TIMEOUT, Peer, Sent, ServerOption, dial, find, refused, taken
from protocols.units import Unix


@dataclass(frozen=True)
class Email:
    """Delivers one message, as another mail server would."""

    recipient: str
    text: str
    sender: str = "ann@example.net"
    subject: str = "Hello"
    server: str | None = None

    def message(self) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.recipient, self.subject
        message["Date"], message["Message-ID"] = format_datetime(localtime()), make_msgid(domain="gateway.invalid")
        message.set_content(self.text)
        return message

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("smtp",), self.server))

    async def send(self, peer: Peer) -> Sent:
        sent = await self._delivered(peer)
        return replace(sent, arrives_as={"event": "email.receive", "who": self.sender, "what": self.recipient})

    async def _delivered(self, peer: Peer) -> Sent:
        message = self.message()
        async with aiosmtplib.SMTP(**_smtp_address(peer)) as session:
            try:
                _, answer = await session.send_message(message, sender=self.sender, recipients=[self.recipient])
            except aiosmtplib.SMTPRecipientsRefused as error:
                refusal = error.recipients[0]
                return refused(f"{refusal.code} {refusal.message}")
            except aiosmtplib.SMTPResponseException as error:
                return refused(f"{error.code} {error.message}")
        return taken(f"250 {answer}")


def _smtp_address(peer: Peer) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": TIMEOUT, "start_tls": False, "validate_certs": False}
    if peer.tls:
        options |= {"use_tls": peer.settings.implicit_tls, "start_tls": None}
    if isinstance(peer.endpoint, Unix):
        return options | {"socket_path": peer.endpoint.path}
    return options | {"hostname": peer.endpoint.host, "port": peer.endpoint.port}


def email(
    recipient: Annotated[str, typer.Argument()],
    text: Annotated[str, typer.Argument()] = "Hello",
    sender: Annotated[str, typer.Option("--from")] = "ann@example.net",
    subject: Annotated[str, typer.Option()] = "Hello",
    server: ServerOption = None,
) -> Email:
    """Deliver a message, as another mail server would.

    Example: gateway send email help@support.example.org 'It does not print' --subject Printer
    """
    return Email(recipient, text, sender, subject, server)
