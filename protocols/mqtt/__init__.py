"""MQTT 3.1.1 and 5.0: a server, and in ``client`` a client of a broker. From the inside out, each on those above it:

``wire``      bytes and packets. ``packets``: what a packet is, and its bytes; ``parser``: bytes to packets, each by one
              of ``decoders`` or of ``publish``; ``properties``, ``fields``, ``reasons``; ``topics``: valid names and
              filters; ``aliases`` of topics
``access``    who may connect, by the users of :mod:`protocols.access`, and do what: ``acl``
``steps``     what the two tables are made of: ``qos``, each step of a message at QoS 1 or 2; ``handshake``, each step
              from CONNECT to CONNACK
``broker``    all sessions, and who gets what. ``session``: what outlives a connection; ``subscriptions``, ``retained``,
              ``share``, ``fan_out``; ``timers``: what is due when; ``outgoing``: what is to leave on a connection;
              ``journal``, ``record``, ``journal_writer``: what outlives the process
``connection`` one client. ``preconnect``: a socket until its CONNECT; ``admission``: whether users and rules let it in;
              ``handshake``: until its CONNACK; ``accepted``: from then on, of it ``subscribing`` and ``exactly_once``
              (QoS 2 from the client); ``client_socket``: packets in turns, ``keepalive``, ``rate``;
              ``client_connection``: the application's run, and the end; ``websocket_transport``: a websocket as the
              socket
``server``    the listener and what it owns

Sockets, clocks and tasks are in ``journal_writer``, ``preconnect``, ``admission``, ``client_socket``,
``client_connection``, ``websocket_transport``, ``server`` and ``client``; everything else is pure.
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.mqtt.server import MQTTServer as MQTTServer
    from protocols.mqtt.settings import MQTTSettings as MQTTSettings
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.mqtt.server": ("MQTTServer",),
            "protocols.mqtt.settings": ("MQTTSettings",),
        },
    )
