"""Transport Layer Security of a listener, and certificates that change while it is running."""

import logging
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from protocols.errors import BindError
from protocols.net.certificate_expiry import earliest_expiry
from protocols.settings_config import SETTINGS_CONFIG
from protocols.units import Timeout

logger = logging.getLogger(__name__)

CHECK_INTERVAL = 1.0
"""Seconds between two checks whether the files have changed."""

Stamp = tuple[int, int, int]
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[\s\w+/=]+-----END CERTIFICATE-----")
_certificates: "WeakKeyDictionary[ssl.SSLContext, str | None]" = WeakKeyDictionary()
"""The certificates of servers: Python's contexts do not show what they were given."""


@dataclass(frozen=True)
class TLS:
    """Transport Layer Security of a listener, 1.2 and later. New connections use files that have changed."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    certificate: str
    """Path of the PEM file with the certificate and its chain."""
    key: str
    """Path of the PEM file with the private key."""
    client_ca: str | None = None
    """Path of a PEM file; if set, a client must present a certificate signed by one of its authorities."""
    handshake_timeout: Timeout = 10.0
    """How long a handshake may take; then the connection is closed."""

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Make a server's context. Raises BindError, with one sentence, if a file is missing or wrong."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if alpn:  # a client that offers none of these, or none at all, is served nevertheless
            context.set_alpn_protocols(alpn)
        _load_pair(context, self.certificate, self.key)
        if self.client_ca:
            _load_authorities(context, self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        _certificates[context] = _first_certificate(self.certificate)
        return context

    def expiries(self) -> dict[str, float]:
        """Return the Unix time at which the first certificate of each file expires: of the ``server``'s, with its
        chain, and of the ``client_ca``. A file that cannot be read now is left out."""
        return expiries({"server": self.certificate, "client_ca": self.client_ca})

    def stamps(self) -> list[Stamp | None]:
        """Return a stamp for each file, which is another one when the file was changed or replaced."""
        return [_stamp(path) for path in (self.certificate, self.key, self.client_ca) if path]


def server_certificate(context: ssl.SSLContext) -> str | None:
    """Return the certificate, in PEM, that a context of :meth:`TLS.context` presents; None for any other context."""
    return _certificates.get(context)


def _first_certificate(path: str) -> str | None:
    """That of the file's owner: its chain comes after it."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = _PEM.search(file.read())
    except OSError:  # it was removed after it was loaded
        return None
    return f"{found[0]}\n" if found else None


def client_context(ca: str | None, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """Make a client's context that trusts the authorities in ``ca``, by default the system's. Raises BindError."""
    if ca is not None:
        _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca)  # for the sentence of its BindError
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        _load_pair(context, certificate, key or certificate)
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _check_readable(certificate, key)
    try:
        # If given no password, OpenSSL would ask for one at the terminal, and everything would wait.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BindError(f"TLS: {key} is not the key of {certificate}") from error
        reason = "both must be PEM files, and the key must have no password"
        raise BindError(f"TLS: {certificate}, {key}: {reason}") from error
    except OSError as error:  # it was removed after the check
        raise BindError(f"TLS: {certificate}, {key}: {error.strerror}") from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise BindError(f"TLS: {path}: it contains no certificate; it must be a PEM file") from error
    except OSError as error:  # it was removed after the check
        raise BindError(f"TLS: {path}: {error.strerror}") from error


def _check_readable(*paths: str) -> None:
    """Raises BindError with the file's name, which OpenSSL's error does not give."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            raise BindError(f"TLS: {path}: {error.strerror}") from error


def expiries(files: Mapping[str, str | None]) -> dict[str, float]:
    """Return the Unix time at which the first certificate of each file expires, by what the file is for. One that
    cannot be read now is left out."""
    found = {use: _earliest_expiry(path) for use, path in files.items() if path}
    return {use: expiry for use, expiry in found.items() if expiry is not None}


def _earliest_expiry(path: str) -> float | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return earliest_expiry(file.read())
    except (OSError, ValueError):
        return None


def _stamp(path: str) -> Stamp | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


class Certificate:
    """The context for new connections, which is replaced when its files change. Raises BindError when it is made.

    The context in use is never changed, but replaced by another one. So a new certificate is never used with an old
    key, and session tickets that were issued under other authorities are void.
    """

    def __init__(self, tls: TLS, alpn: Sequence[str] = ()) -> None:
        self.tls = tls
        self.alpn = tuple(alpn)
        self.stamps = tls.stamps()
        self._context = tls.context(alpn)
        self._expiries = tls.expiries()
        self._checked = time.monotonic()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection. The files are checked at most once a second."""
        if time.monotonic() - self._checked >= CHECK_INTERVAL:
            self._checked = time.monotonic()
            self._check()
        return self._context

    def expiries(self) -> dict[str, float]:
        """Return when the files in use expire; see :meth:`TLS.expiries`. Changed files are loaded first, as for a new
        connection."""
        self.context()
        return self._expiries

    def _check(self) -> None:
        stamps = self.tls.stamps()
        if stamps == self.stamps:
            return
        self.stamps = stamps  # before the files are read: a change in between is seen the next time
        try:
            self._context = self.tls.context(self.alpn)
        except BindError as error:
            logger.error("%s; new connections use the previous certificate", error)
        else:
            self._expiries = self.tls.expiries()
            logger.info("TLS: %s has changed; new connections use it", self.tls.certificate)


def newer(before: Certificate | None, after: Certificate | None) -> Certificate | None:
    """Return ``after``, or ``before`` if both have read the same files, and offer the same protocols: then its session
    tickets are valid still."""
    if before is None or after is None:
        return after
    is_same = (before.tls, before.stamps, before.alpn) == (after.tls, after.stamps, after.alpn)
    return before if is_same else after
