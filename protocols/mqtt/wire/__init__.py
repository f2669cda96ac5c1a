"""MQTT on the wire: bytes to packets and back, both versions; topic names, properties, reason codes. Pure."""
