"""Transport Layer Security of a listener, and certificates that change while it serves."""

import logging
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.errors import BindError
from protocols.units import Timeout

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the files."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class TLS:
    """Transport Layer Security of a listener: 1.2 and later. Files that change are used for new connections."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "use_attribute_docstrings": True}

    certificate: str
    """Path of the PEM file with the certificate and its chain."""
    key: str
    """Path of the PEM file with the private key."""
    client_ca: str | None = None
    """Path of a PEM file; where set, a client must show a certificate that one of these authorities signed."""
    handshake_timeout: Timeout = 10.0
    """How long a handshake may take; then the connection is closed."""

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Raises BindError with one sentence where a file is missing or wrong."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if alpn:  # a client that offers none of these, or nothing, is served all the same
            context.set_alpn_protocols(alpn)
        _load_pair(context, self.certificate, self.key)
        if self.client_ca:
            _load_authorities(context, self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def stamps(self) -> list[Stamp | None]:
        """What tells of each file that it was changed or replaced."""
        return [_stamp(path) for path in (self.certificate, self.key, self.client_ca) if path]


def client_context(ca: str | None, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """For a connection to a server that the authorities in ``ca`` vouch for (none: the system's). Raises BindError."""
    if ca is not None:
        _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca)  # for its sentence
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        _load_pair(context, certificate, key or certificate)
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _check_readable(certificate, key)
    try:
        # Without a password OpenSSL would ask for one at the terminal, and everything would wait.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BindError(f"TLS: {key} is not the key of {certificate}") from error
        reason = "they must be PEM files, and the key one without a password"
        raise BindError(f"TLS: {certificate}, {key}: {reason}") from error
    except OSError as error:  # gone since it was looked at
        raise BindError(f"TLS: {certificate}, {key}: {error.strerror}") from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise BindError(f"TLS: {path}: there is no certificate in it; it must be a PEM file") from error
    except OSError as error:  # gone since it was looked at
        raise BindError(f"TLS: {path}: {error.strerror}") from error


def _check_readable(*paths: str) -> None:
    """OpenSSL does not say which file it is."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            raise BindError(f"TLS: {path}: {error.strerror}") from error


def _stamp(path: str) -> Stamp | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


class Certificate:
    """The context for new connections, made anew when its files change.

    A context of its own for each state of the files, never a change of the one in use: half a pair can not get into
    use, and session tickets that were given under other authorities are void. Raises BindError when it is made.
    """

    def __init__(self, tls: TLS, alpn: Sequence[str] = ()) -> None:
        self.tls = tls
        self._alpn = alpn
        self._stamps = tls.stamps()
        self._context = tls.context(alpn)
        self._looked = time.monotonic()

    def context(self) -> ssl.SSLContext:
        """For a connection that is accepted now; looks at the files at most once a second."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self._look()
        return self._context

    def _look(self) -> None:
        stamps = self.tls.stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps  # before they are read: what changes meanwhile is seen the next time
        try:
            self._context = self.tls.context(self._alpn)
        except BindError as error:
            logger.error("%s; new connections go on with what was valid before", error)
        else:
            logger.info("TLS: %s has changed and is used for new connections", self.tls.certificate)
