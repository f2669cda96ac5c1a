"""Header fields of HTTP/2 (RFC 9113, 8.2 and 8.3) to a request, and the head of a response to header fields. Pure."""

import re
from collections.abc import Iterable

from protocols.http.http2.library import NeverIndexedHeaderTuple
from protocols.http.parser import HOST, TOO_LARGE, TOO_MANY
from protocols.http.request import Headers, Refusal, Request
from protocols.http.settings import HTTPSettings

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_PATH = re.compile(rb"/[\x21\x22\x24-\x7e\x80-\xff]*")
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_OF_CONNECTIONS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Fields that say something of a connection in HTTP/1.1 (RFC 9113, 8.2.2)."""
_COOKIES = 200
"""Cookies that may be fields of their own beside the others: a browser keeps 180 of a site."""
_NOT_SENT = (b"connection", b"keep-alive", b"upgrade", b"proxy-connection", b"transfer-encoding")
_SECRET = frozenset({b"set-cookie"})
"""Fields whose values the compression does not keep, because others could guess them by the size of what it sends."""


class Malformed(Exception):
    """The request breaks the rules of HTTP/2. The message does not quote it."""


class _Fields:
    """The fields of a request, sorted."""

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self.pseudo: dict[bytes, bytes] = {}
        self.headers: Headers = []
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.cookies: list[bytes] = []
        self.expects = self.takes_trailers = False
        self.longest = self.size = 0
        for name, value in fields:
            if name[:1] == b":":
                self._take_pseudo(name, value)
            else:
                self._take(name, value)

    def _take_pseudo(self, name: bytes, value: bytes) -> None:
        if self.headers or self.hosts or name in self.pseudo or name not in _PSEUDO:
            raise Malformed("a pseudo-header field is unknown, repeated, or behind another field")
        self.pseudo[name] = value

    def _take(self, name: bytes, value: bytes) -> None:
        check(name, value)
        size = len(name) + len(value)
        self.longest = max(self.longest, size)
        self.size += size
        if name == b"host":
            self.hosts.append(value)
            return
        if name == b"cookie":
            self.cookies.append(value)
            if len(self.cookies) > 1:
                return
        elif name == b"content-length":
            self.lengths.append(value)
        elif name == b"te":
            if value.lower() != b"trailers":
                raise Malformed("its TE is not trailers")
            self.takes_trailers = True
        elif name == b"expect":
            self.expects = value.lower() == b"100-continue"
        self.headers.append((name, value))


def check(name: bytes, value: bytes) -> None:
    """Raise Malformed if a field cannot be one of a request, or of its trailers."""
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise Malformed("a header field has an invalid name or value")
    if name in _OF_CONNECTIONS:
        raise Malformed("it has a header field that is for connections of HTTP/1.1")


def read_request(fields: list[tuple[bytes, bytes]], *, settings: HTTPSettings, has_body: bool) -> Request | Refusal:
    """Return what the fields ask for. ``settings`` has their limits. Raises Malformed."""
    if len(fields) > settings.max_header_fields + _COOKIES:
        return Refusal(431, TOO_MANY, is_head=(b":method", b"HEAD") in fields)
    found = _Fields(fields)
    pseudo = found.pseudo
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if _METHOD.fullmatch(method) is None:
        raise Malformed("its :method is missing or invalid")
    length = _length(found.lengths, has_body=has_body)
    protocol = pseudo.get(b":protocol")
    if protocol is not None and method != b"CONNECT":
        raise Malformed("it has a :protocol, and its method is not CONNECT")
    host = _host(pseudo, found.hosts)
    if method == b"CONNECT" and protocol is None:
        if target or b":scheme" in pseudo:
            raise Malformed("its method is CONNECT, and it has a :path or a :scheme")
        return Refusal(501, "its method is CONNECT, which is for proxies")
    _check_target(method, target, pseudo.get(b":scheme", b""))
    if (refusal := _too_long(found, target, settings)) is not None:
        return refusal._replace(is_head=method == b"HEAD")
    if protocol is not None and protocol != b"websocket":
        return Refusal(501, "its :protocol is not websocket")
    request = Request(method.decode(), target, "2", _headers(found, host), keeps=False)
    request.length = length or 0
    request.needs_care = True
    request.upgrades = protocol is not None
    request.expects = found.expects and has_body
    request.takes_trailers = found.takes_trailers
    return request


def _length(lengths: list[bytes], *, has_body: bool) -> int | None:
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 19:
        raise Malformed("its Content-Length is not a number, or it has several")
    length = int(lengths[0])
    if length and not has_body:
        raise Malformed("it has a Content-Length, and no body")
    return length


def _host(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> bytes:
    """Return the host (RFC 9113, 8.3.1): that of :authority, or of Host where a proxy found no authority."""
    host = pseudo.get(b":authority", hosts[0] if hosts else b"")
    if not host or len(hosts) > 1 or HOST.fullmatch(host) is None:
        raise Malformed("its :authority and its Host are missing or invalid, or it has several Hosts")
    if hosts and hosts[0].lower() != host.lower():
        raise Malformed("its Host is not its :authority")
    return host


def _check_target(method: bytes, target: bytes, scheme: bytes) -> None:
    if _SCHEME.fullmatch(scheme) is None:
        raise Malformed("its :scheme is missing or invalid")
    if _PATH.fullmatch(target) is None and not (target == b"*" and method == b"OPTIONS"):
        raise Malformed("its :path is missing or invalid")


def _too_long(found: _Fields, target: bytes, settings: HTTPSettings) -> Refusal | None:
    if len(target) > settings.max_header:
        return Refusal(414, "its request target is too long")
    if len(found.headers) > settings.max_header_fields:
        return Refusal(431, TOO_MANY)
    if len(target) + found.size > settings.max_head:
        return Refusal(431, TOO_LARGE)
    longest = max(found.longest, len(b"cookie") + len(b"; ".join(found.cookies)))
    return Refusal(431, "one of its header fields is too long") if longest > settings.max_header else None


def _headers(found: _Fields, host: bytes) -> Headers:
    headers = [(b"host", host), *found.headers]
    if len(found.cookies) > 1:  # RFC 9113, 8.2.3
        cookie = b"; ".join(found.cookies)
        return [(name, cookie if name == b"cookie" else value) for name, value in headers]
    return headers


def response_fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of a response whose head, in HTTP/1.1's form, is ``head``."""
    line, _, lines = head.partition(b"\r\n")
    return [(b":status", line[9:12]), *split_lines(lines)]


def split_lines(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields that are written, in HTTP/1.1's form, in ``lines``."""
    fields: list[tuple[bytes, bytes]] = []
    for each in lines.split(b"\r\n"):
        name, colon, value = each.partition(b": ")
        if name in _SECRET:
            fields.append(NeverIndexedHeaderTuple(name, value))
        elif colon and name not in _NOT_SENT:
            fields.append((name, value))
    return fields
