"""Reads HTTP/1.1 requests (RFC 9112) from bytes, by httptools, which is llhttp, the parser of Node.js.

It finds the parts of a message and refuses what is malformed. What it leaves to us is here: sizes and numbers, Host,
Transfer-Encoding, versions, targets, and protocols that a peer wants to change to. Everything else in this package
knows requests and bodies only, so another parser can take its place.
"""

import re
from typing import Any, NoReturn, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from protocols.http.request import Body, Flow, Headers, MalformedBody, Refusal, Request
from protocols.http.scope import reads_trailers

_HEAD = 4 * 1024
"""Bytes of heads that are parsed at a time: at most some two hundred requests in them wait for their turn."""
_CHUNKED = 16 * 1024
"""Bytes of a chunked body that are parsed at a time. Its end is not known beforehand."""
_FRAMING = 16 * 1024
"""Bytes of chunk extensions and trailers of one body that are skipped."""
_CHUNK = 24
"""Bytes of the framing of a chunk without extensions, at most."""
_READ = frozenset({b"content-length", b"te", b"transfer-encoding", b"upgrade"})
"""The fields that say what follows the head, or the head of the answer."""
_NO_TRAILERS = frozenset({b"connection", b"proxy-connection", b"upgrade"})
"""Fields that llhttp obeys in trailers, too: by a proxy that passes trailers on, a client could end the connection that
the proxy keeps for all of its clients. Content-Length and Transfer-Encoding it refuses itself (RFC 9110, 6.5.1)."""
_PERSISTENCE = frozenset({b"connection", b"proxy-connection"})
"""The fields that httptools lets say whether the connection goes on."""
_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# RFC 9110, 7.2; RFC 3986, 3.2.2 and 3.2.3.
HOST = re.compile(rb"(\[[0-9A-Fa-f:.vV]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(:[0-9]*)?")
_HASH = ord("#")
"""An int, because ``b"#" in target`` first raises and drops a TypeError."""
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)(.*)", re.DOTALL)


TOO_MANY = "it has more than max_header_fields header fields"
TOO_LARGE = "its head is longer than max_head"
_TOO_LONG = {414: "its request target is too long", 431: "one of its header fields is too long"}


class _Refused(Exception):
    """Ends the parsing, out of a callback. The parser has the refusal."""


