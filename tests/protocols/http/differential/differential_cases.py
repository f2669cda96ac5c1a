"""The requests of the differential suite, byte for byte, and what our server makes of each.

``PAUSE`` in the bytes of a case is where the client reads an answer, or an interim one, before it goes on.
"""

from dataclasses import dataclass

PAUSE = None
REFUSED = 400


@dataclass(frozen=True)
class Case:
    name: str
    sends: tuple[bytes | None, ...]
    statuses: tuple[int, ...] = (200,)
    """Our answers, interim ones included."""
    keeps: bool = True
    """Whether our server serves one more request on the connection."""
    runs: int = 1
    """How many runs our application has."""
    is_head: bool = False
    rooted: bool = False
    """Whether it is for the servers with a root path."""


CASES: dict[str, Case] = {}


def case(name: str, *sends: bytes | None, **facts: object) -> None:
    assert name not in CASES, name
    CASES[name] = Case(name, sends, **facts)


def refused(name: str, *sends: bytes | None, status: int = REFUSED, **facts: object) -> None:
    case(name, *sends, **{"statuses": (status,), "keeps": False, "runs": 0, **facts})


def get(path: str = "/one_piece", *fields: str, version: str = "1.1", method: str = "GET", host: str = "a") -> bytes:
    return head(f"{method} {path} HTTP/{version}", f"Host: {host}", *fields)


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def post(path: str, *fields: str, body: bytes = b"", version: str = "1.1") -> bytes:
    return get(path, *fields, method="POST", version=version) + body


def chunked(path: str, body: bytes, *fields: str) -> bytes:
    return post(path, "Transfer-Encoding: chunked", *fields, body=body)


# Methods.

for _method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "M-SEARCH", "PURGE"):
    case(f"method_{_method.lower()}", get("/one_piece", method=_method))
case("method_query", get(method="QUERY"))
case("method_head", get(method="HEAD"), is_head=True)
case("method_head_in_pieces", get("/in_pieces", method="HEAD"), is_head=True)
case("method_head_with_a_length", get("/with_a_length", method="HEAD"), is_head=True)
refused("method_lower_case", get(method="get"))
refused("method_unknown", get(method="SECRET"))
refused("method_connect", head("CONNECT a:443 HTTP/1.1", "Host: a:443"), status=501)
refused("method_empty", head(" / HTTP/1.1", "Host: a"))
refused("method_with_a_control", head("GE\x01T / HTTP/1.1", "Host: a"))
refused("method_with_a_bracket", head("GE(T / HTTP/1.1", "Host: a"))

# Targets.

for _name, _target in {
    "plain": "/a/b",
    "root": "/",
    "query": "/a?b=c&d",
    "empty_query": "/a?",
    "two_question_marks": "/a?b?c",
    "query_with_a_slash": "/a?b=/c",
    "query_percent": "/a?b=%20%2F+c",
    "percent_utf_8": "/caf%C3%A9",
    "percent_lower_case": "/caf%c3%a9",
    "percent_not_utf_8": "/caf%E9",
    "percent_slash": "/a%2Fb",
    "percent_nul": "/a%00b",
    "percent_percent": "/a%2525",
    "percent_question_mark": "/a%3Fb",
    "percent_hash": "/a%23b",
    "percent_cut_off": "/a%2",
    "percent_no_digits": "/a%zz",
    "percent_line_break": "/a%0D%0Ab",
    "percent_surrogate": "/%ED%A0%80",
    "percent_overlong": "/%C0%AF",
    "two_slashes": "//a//b",
    "two_slashes_host": "//b/c",
    "dots": "/a/../b/./c",
    "dots_percent": "/a/%2e%2e/b",
    "semicolon": "/a;b=c/d;e",
    "characters": "/a:b@c!$&'()*+,;=~-._",
    "not_of_rfc_3986": "/a|b^c`d{e}",
    "quotes": '/a"b<c>',
    "brackets": "/a[b]",
    "backslash": "/a\\b",
    "absolute_in_the_path": "/http://b/c",
}.items():
    case(f"target_{_name}", get(_target))
