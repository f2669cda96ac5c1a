"""How a packet of the client ends its connection: it breaks a rule, or it is DISCONNECT."""

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire import reasons


class Goodbye(Exception):
    """The client said DISCONNECT, with this reason code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def broken(why: str, code: int = reasons.PROTOCOL_ERROR) -> RemoteProtocolError:
    """Return the error for a client that broke a rule. ``code`` is the reason code that it gets."""
    return RemoteProtocolError(why, answer=code)
