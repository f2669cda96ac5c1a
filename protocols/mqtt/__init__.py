"""MQTT 3.1.1 and 5.0 as a server; as a client of a broker in ``client``. From the inside out, all above ``access``
without I/O:

``packets``      what a packet is, and the bytes of those that a server writes; ``parser``: bytes -> packets,
                 each by its one of ``decoders``, or of ``publish``
``properties``   MQTT 5's properties: bytes <-> dict; ``fields``, ``reasons``: what both are made of
``topics``       names, filters, the tree of subscriptions, retained messages
``session``      what outlives a connection: subscriptions, messages in flight and queued
                 (``message``, ``outbound``, ``inbound``, ``share``, ``will``)
``broker``       all sessions; fan-out; what is due when (``agenda``)
``journal``      what of that has to outlive the process, as the records of ``record``
``handshake``    a network connection from CONNECT to CONNACK; ``authentication``: the AUTH packets of it
``connection``   the same from then on: packets in, the application's events and bytes out. Of it, ``subscribing``;
                 ``exactly_once``: QoS 2 from the client; ``aliases`` of topics; ``peer``: the other end
``access``       who may connect, and do what: ``users``, ``acl``. ``login_queue``: whose password is checked next;
                 ``login_cache``, ``saved_login``: right passwords that are remembered; ``login_failures``: wrong ones
``keeper``       has the journal's changes made durable
``arrival``      a socket until it has said CONNECT
``device``       the socket, the clock, and the application's run over one connection
``tunnel``       a websocket as a device's socket
``server``       the listener and what it owns
"""

from protocols.mqtt.server import MQTTServer
from protocols.mqtt.settings import MQTTSettings

__all__ = ["MQTTServer", "MQTTSettings"]
