"""The client of an existing broker, the second role of the MQTT of :mod:`protocols.mqtt.wire` and
:mod:`protocols.mqtt.qos`.

From the inside out, the first five without I/O:

``session``            what QoS 2 has to know of earlier connections, and of earlier processes
``keepalive``          when a silent broker is asked, and when it is given up
``packet_ids``         those of what we send; ``oversize``: a message that is larger than we take, as it passes
``core``               one connection: bytes in, events and bytes out
``connect_options``    where the broker is, and what we tell it; ``refused``: what it answers, in words
``websocket``          MQTT over WebSocket, as a byte stream
``broker_connection``  the socket and the clock around a core
``run``                one run of the application; ``app_runs``: those that share a connection
``client``             the server that stays connected; ``settings``: what gateway.yaml may say of it
"""
