"""Response heads, without a socket."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.http.events import start
from protocols.http.head import encode, interim, plain, status_line


def test_status_lines() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(299) == b"HTTP/1.1 299 \r\n"


@pytest.mark.parametrize("status", [0, 99, 100, 103, 199, 600, -1])
def test_what_is_no_status(status: int) -> None:
    with pytest.raises(LocalProtocolError):
        start({"type": "http.response.start", "status": status})


def test_framing_is_taken_out() -> None:
    fields, length, close, dated = encode(
        [(b"Content-Length", b"12"), (b"X-A", b"b"), (b"transfer-encoding", b"gzip"), (b"Connection", b"x, Close")]
    )
    assert fields == b"x-a: b\r\n"
    assert (length, close, dated) == (12, True, False)


def test_the_same_head_is_the_same_bytes_however_often_it_comes() -> None:
    """The first is encoded, the second is found, the last come after many that were never found."""
    fields = [(b"x-a", b"b"), (b"content-length", b"3"), (b"connection", b"close")]
    first = encode(fields)
    assert encode(iter(fields)) == first
    assert encode(iter([[b"x-a", b"b"]])) == (b"x-a: b\r\n", None, False, False)
    for number in range(25_000):
        assert encode([(b"etag", b"%d" % number)])[0] == b"etag: %d\r\n" % number
    assert encode(fields) == first
    assert encode([[b"x-a", b"b"]]) == (b"x-a: b\r\n", None, False, False)  # some do
    assert encode([(b"x", b"%d" % number) for number in range(1000)])[0].count(b"\r\n") == 1000


def test_long_fields_are_not_remembered() -> None:
    """A redirect or a cookie may have any length: a thousand of them would fill the memory."""
    tracemalloc.start()
    try:
        for number in range(200):
            assert len(encode([(b"location", b"/%d/%b" % (number, b"x" * 100_000))])[0]) > 100_000
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_date_of_the_application_stays() -> None:
    assert encode([(b"date", b"today")]) == (b"date: today\r\n", None, False, True)


def test_the_servers_own_answers() -> None:
    assert plain(404).endswith(b"\r\n\r\nNot Found")
    assert plain(404, body=False).endswith(b"\r\n\r\n")
    assert interim(103, [(b"link", b"<x>")]) == b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"


@given(name=st.binary(max_size=8), value=st.binary(max_size=8))
def test_a_field_is_one_line_or_refused(name: bytes, value: bytes) -> None:
    try:
        fields, _, _, _ = encode([(name, value), (b"date", b"")])
    except LocalProtocolError:
        return
    lines = fields.split(b"\r\n")
    assert len(lines) == 3
    assert lines[0] == name.lower() + b": " + value
    assert not set(value) & ({0x7F} | (set(range(0x20)) - {0x09}))
