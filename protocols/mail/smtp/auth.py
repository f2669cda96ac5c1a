"""The mechanisms of AUTH, from the first challenge to a user name and a password (RFC 4954). Pure."""

import base64
import binascii
from collections.abc import Callable, Generator
from typing import NamedTuple

from protocols.errors import RemoteProtocolError


class Credentials(NamedTuple):
    """What a client logs in with."""

    username: str
    password: bytes


Steps = Generator[bytes, bytes, Credentials]
"""Yields challenges, takes the responses, and returns the credentials. Raises RemoteProtocolError."""


def plain() -> Steps:
    """AUTH PLAIN (RFC 4616): the user to act for, which may only be empty or the same; the user name; the password."""
    fields = (yield b"").split(b"\0")
    if len(fields) != 3 or not fields[1]:
        raise RemoteProtocolError("5.5.2 Malformed response", answer=501)
    acts_for, username, password = fields
    if acts_for not in (b"", username):
        raise RemoteProtocolError("5.7.8 No user may act for another", answer=535)
    return _credentials(username, password)


def login() -> Steps:
    """AUTH LOGIN, which no RFC has, and which every client knows."""
    username = yield b"Username:"
    password = yield b"Password:"
    return _credentials(username, password)


MECHANISMS: dict[str, Callable[[], Steps]] = {"PLAIN": plain, "LOGIN": login}


def decode(response: bytes) -> bytes:
    """Return the bytes of a response. Raises RemoteProtocolError, also if the client gives up."""
    if response == b"*":
        raise RemoteProtocolError("5.7.0 Authentication cancelled", answer=501)
    if response == b"=":
        return b""
    try:
        return base64.b64decode(response, validate=True)
    except binascii.Error as error:
        raise RemoteProtocolError("5.5.2 Not in base64", answer=501) from error


def challenge(text: bytes) -> str:
    """Return the server's line with a challenge."""
    return f"334 {base64.b64encode(text).decode()}"


def _credentials(username: bytes, password: bytes) -> Credentials:
    try:
        return Credentials(username.decode(), password)
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("5.5.2 Not in UTF-8", answer=501) from error
