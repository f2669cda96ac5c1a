"""What the helpers send. Each function here has the arguments and the documentation of a helper, in both its forms."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, Unpack

from gateway.consumers import arguments, message_arguments
from gateway.consumers.new_mail import MailArguments, new_mail
from gateway.event_sender import Sender
from gateway.layers import origins
from gateway.threads import run_in_thread
from protocols.events import Event
from protocols.mail.compose import Addresses
from protocols.sms.events import text_message
from protocols.sms.media_files import read_file

R_co = TypeVar("R_co", covariant=True)


class Message(Protocol[R_co]):
    """Something that is sent in one of two forms."""

    def send(self, sender: Sender) -> R_co:
        """Send it, and wait. Called from a thread without an event loop."""

    async def asend(self, sender: Sender) -> R_co:
        """Send it, on an event loop."""


@dataclass(frozen=True)
class EventMessage:
    """An event that leaves by a server."""

    write: Callable[[], Event]
    """Makes the event. This may read files, and render templates."""
    via: str
    is_quick: bool = True
    """Whether it is written on the event loop."""

    def send(self, sender: Sender) -> str:
        return sender.send(self.write(), via=self.via)

    async def asend(self, sender: Sender) -> str:
        event = self.write() if self.is_quick else await run_in_thread(self.write)
        return await sender.asend(event, via=self.via)


@dataclass(frozen=True)
class GroupMessage:
    """A message to a group of the channel layer."""

    group: str
    message: dict[str, Any]

    def send(self, sender: Sender) -> None:
        sender.wait_for(sender.group_send(self.group, self.message))

    async def asend(self, sender: Sender) -> None:
        await sender.group_send(self.group, self.message)


def publish(
    topic: str,
    payload: bytes | str,
    *,
    qos: int = 0,
    retain: bool = False,
    properties: Mapping[str, Any] | None = None,
    via: str = "",
) -> Message[str]:
    """Publish to the subscribers of our MQTT server, or to the broker of a client. Return the event id.

    Text becomes UTF-8; ``properties`` are MQTT 5's. ``via`` names the server, where the file has several for MQTT.
    """
    from protocols.mqtt.events import publication  # imports what MQTT is made of

    otherwise = ", such as str(value) or json.dumps(value)"
    data = message_arguments.publication("publish", topic, payload, qos, retain, properties, otherwise)
    return EventMessage(partial(publication, topic, data, qos, retain, properties), via)


def send_text(
    to: str, text: str, *, media: Sequence[str | os.PathLike[str]] = (), sender: str = "", via: str = ""
) -> Message[str]:
    """Send a text message to the number ``to``. Return the event id.

    ``media`` are URLs, or paths of files (:class:`pathlib.Path`), which are read now. ``sender`` is your number, by
    default the ``number`` of the server. ``via`` names the server, where the file has several for texts.

    Raises OSError for a file that cannot be read, ValueError for one that is empty or too large.
    """
    given = message_arguments.text_message("send_text", text, media)
    arguments.text("send_text", "to", to, "a number, such as +447700900123, as text")
    is_quick = not any(isinstance(each, os.PathLike) for each in given)
    return EventMessage(partial(_text, to, text, given, sender), via, is_quick)


def _text(to: str, text: str, media: Sequence[str | os.PathLike[str]], sender: str) -> Event:
    urls = [read_file(each) if isinstance(each, os.PathLike) else each for each in media]
    return dict(text_message(to, text, urls, sender))


def send_mail(to: Addresses, *, via: str = "", **mail: Unpack[MailArguments]) -> Message[str]:
    """Send a mail to ``to``, one address or several. Return the event id.

    The arguments are those of :meth:`gateway.EmailConsumer.send`: ``subject``, ``text``, ``html``, ``attachments``,
    ``inline``, ``cc``, ``bcc``, ``reply_to``, ``headers``, ``template``, ``context``, ``token``, ``from_``,
    ``mail_from`` and ``dsn``. ``from_`` is by default ``submission: {default_from: ...}`` of the file, or Django's
    ``DEFAULT_FROM_EMAIL``; ``mail_from``, the envelope's sender, is by default the address in ``from_``.

    Raises ValueError for an address or a header field that cannot be sent, TypeError for an attachment of no known
    form, LookupError where a token or template needs something that is not there, and what reading an attachment
    raises.
    """
    from gateway.sending.mail import write  # imports what composes mail

    given = new_mail("send_mail", to, mail, mail_from="")
    return EventMessage(partial(write, given, bounces=mail.get("mail_from") is None), via, given.is_small)


def group_send(group: str, message: dict[str, Any]) -> Message[None]:
    """Send ``message``, a dict with ``type``, to everyone in a group of the channel layer."""
    checked = message_arguments.layer_message("group_send", group, message)
    origins.note(checked)
    return GroupMessage(group, checked)