class RequestParser:
    """Bytes of one connection in, :attr:`messages` out.

    ``max_line`` is the longest target, and the longest field, in bytes; ``max_head`` is the longest
    head. There may be ``max_fields`` fields.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_chunks",
        "_completed",
        "_flow",
        "_framing",
        "_framing_fields",
        "_goes_on",
        "_head",
        "_headers",
        "_host",
        "_is_between",
        "_left",
        "_max_fields",
        "_max_head",
        "_max_line",
        "_parser",
        "_refusal",
        "_request",
        "_seen",
        "_silent",
        "_target",
        "_usual",
        "messages",
    )

    def __init__(self, flow: Flow, max_line: int, max_fields: int, max_head: int) -> None:
        self._flow: Flow | None = flow
        self._max_line = max_line
        self._max_fields = max_fields
        self._max_head = max_head
        self._parser: Any = HttpRequestParser(self)
        self.messages: list[Request | Refusal] = []
        """What has come and waits for its turn. After a refusal there is nothing more."""
        self._request: Request | None = None
        """The request whose body comes, or has just come."""
        self._body: Body | None = None
        """Its body, as long as that is not complete."""
        self._completed = False
        """Whether a request has come to its end in the bytes that are being parsed."""
        self._left = 0
        """Bytes of the body that are still to come, if they are counted; -1 if it is chunked."""
        self._framing = self._chunks = 0
        """Bytes of a chunked body that are no content, and its chunks."""
        self._is_between = True
        """Whether no part of a target has come since the last message."""
        self._target = b""
        self._headers: Headers = []
        self._seen: tuple[Headers, int] = (self._headers, 0)
        """The fields that were complete when the last bytes of a head had been parsed."""
        self._silent = 0
        """Bytes of a head since the last field in it that was complete."""
        self._head = 0
        """Bytes of a head that is not complete."""
        self._host = b""
        """The last Host that was valid."""
        self._usual: Headers | None = None
        """The fields of the last request, which were valid: most peers send the same again and again."""
        self._framing_fields: dict[bytes, bytes] | None = None
        """The same by their names, if one of them says what follows the head."""
        self._goes_on = False
        """Whether none of them says if the connection goes on."""
        self._refusal: Refusal | None = None

    # Bytes.

    @property
    def is_over(self) -> bool:
        """Whether nothing more is parsed: after a mistake, a last request, or one that asks for a WebSocket."""
        return self._parser is None

    @property
    def in_head(self) -> bool:
        """Whether a head has begun, and is not complete."""
        return self._request is None and self._silent > 0

    def close(self) -> None:
        """Parse nothing more. The circles of references end here: httptools' to this object, ours to the connection."""
        self._parser = self._flow = self._request = self._body = None

    def feed(self, data: bytes) -> bytes:
        """Parse ``data`` until a request is complete, or a few in the same bytes; return the rest.

        Nothing raises: a mistake of the peer is a refusal, or an error of the body.
        """
        self._completed = False
        if self._body is None:
            if len(data) <= _HEAD and not (data := self._parse(data)):
                return b""
        elif 0 < len(data) <= self._left:
            self._take(data)
            return b""
        view, at = memoryview(data), 0
        while at < len(data) and not self._completed and self._parser is not None:
            if self._body is not None and self._left > 0:
                at += self._take(bytes(view[at : at + self._left]))
            else:
                piece = view[at : at + (_HEAD if self._body is None else _CHUNKED)]
                at += len(piece) - len(self._parse(piece))
        return data[at:]

    def _take(self, piece: bytes) -> int:
        """Add ``piece`` to a counted body, and return its size. httptools would copy it. It has seen the head, and
        perhaps the beginning of the body; another parser goes on behind the body."""
        self.on_body(piece)
        if not self._left:
            request = cast("Request", self._request)
            self._parser = HttpRequestParser(self) if request.keeps else None  # what follows the last one is ignored
            self.on_message_complete()
        return len(piece)

    def _parse(self, data: bytes | memoryview) -> bytes:
        """Parse all of ``data``. Return the bytes that follow the head of a request that asks for another protocol."""
        if (parser := self._parser) is None:
            return bytes(data)
        if self._left < 0:
            self._framing += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._go_on_after(bytes(data[upgrade.args[0] :]))
        except HttpParserError as error:
            self._fail(error)
            return b""
        if self._request is None:
            self._count_silence(len(data))
        elif self._left < 0 and self._framing > _FRAMING + _CHUNK * self._chunks:
            self._break_off("its chunk extensions or trailers are too long")
        elif self._left < 0:  # short chunks leave no credit for long extensions
            self._framing = max(self._framing, _CHUNK * self._chunks)
        return b""

    def _count_silence(self, size: int) -> None:
        """Bound what httptools holds back of a field that does not end."""
        seen = self._headers, len(self._headers)
        self._head = self._head + size if seen[0] is self._seen[0] else min(size, _HEAD)
        self._silent = (
            self._silent + size if seen[0] is self._seen[0] and seen[1] == self._seen[1] else min(size, _HEAD)
        )
        self._seen = seen
        if self._silent > self._max_line + _HEAD:
            self._give_up(Refusal(431, _TOO_LONG[431]))
        elif self._head > self._max_head + _HEAD:
            self._give_up(Refusal(431, TOO_LARGE))
        elif len(self._headers) > self._max_fields:
            self._give_up(Refusal(431, TOO_MANY))

    def _give_up(self, refusal: Refusal) -> None:
        self._parser = None
        self.messages.append(refusal)

    def _fail(self, error: HttpParserError) -> None:
        if isinstance(error, HttpParserCallbackError) and self._refusal is None:
            raise error.__context__ or error
        request = self._request
        if request is not None and self._body is None and not request.keeps:
            self._parser = None  # what follows the last request is ignored
        elif self._body is not None:
            self._break_off(self._refusal.why if self._refusal else str(error))
        else:
            self._give_up(self._refusal or Refusal(400, str(error)))

    def _break_off(self, why: str) -> None:
        body, self._body, self._parser = self._body, None, None
        if body is not None:
            body.fail(MalformedBody, why)

    def _go_on_after(self, rest: bytes) -> bytes:
        """Parse ``rest`` as if its request had not asked for another protocol, unless that is a WebSocket."""
        request = self._request
        if request is None or request.upgrades:
            self._parser = None
            return rest
        self._parser = HttpRequestParser(self)
        if self._left < 0:
            body, self._is_between = self._body, True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost:\r\ntransfer-encoding: chunked\r\n\r\n")
            self.messages.pop()
            self._request, self._body = request, body
        return rest

    # What httptools finds. It would also say that a message begins: one call more for each request.

    def on_url(self, piece: bytes) -> None:
        if self._is_between:
            self._is_between = False
            self._request = None
            self._headers = []
            self._target = piece
        else:
            self._target += piece
        if len(self._target) > self._max_line:
            self._refuse(414, _TOO_LONG[414])

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is None:
            self._headers.append((name.lower(), value.rstrip(b" \t")))
        elif name.lower() in _NO_TRAILERS:  # others are dropped: nothing needs them
            self._refuse(400, "a trailer is a field of the connection")

    def on_headers_complete(self) -> None:
        parser = self._parser
        keeps, is_usual = parser.should_keep_alive(), self._headers == self._usual
        # httptools makes a text of the version each time. Only HTTP/1.1 goes on without being asked (RFC 9112, 9.3).
        version = "1.1" if keeps and is_usual and self._goes_on else parser.get_http_version()
        name = parser.get_method()
        method: str = _METHODS.get(name) or name.decode()
        if version != "1.1" and version != "1.0":
            self._refuse(505, "its version of HTTP is neither 1.0 nor 1.1")
        if self._silent or self._max_line < _HEAD or self._max_head < _HEAD:  # else it came in few enough bytes
            self._check_sizes()
        if not is_usual:
            self._framing_fields = self._read_fields(version)
        target = self._target
        if target[:1] != b"/" or _HASH in target or method == "CONNECT":
            target = self._plain_target(method, target)
        request = Request(method, target, version, self._headers, keeps)
        self._left = 0
        if (fields := self._framing_fields) is not None:
            self._frame(request, fields)
        self._request = request
        self.messages.append(request)

    def _check_sizes(self) -> None:
        self._silent = 0
        sizes = [len(name) + len(value) for name, value in self._headers]
        if max(sizes, default=0) > self._max_line:
            self._refuse(431, _TOO_LONG[431])
        if len(self._target) + sum(sizes) > self._max_head:
            self._refuse(431, TOO_LARGE)

    def _read_fields(self, version: str) -> dict[bytes, bytes] | None:
        """Check the fields. Return them if one of them says what follows the head."""
        fields = dict(self._headers)
        if len(self._headers) > self._max_fields:
            self._refuse(431, TOO_MANY)
        host = fields.get(b"host")
        if host != self._host or len(fields) != len(self._headers):
            self._check_host(host, version)
        # An application may change the list that it gets.
        self._usual = self._headers.copy() if host is not None else None
        self._goes_on = _PERSISTENCE.isdisjoint(fields)
        return None if _READ.isdisjoint(fields) else fields

    def _check_host(self, host: bytes | None, version: str) -> None:
        if sum(name == b"host" for name, _ in self._headers) > 1:
            self._refuse(400, "it has more than one Host")
        if host is None:
            if version == "1.1":
                self._refuse(400, "it has no Host")
        elif HOST.fullmatch(host) is None:
            self._refuse(400, "its Host is not a host and a port")
        else:
            self._host = host

    def _plain_target(self, method: str, target: bytes) -> bytes:
        """Return ``target`` as a path with its query, or ``*`` (RFC 9112, 3.2)."""
        if method == "CONNECT":
            self._refuse(501, "its method is CONNECT, which is for proxies")
        if _HASH in target:
            self._refuse(400, "its request target has a fragment")
        if target == b"*":
            if method != "OPTIONS":
                self._refuse(400, "its request target is *, which is for OPTIONS")
            return target
        found = _ABSOLUTE.fullmatch(target)
        if found is None or found[1][:1] in (b"", b":") or HOST.fullmatch(found[1]) is None:
            self._refuse(400, "its request target is neither a path nor a URL")
        # The target's authority counts, whatever Host says.
        self._headers = [(b"host", found[1]), *(field for field in self._headers if field[0] != b"host")]
        return found[2] if found[2][:1] == b"/" else b"/" + found[2]

    def _frame(self, request: Request, fields: dict[bytes, bytes]) -> None:
        """Find out how the body is framed (RFC 9112, 6), and what else the peer wants."""
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            self._check_coding(coding, request.version)
            self._left = -1
            self._framing = self._chunks = 0
        else:
            self._left = request.length = int(fields.get(b"content-length", b"0"))
        if self._left and self._flow is not None:
            self._body = request.body = Body(self._flow)
            if request.version == "1.1" and fields.get(b"expect", b"").lower() == b"100-continue":
                request.expects = request.needs_care = True
        if b"te" in fields and request.version == "1.1":
            request.takes_trailers = reads_trailers(self._headers)
        if b"upgrade" in fields and self._parser.should_upgrade() and request.method == "GET":
            request.upgrades = fields[b"upgrade"].lower() == b"websocket"

    def _check_coding(self, coding: bytes, version: str) -> None:
        """Refuse any coding that another server on the way may have framed differently (RFC 9112, 6.1)."""
        if version == "1.0":
            self._refuse(400, "it has a Transfer-Encoding in HTTP/1.0")
        if coding.lower() != b"chunked" or len(self._headers) != len(dict(self._headers)):
            values = [value for name, value in self._headers if name == b"transfer-encoding"]  # several are one list
            names = [each.strip() for each in b",".join(values).lower().split(b",")]
            if names == [b"chunked"]:
                return
            status = (
                501 if names[-1:] == [b"chunked"] and names.count(b"chunked") == 1 else 400
            )  # RFC 9112, 6.1 and 6.3
            self._refuse(status, "its Transfer-Encoding is not chunked")

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, piece: bytes) -> None:
        size = len(piece)
        if self._left < 0:
            self._framing -= size
        else:
            self._left -= size
        if self._body is not None:
            self._body.feed(piece)

    def on_message_complete(self) -> None:
        if (body := self._body) is not None:
            if self._left > 0 or (self._left < 0 and not self._chunks):
                return  # the body of a request that asks for another protocol: it follows
            self._body = None
            body.finish()
        if self._left < 0:
            self._silent = 1  # a head in the same bytes may be longer than _HEAD: its fields are measured
        self._left = 0
        self._completed = self._is_between = True

    def _refuse(self, status: int, why: str) -> NoReturn:
        self._refusal = Refusal(status, why, is_head=self._parser.get_method() == b"HEAD")
        raise _Refused
