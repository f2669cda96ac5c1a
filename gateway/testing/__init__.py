"""Tests applications: each communicator plays the peer of one protocol, in memory; see ``docs/testing.md``.

* :mod:`~gateway.testing.communicator`: what all communicators do. An exception of the application comes out at once.
* :mod:`~gateway.testing.http`, :mod:`~gateway.testing.websocket`, :mod:`~gateway.testing.mqtt`,
  :mod:`~gateway.testing.email`, :mod:`~gateway.testing.sms`: one for each protocol. Their scopes are made by the
  functions that make them in the servers, and what an application sends is checked by the servers' tables.
* :mod:`~gateway.testing.in_memory`: the gateway of a file, with its policies, a store in memory and time that can be
  moved; :mod:`~gateway.testing.live`: the same with its servers; :mod:`~gateway.testing.plugin`: fixtures for pytest.
* :mod:`~gateway.testing.message`: what mail and texts share. :mod:`~gateway.testing.recorded`: the runs behind them;
  :mod:`~gateway.testing.outbox`: what was sent to others.
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from gateway.testing.communicator import ApplicationCommunicator as ApplicationCommunicator
    from gateway.testing.email import EmailCommunicator as EmailCommunicator
    from gateway.testing.http import HttpCommunicator as HttpCommunicator
    from gateway.testing.http import Response as Response
    from gateway.testing.in_memory import InMemoryGateway as InMemoryGateway
    from gateway.testing.live import GatewayLiveServer as GatewayLiveServer
    from gateway.testing.mqtt import MqttCommunicator as MqttCommunicator
    from gateway.testing.outbox import Outbox as Outbox
    from gateway.testing.outbox import Publication as Publication
    from gateway.testing.outbox import SentMail as SentMail
    from gateway.testing.outbox import SentText as SentText
    from gateway.testing.sms import SMSCommunicator as SMSCommunicator
    from gateway.testing.websocket import WebsocketCommunicator as WebsocketCommunicator
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "gateway.testing.communicator": ("ApplicationCommunicator",),
            "gateway.testing.email": ("EmailCommunicator",),
            "gateway.testing.http": ("HttpCommunicator", "Response"),
            "gateway.testing.in_memory": ("InMemoryGateway",),
            "gateway.testing.live": ("GatewayLiveServer",),
            "gateway.testing.mqtt": ("MqttCommunicator",),
            "gateway.testing.outbox": ("Outbox", "Publication", "SentMail", "SentText"),
            "gateway.testing.sms": ("SMSCommunicator",),
            "gateway.testing.websocket": ("WebsocketCommunicator",),
        },
    )
