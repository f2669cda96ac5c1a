"""What `gateway send` needs of a scope type: a client that finds its server in the file, and sends one message."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import typer

from gateway.exit_codes import FORCED, MISTAKE
from gateway.scopes.reachable import LOCAL
from protocols.units import TCP, Inherited, Unix, parse_address

TIMEOUT = 30.0
"""Seconds that a server may take to answer; handlers run within that."""
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="NAME", help="Which server; default: the first that fits.")
]
"""The parameter of each `gateway send` that says to which server it goes."""


class CannotSend(Exception):
    """One sentence: why a client has nowhere to go, or what went wrong on the way."""

    exit_code = FORCED


class WrongArgument(CannotSend):
    """The command line has a mistake."""

    exit_code = MISTAKE


@dataclass(frozen=True)
class Peer:
    """A running server: TCP or Unix socket, with TLS or without."""

    name: str
    settings: Any
    endpoint: TCP | Unix
    carried: Any = None
    """The settings of the webhook that is meant, where the server carries it."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """A context that takes the server's certificate as it is: it is our own server, seldom named localhost."""
        if not getattr(self.settings, "tls", None):
            return None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Sent:
    """What came of it: whether the gateway took it, one line about that, and what it answered."""

    taken: bool
    summary: str
    answer: str = ""
    arrives_as: Mapping[str, str] = field(default_factory=dict)
    """Fields of the :class:`gateway.arrivals.Arrival` that this is for the gateway, by which it is recognized."""


def taken(summary: str, answer: str = "") -> Sent:
    return Sent(taken=True, summary=summary, answer=answer)


def refused(summary: str) -> Sent:
    return Sent(taken=False, summary=summary)


class Sender(Protocol):
    """One message, and how it goes."""

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        """Choose the server that it goes to. Raises CannotSend."""

    async def send(self, peer: Peer) -> Sent:
        """Send it. Raises CannotSend, or OSError if nobody answers."""


def find(servers: Mapping[str, Any], protocols: tuple[str, ...], name: str | None) -> tuple[str, Any]:
    """(name, settings) of the server called ``name``, or of the first that speaks one of ``protocols``. Raises
    WrongArgument."""
    fitting = {key: settings for key, settings in servers.items() if settings.protocol in protocols}
    if name is None and fitting:
        return next(iter(fitting.items()))
    if name in fitting:
        return name, fitting[name]
    wanted = " or ".join(protocols)
    known = f"; there is {', '.join(fitting)}" if fitting else ""
    called = f" called {name!r}" if name else ""
    raise WrongArgument(f"the file has no {wanted} server{called}{known}")


def dial(name: str, settings: Any) -> Peer:
    """Return where the server ``name`` listens. Raises CannotSend if that cannot be known."""
    endpoint = parse_address(settings.bind)
    if isinstance(endpoint, Inherited):
        raise CannotSend(f"servers.{name} listens on an inherited socket; its address is not in the file")
    if isinstance(endpoint, TCP):
        if endpoint.port == 0:
            raise CannotSend(f"servers.{name} has port 0; give it a fixed one to send to it")
        endpoint = TCP(LOCAL.get(endpoint.host, endpoint.host), endpoint.port)
    return Peer(name, settings, endpoint)
