"""Tests applications: each communicator plays the peer of one protocol, in memory; see ``docs/testing.md``.

* :mod:`~gateway.testing.communicator`: what all communicators do. An exception of the application comes out at once.
* :mod:`~gateway.testing.http`, :mod:`~gateway.testing.websocket`, :mod:`~gateway.testing.mqtt`,
  :mod:`~gateway.testing.email`, :mod:`~gateway.testing.sms`: one for each protocol. Their scopes are made by the
  functions that make them in the servers, and what an application sends is checked by the servers' tables.
* :mod:`~gateway.testing.in_memory`: the gateway of a file, with its policies, a store in memory and time that can be
  moved; :mod:`~gateway.testing.live`: the same with its servers; :mod:`~gateway.testing.plugin`: fixtures for pytest.
* :mod:`~gateway.testing.recorded`: the runs behind them; :mod:`~gateway.testing.outbox`: what was sent to others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.testing.communicator import ApplicationCommunicator
    from gateway.testing.email import EmailCommunicator
    from gateway.testing.http import HttpCommunicator, Response
    from gateway.testing.in_memory import InMemoryGateway
    from gateway.testing.live import GatewayLiveServer
    from gateway.testing.mqtt import MqttCommunicator
    from gateway.testing.outbox import Outbox, Publication, SentMail, SentText
    from gateway.testing.sms import SMSCommunicator
    from gateway.testing.websocket import WebsocketCommunicator

_HOMES = {
    "ApplicationCommunicator": "communicator",
    "EmailCommunicator": "email",
    "GatewayLiveServer": "live",
    "HttpCommunicator": "http",
    "InMemoryGateway": "in_memory",
    "MqttCommunicator": "mqtt",
    "Outbox": "outbox",
    "Publication": "outbox",
    "Response": "http",
    "SMSCommunicator": "sms",
    "SentMail": "outbox",
    "SentText": "outbox",
    "WebsocketCommunicator": "websocket",
}

__all__ = [
    "ApplicationCommunicator",
    "EmailCommunicator",
    "GatewayLiveServer",
    "HttpCommunicator",
    "InMemoryGateway",
    "MqttCommunicator",
    "Outbox",
    "Publication",
    "Response",
    "SMSCommunicator",
    "SentMail",
    "SentText",
    "WebsocketCommunicator",
]


def __getattr__(name: str) -> Any:
    """Import a module when something of it is asked for: pytest imports this package in every project."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
