"""The event id: one short id per message, from the socket to the log, the dead letter and what it makes us send."""

import base64
import secrets


def new_id() -> str:
    """Ten characters of base 32, which is 50 random bits: short enough to type, too many to meet twice."""
    return base64.b32encode(secrets.token_bytes(7))[:10].decode().lower()