case("target_absolute", get("http://b/c?d"))
case("target_absolute_with_a_port", get("http://b:81/c?d"))
case("target_absolute_without_a_path", get("http://b"))
case("target_absolute_with_a_query_alone", get("http://b?c"))
case("target_absolute_https", get("https://b/c"))
refused("target_absolute_with_a_user", get("http://u:p@b/c"))
case("target_asterisk", get("*", method="OPTIONS"))
refused("target_asterisk_get", get("*"))
refused("target_authority", get("a:80"))
refused("target_relative", get("a/b"))
refused("target_empty", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n")
refused("target_fragment", get("/a#b"))
refused("target_raw_utf_8", "GET /café HTTP/1.1\r\nHost: a\r\n\r\n".encode())
refused("target_raw_latin_1", get("/caf\xe9"))
refused("target_query_raw", get("/a?caf\xe9"))
refused("target_control", get("/a\x01b"))
refused("target_del", get("/a\x7fb"))
refused("target_nul", get("/a\x00b"))
refused("target_tab", get("/a\tb"))
refused("target_space", get("/a b"))
refused("target_long", get("/" + "a" * 70_000), status=414)

# Root paths.

case("root_path", get("/a/b?c"), rooted=True)
case("root_path_root", get("/"), rooted=True)
case("root_path_percent", get("/caf%C3%A9%2F"), rooted=True)
case("root_path_twice", get("/app/a"), rooted=True)

# Request lines and versions.

case("line_two_spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n")
refused("line_tab", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n")
refused("line_space_at_the_end", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n")
refused("line_space_at_the_beginning", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n")
refused("line_bare_lf", b"GET / HTTP/1.1\nHost: a\n\n")
refused("line_bare_cr", b"GET / HTTP/1.1\rHost: a\r\r")
case("line_crlf_before", b"\r\n" + get())
case("line_crlfs_before", b"\r\n\r\n" + get())
case("line_lf_before", b"\n" + get())
refused("version_0.9", b"GET /\r\n\r\n", status=505)
refused("version_0.9_said", get(version="0.9"), status=505)
case("version_1.0", get(version="1.0"), keeps=False)
refused("version_1.2", get(version="1.2"))
refused("version_2.0", get(version="2.0"), status=505)
refused("version_3", get(version="3"))
refused("version_10.1", get(version="10.1"))
refused("version_lower_case", b"GET / http/1.1\r\nHost: a\r\n\r\n")
case("version_other_protocol", b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", keeps=False)
refused("version_h2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
refused("tls_on_a_plain_port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
refused("nonsense", b"hello\r\n\r\n")

# Host.

refused("host_missing", head("GET / HTTP/1.1"))
case("host_missing_1.0", head("GET / HTTP/1.0"), keeps=False)
refused("host_twice", get("/", "Host: b"))
refused("host_twice_the_same", get("/", "Host: a"))
case("host_empty", get(host=""))
case("host_port", get(host="a:8000"))
case("host_upper_case", get(host="A.Example"))
case("host_ipv6", get(host="[::1]:80"))
case("host_ipv4", get(host="127.0.0.1"))
case("host_empty_port", get(host="a:"))
refused("host_bad_port", get(host="a:b"))
refused("host_slash", get(host="a/b"))
refused("host_user", get(host="u@a"))
refused("host_space", get(host="a b"))
refused("host_list", get(host="a, b"))
refused("host_quote", get(host='a"b'))
refused("host_utf_8", get(host="caf\xc3\xa9"))

# Fields.

case("field_order", get("/", "B: 1", "A: 2", "B: 3"))
case("field_case", get("/", "X-UPPER: Ab", "x-lower: cD"))
case("field_empty_value", get("/", "X:", "Y: "))
case("field_no_space", get("/", "X:a"))
case("field_many_spaces", get("/", "X:  \t a b \t "))
case("field_latin_1", get("/", "X: caf\xe9"))
case("field_quotes", get("/", 'X: "a, b"; c="d"'))
case("field_colons", get("/", "X: a:b:c"))
case("field_token_characters", get("/", "X!#$%&'*+-.^_`|~1: a"))
case("field_underscore", get("/", "X_A: 1", "X-A: 2"))
case("field_cookies", get("/", "Cookie: a=1", "Cookie: b=2"))
case("field_hundred", get("/", *[f"X-{number}: {number}" for number in range(90)]))
refused("field_space_before_the_colon", get("/", "X : a"))
refused("field_tab_before_the_colon", get("/", "X\t: a"))
refused("field_space_in_the_name", get("/", "X Y: a"))
refused("field_space_first", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n")
refused("field_no_name", get("/", ": a"))
refused("field_no_colon", get("/", "X"))
refused("field_bracket_in_the_name", get("/", "X(Y): a"))
refused("field_utf_8_name", get("/", "caf\xc3\xa9: a"))
refused("field_control_in_the_name", get("/", "X\x01: a"))
refused("field_nul", get("/", "X: a\x00b"))
refused("field_control", get("/", "X: a\x01b"))
refused("field_del", get("/", "X: a\x7fb"))
refused("field_bare_cr", get("/", "X: a\rb"))
refused("field_bare_cr_at_the_end", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n")
refused("field_bare_lf", get("/", "X: a\nY: b"))
refused("field_bare_lf_at_the_end", b"GET / HTTP/1.1\r\nHost: a\r\n\n")
refused("field_obs_fold", get("/", "X: a", " b"))
refused("field_obs_fold_tab", get("/", "X: a", "\tb"))
refused("field_long", get("/", "X: " + "a" * 140_000), status=431)
refused("fields_too_many", get("/", *["X: y"] * 5000), status=431)

# Keeping the connection.

case("keep_close", get("/", "Connection: close"), keeps=False)
case("keep_close_upper_case", get("/", "Connection: CLOSE"), keeps=False)
case("keep_close_in_a_list", get("/", "Connection: x, close"), keeps=False)
case("keep_close_in_a_second_field", get("/", "Connection: x", "Connection: close"), keeps=False)
case("keep_close_and_keep", get("/", "Connection: keep-alive, close"), keeps=False)
case("keep_keep", get("/", "Connection: keep-alive"))
case("keep_1.0_keep", get("/", "Connection: keep-alive", version="1.0"))
case("keep_1.0_keep_upper_case", get("/", "Connection: Keep-Alive", version="1.0"))
case("keep_1.0_keep_in_pieces", get("/in_pieces", "Connection: keep-alive", version="1.0"), keeps=False)
case(
    "keep_1.0_keep_with_a_length",
    get("/in_pieces_with_a_length", "Connection: keep-alive", version="1.0"),
)
case("keep_application_closes", get("/close"), keeps=False)
case("keep_application_closes_in_a_list", get("/close_in_a_list"), keeps=False)
case("keep_after_close_ignored", get("/", "Connection: close") + get(), keeps=False)
case("keep_nonsense_after_close", get("/", "Connection: close") + b"hello", keeps=False)

# Bodies.

case("body_length", post("/", "Content-Length: 5", body=b"hello"))
case("body_length_0", post("/", "Content-Length: 0"))
case("body_length_zeros", post("/", "Content-Length: 005", body=b"hello"))
case("body_length_spaces", post("/", "Content-Length:  5 ", body=b"hello"))
case("body_length_get", get("/", "Content-Length: 5") + b"hello")
case("body_length_in_pieces", post("/", "Content-Length: 10", body=b"hello") + b"world")
case("body_length_unread", post("/unread", "Content-Length: 5", body=b"hello"))
case("body_first_piece", post("/first_piece", "Content-Length: 5", body=b"hello"))
case("body_none", post("/"))
case("body_1.0", post("/", "Content-Length: 5", body=b"hello", version="1.0"), keeps=False)
case("body_large", post("/", "Content-Length: 300000", body=b"x" * 300_000))
refused("body_length_plus", post("/", "Content-Length: +5", body=b"hello"))
refused("body_length_minus", post("/", "Content-Length: -5", body=b"hello"))
refused("body_length_hex", post("/", "Content-Length: 0x5", body=b"hello"))
refused("body_length_underscore", post("/", "Content-Length: 1_0", body=b"helloworld"))
refused("body_length_empty", post("/", "Content-Length:"))
refused("body_length_text", post("/", "Content-Length: five"))
refused("body_length_list", post("/", "Content-Length: 5, 5", body=b"hello"))
refused("body_length_space_within", post("/", "Content-Length: 1 0", body=b"hello"))
refused("body_length_twice", post("/", "Content-Length: 5", "Content-Length: 5", body=b"hello"))
refused("body_length_two", post("/", "Content-Length: 5", "Content-Length: 6", body=b"hello"))
refused("body_length_2_to_the_70", post("/", f"Content-Length: {2**70}"))
refused("body_length_arabic", post("/", "Content-Length: \xd9\xa5", body=b"hello"))
case("body_chunked", chunked("/", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"))
case("body_chunked_empty", chunked("/", b"0\r\n\r\n"))
case("body_chunked_upper_case", post("/", "Transfer-Encoding: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"))
case("body_chunked_hex", chunked("/", b"A\r\nhelloworld\r\nb\r\nhelloworld!\r\n0\r\n\r\n"))
case("body_chunked_zeros", chunked("/", b"0005\r\nhello\r\n000\r\n\r\n"))
case("body_chunked_extension", chunked("/", b"5;a\r\nhello\r\n0\r\n\r\n"))
case("body_chunked_extension_value", chunked("/", b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n"))
case("body_chunked_extension_quoted", chunked("/", b'5;a="b c"\r\nhello\r\n0\r\n\r\n'))
case("body_chunked_trailers", chunked("/", b"5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n", "Trailer: X-Trailer"))
case("body_chunked_get", get("/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
case("body_chunked_unread", post("/unread", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"))
_BAD_CHUNKS = {
    "size_0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size_plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size_minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "size_underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size_empty": b"\r\nhello\r\n0\r\n\r\n",
    "size_text": b"zz\r\nhello\r\n0\r\n\r\n",
    "size_space_after": b"5 \r\nhello\r\n0\r\n\r\n",
    "size_space_before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size_overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare_lf_after_the_size": b"5\nhello\r\n0\r\n\r\n",
    "bare_cr_after_the_size": b"5\rhello\r\n0\r\n\r\n",
    "bare_lf_after_the_data": b"5\r\nhello\n0\r\n\r\n",
    "nothing_after_the_data": b"5\r\nhello0\r\n\r\n",
    "data_too_long": b"5\r\nhelloX\r\n0\r\n\r\n",
    "bare_lf_at_the_end": b"5\r\nhello\r\n0\n\n",
    "extension_with_an_lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extension_with_a_cr": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "extension_with_a_nul": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "trailer_bad": b"5\r\nhello\r\n0\r\nX Y: a\r\n\r\n",
    "trailer_content_length": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer_connection": b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n",
    "trailer_obs_fold": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
}
for _name, _chunks in _BAD_CHUNKS.items():
    case(f"chunks_{_name}", chunked("/", _chunks), statuses=(400,), keeps=False)
_CODINGS = {
    "unknown": ("xchunked", 400),
    "identity": ("identity", 400),
    "gzip_first": ("gzip, chunked", 501),
    "gzip_last": ("chunked, gzip", 400),
    "twice": ("chunked, chunked", 400),
    "empty": ("", 400),
    "quoted": ('"chunked"', 400),
    "parameter": ("chunked;a=b", 400),
    "comma": ("chunked,", 400),
    "comma_first": (", chunked", 501),
    "vertical_tab": ("\x0bchunked", 400),
    "no_break_space": ("chunked\xa0", 400),
    "control": ("chunked\x00", 400),
}
for _name, (_coding, _status) in _CODINGS.items():
    _bytes = post("/", f"Transfer-Encoding: {_coding}", body=b"5\r\nhello\r\n0\r\n\r\n")
    refused(f"coding_{_name}", _bytes, status=_status)
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
refused("coding_and_a_length", chunked("/", _CHUNKS, "Content-Length: 5"))
refused("coding_behind_a_length", post("/", "Content-Length: 5", "Transfer-Encoding: chunked", body=_CHUNKS))
refused("coding_two_fields", chunked("/", _CHUNKS, "Transfer-Encoding: chunked"))
refused("coding_two_fields_identity", chunked("/", _CHUNKS, "Transfer-Encoding: identity"))
refused(
    "coding_two_fields_the_other_way",
    post("/", "Transfer-Encoding: x", "Transfer-Encoding: chunked", body=_CHUNKS),
    status=501,
)
refused("coding_1.0", post("/", "Transfer-Encoding: chunked", body=_CHUNKS, version="1.0"))
refused("coding_space_before_the_colon", post("/", "Transfer-Encoding : chunked", body=_CHUNKS))
refused("coding_folded", post("/", "Transfer-Encoding:", " chunked", body=_CHUNKS))
case("coding_te", get("/", "TE: trailers", "Connection: TE"))

# Expect.

_EXPECTS = "Expect: 100-continue"
case("expect", post("/", "Content-Length: 5", _EXPECTS), PAUSE, b"hello", statuses=(100, 200))
case("expect_upper_case", post("/", "Content-Length: 5", "Expect: 100-CONTINUE"), PAUSE, b"hello", statuses=(100, 200))
case("expect_unread", post("/unread", "Content-Length: 5", _EXPECTS), PAUSE, statuses=(200,), keeps=False)
case("expect_body_at_once", post("/", "Content-Length: 5", _EXPECTS, body=b"hello"))
case("expect_without_a_body", get("/", _EXPECTS))
case("expect_length_0", post("/", "Content-Length: 0", _EXPECTS))
case("expect_other", post("/", "Content-Length: 5", "Expect: x", body=b"hello"))
case("expect_1.0", post("/", "Content-Length: 5", _EXPECTS, body=b"hello", version="1.0"), keeps=False)
case(
    "expect_chunked",
    post("/", "Transfer-Encoding: chunked", _EXPECTS),
    PAUSE,
    b"5\r\nhello\r\n0\r\n\r\n",
    statuses=(100, 200),
)

# One request behind the other.

case("pipelined_two", get("/a") + get("/b"), statuses=(200, 200), runs=2)
case("pipelined_after_a_body", post("/a", "Content-Length: 5", body=b"hello") + get("/b"), statuses=(200, 200), runs=2)
case("pipelined_after_chunks", chunked("/a", _CHUNKS) + get("/b"), statuses=(200, 200), runs=2)
case(
    "pipelined_after_an_unread_body",
    post("/unread", "Content-Length: 5", body=b"hello") + get("/b"),
    statuses=(200, 200),
    runs=2,
)
case("pipelined_crlf_between", get("/a") + b"\r\n" + get("/b"), statuses=(200, 200), runs=2)
case("pipelined_nonsense_behind", get("/a") + b"hello\r\n\r\n", statuses=(200, 400), keeps=False)
case("pipelined_ten", b"".join(get(f"/{number}") for number in range(10)), statuses=(200,) * 10, runs=10)
case("pipelined_crash", get("/crash") + get("/b"), statuses=(500,), keeps=False)
case("pipelined_204", get("/204") + get("/b"), statuses=(204, 200), runs=2)
case(
    "one_after_the_other", get("/a"), PAUSE, post("/b", "Content-Length: 5", body=b"hello"), statuses=(200, 200), runs=2
)

# Answers.

for _path in ("one_piece", "with_a_length", "in_pieces", "in_pieces_with_a_length", "an_empty_piece", "nothing"):
    case(f"answer_{_path}", get(f"/{_path}"))
for _path in ("no_body_key", "no_headers_key", "two_cookies", "upper_case", "latin_1", "an_empty_value", "own_framing"):
    case(f"answer_{_path}", get(f"/{_path}"))
for _path in ("204", "304", "205", "404", "500", "599"):
    case(f"answer_{_path}", get(f"/{_path}"), statuses=(int(_path),))
case("answer_204_with_a_body", get("/204_with_a_body"), statuses=(204,))
case("answer_304_with_a_body", get("/304_with_a_body"), statuses=(304,))
case("answer_304_with_a_length", get("/304_with_a_length"), statuses=(304,))
case("answer_own_date", get("/own_date"))
case("answer_in_pieces_1.0", get("/in_pieces", version="1.0"), keeps=False)
case("answer_one_piece_1.0", get("/one_piece", version="1.0"), keeps=False)
case("answer_too_short", get("/too_short"), keeps=False)
for _path in ("too_long", "a_line_break", "status_100", "no_such_event", "body_first", "str_headers", "crash"):
    case(f"answer_{_path}", get(f"/{_path}"), statuses=(500,), keeps=False)
case("answer_no_answer", get("/no_answer"), statuses=(500,), keeps=False)
case("answer_only_a_start", get("/only_a_start"), statuses=(500,), keeps=False)
case("answer_two_starts", get("/two_starts"), statuses=(500,), keeps=False)
case("answer_crash_after_the_start", get("/crash_after_the_start"), statuses=(500,), keeps=False)
case("answer_only_a_piece", get("/only_a_piece"), keeps=False)
case("answer_only_a_piece_with_a_length", get("/only_a_piece_with_a_length"), keeps=False)
case("answer_crash_in_the_body", get("/crash_in_the_body"), keeps=False)
case("answer_body_after_the_end", get("/body_after_the_end"))
case("answer_crash_after_the_end", get("/crash_after_the_end"))
case("answer_then_disconnect", get("/then_disconnect"))
case("leaves", get("/until_it_leaves"), statuses=(), keeps=False)

# WebSocket.

_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", _KEY)
_TEXT = b"\x81\x85\0\0\0\0hello"
_CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
case("ws_echo", get("/ws/echo", *_UPGRADE), PAUSE, _TEXT, PAUSE, _CLOSE, statuses=(101,), keeps=False)
case("ws_headers", get("/ws/headers", *_UPGRADE), PAUSE, _CLOSE, statuses=(101,), keeps=False)
case("ws_query", get("/ws/a%20b?c=%20", *_UPGRADE), PAUSE, _CLOSE, statuses=(101,), keeps=False)
for _name, _fields in {
    "subprotocol": ["Sec-WebSocket-Protocol: b, a"],
    "subprotocols_in_two_fields": ["Sec-WebSocket-Protocol: b", "Sec-WebSocket-Protocol: a"],
    "origin": ["Origin: http://a.example"],
    "extension_unknown": ["Sec-WebSocket-Extensions: x-unknown"],
}.items():
    case(f"ws_{_name}", get("/ws/echo", *_UPGRADE, *_fields), PAUSE, _CLOSE, statuses=(101,), keeps=False)
case(
    "ws_upgrade_in_a_list",
    get("/ws/echo", "Connection: keep-alive, Upgrade", *_UPGRADE[1:]),
    PAUSE,
    _CLOSE,
    statuses=(101,),
    keeps=False,
)
case(
    "ws_upgrade_upper_case",
    get("/ws/echo", "Connection: UPGRADE", "Upgrade: WebSocket", *_UPGRADE[2:]),
    PAUSE,
    _CLOSE,
    statuses=(101,),
    keeps=False,
)
case("ws_close", get("/ws/close", *_UPGRADE), PAUSE, statuses=(403,), keeps=False)
case("ws_crash", get("/ws/crash", *_UPGRADE), PAUSE, statuses=(500,), keeps=False)
case("ws_return", get("/ws/return", *_UPGRADE), PAUSE, statuses=(500,), keeps=False)
case("ws_close_later", get("/ws/close_later", *_UPGRADE), PAUSE, PAUSE, _CLOSE, statuses=(101,), keeps=False)
case("ws_crash_later", get("/ws/crash_later", *_UPGRADE), PAUSE, PAUSE, _CLOSE, statuses=(101,), keeps=False)
refused("ws_no_key", get("/ws/echo", *_UPGRADE[:3]))
refused("ws_bad_key", get("/ws/echo", *_UPGRADE[:3], "Sec-WebSocket-Key: x"))
refused("ws_version_12", get("/ws/echo", *_UPGRADE[:2], "Sec-WebSocket-Version: 12", _KEY), status=426)
refused("ws_body", get("/ws/echo", *_UPGRADE, "Content-Length: 5") + b"hello")
refused("ws_1.0", get("/ws/echo", *_UPGRADE, version="1.0"))
case("ws_post", get("/one_piece", *_UPGRADE, method="POST"))
case("ws_no_connection", get("/one_piece", *_UPGRADE[1:]))
case(
    "upgrade_h2c", get("/one_piece", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
)
case("upgrade_unknown", get("/one_piece", "Connection: Upgrade", "Upgrade: x"))
