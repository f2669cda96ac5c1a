"""The control socket: how commands talk to a daemon that runs.

``place`` says where the socket lies, ``server`` answers there from a table of commands, which :mod:`gateway.console`
has, and ``client`` asks. Both sides write one JSON object a line. A client sends one request,
``{"do": "tail", "follow": true}``, and reads answers until the daemon closes the connection. An answer
``{"error": "…"}`` is the last one.
"""
