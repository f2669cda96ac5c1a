"""MQTT 3.1.1 as a server, QoS 0 and 1. From the inside out, the first five without I/O:

``packets``      bytes <-> packets: the incremental :class:`~protocols.mqtt.packets.Parser`, and what a server writes
``topics``       names, filters, the tree of subscriptions, retained messages
``session``      what outlives a connection: subscriptions, messages in flight and queued
``broker``       all sessions; fan-out
``connection``   one network connection: packets in, the application's events and bytes out
``device``       the socket, the clock, and the application's run over one connection
``server``       the listener and what it owns
"""

from protocols.mqtt.server import MQTTServer
from protocols.mqtt.settings import MQTTSettings

__all__ = ["MQTTServer", "MQTTSettings"]
