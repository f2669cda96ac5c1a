"""The frames of WebSocket: the cases of Autobahn's sections 1 to 10, one byte at a time and all at once."""

from itertools import pairwise
from typing import Any

import pytest
from client_frames import client_frame, unmasked
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from protocols.errors import RemoteProtocolError
from protocols.http.frames import BINARY, CLOSE, FRAGMENT, PING, PONG, TEXT, FrameReader, frame

LONGEST = 100_000
TEXT_FRAME, BINARY_FRAME, CLOSE_FRAME, PING_FRAME, PONG_FRAME = 0x81, 0x82, 0x88, 0x89, 0x8A
BEGIN, MIDDLE, END = 0x01, 0x00, 0x80
UTF8 = "κόσμε \U0010ffff".encode()


def read(pieces: list[bytes], longest: int = LONGEST) -> list[Any]:
    """What comes out; an error is its code, and the last."""
    reader, heard = FrameReader(longest), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (found := reader.next()) is not None:
                if found[0] != FRAGMENT:
                    heard.append(found)
    except RemoteProtocolError as error:
        heard.append(error.answer)
    return heard


def both_ways(data: bytes) -> list[Any]:
    at_once = read([data])
    assert read([data[n : n + 1] for n in range(len(data))]) == at_once
    return at_once


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, LONGEST])
def test_messages_of_every_length(size: int) -> None:
    """Sections 1 and 9."""
    assert read([client_frame(TEXT_FRAME, b"*" * size)]) == [(TEXT, "*" * size)]
    assert read([client_frame(BINARY_FRAME, b"\xfe" * size)]) == [(BINARY, b"\xfe" * size)]
    assert read([client_frame(BINARY_FRAME, b"\xfe" * size)[:-1]] if size else []) == []


@pytest.mark.parametrize(
    ("frames", "heard"),
    [
        # 2: pings and pongs
        ([(PING_FRAME, b"")], [(PING, b"")]),
        ([(PING_FRAME, b"\0\xff\xfe")], [(PING, b"\0\xff\xfe")]),
        ([(PING_FRAME, b"\xfe" * 125)], [(PING, b"\xfe" * 125)]),
        ([(PONG_FRAME, b"unsolicited"), (PING_FRAME, b"x")], [(PONG, b"unsolicited"), (PING, b"x")]),
        ([(PING_FRAME, b"x" * 126)], [1002]),
        # 3: reserved bits
        *(([(first, b"x")], [1002]) for bits in range(0x10, 0x80, 0x10) for first in (0x81 | bits, 0x89 | bits)),
        ([(TEXT_FRAME, b"a"), (0xC1, b"b"), (PING_FRAME, b"")], [(TEXT, "a"), 1002]),
        ([(BEGIN, b"a"), (0xC0, b"b")], [1002]),
        # 4: opcodes
        *(([(TEXT_FRAME, b"a"), (0x80 | opcode, b"")], [(TEXT, "a"), 1002]) for opcode in (3, 4, 5, 6, 7)),
        *(([(TEXT_FRAME, b"a"), (0x80 | opcode, b"")], [(TEXT, "a"), 1002]) for opcode in range(11, 16)),
        # 5: fragments
        ([(PING & 0x7F, b"a"), (END, b"b")], [1002]),
        ([(PONG & 0x7F, b"a"), (END, b"b")], [1002]),
        ([(CLOSE & 0x7F, b"")], [1002]),
        ([(BEGIN, b"a"), (END, b"b")], [(TEXT, "ab")]),
        ([(BEGIN, b"a"), (PING_FRAME, b"p"), (END, b"b")], [(PING, b"p"), (TEXT, "ab")]),
        ([(BEGIN, b""), (MIDDLE, b""), (PING_FRAME, b"p"), (END, b"")], [(PING, b"p"), (TEXT, "")]),
        ([(0x02, b"a"), (MIDDLE, b"b"), (END, b"c")], [(BINARY, b"abc")]),
        ([(END, b"b"), (TEXT_FRAME, b"a")], [1002]),
        ([(MIDDLE, b"b"), (TEXT_FRAME, b"a")], [1002]),
        ([(BEGIN, b"a"), (END, b"b"), (MIDDLE, b"c")], [(TEXT, "ab"), 1002]),
        ([(BEGIN, b"a"), (TEXT_FRAME, b"b")], [1002]),
        ([(BEGIN, b""), (TEXT_FRAME, b"b")], [1002]),
        ([(BEGIN, b"a"), (BEGIN, b"b")], [1002]),
        # 6: UTF-8, also as soon as it is wrong
        ([(TEXT_FRAME, UTF8)], [(TEXT, UTF8.decode())]),
        (
            [(BEGIN, UTF8[:1]), *((MIDDLE, UTF8[n : n + 1]) for n in range(1, len(UTF8))), (END, b"")],
            [(TEXT, UTF8.decode())],
        ),
        ([(BEGIN, b"\xce\xba\xe1\xbd\xb9"), (MIDDLE, b"\xf4\x90\x80\x80")], [1007]),
        ([(BEGIN, b"\xce"), (END, b"")], [1007]),
        ([(BEGIN, b""), (END, b"\xce")], [1007]),
        *(
            ([(TEXT_FRAME, bad)], [1007])
            for bad in (b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf8\x88\x80\x80\x80")
        ),
        *(
            ([(TEXT_FRAME, bad)], [1007])
            for bad in (b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\xfe", b"\xff", b"\xf0\x80\x80\xaf", b"\xc3")
        ),
        *(
            ([(TEXT_FRAME, good.encode())], [(TEXT, good)])
            for good in ("\ud7ff", "\ue000", "\ufffd", "\uffff", "\U0001fffe")
        ),
        ([(BINARY_FRAME, b"\xff\xfe")], [(BINARY, b"\xff\xfe")]),
        # 7: closes
        ([(CLOSE_FRAME, b"")], [(CLOSE, (1005, ""))]),
        ([(CLOSE_FRAME, b"\x03")], [1002]),
        ([(CLOSE_FRAME, b"\x03\xe8")], [(CLOSE, (1000, ""))]),
        ([(CLOSE_FRAME, b"\x03\xe8" + UTF8)], [(CLOSE, (1000, UTF8.decode()))]),
        ([(CLOSE_FRAME, b"\x03\xe8" + b"*" * 123)], [(CLOSE, (1000, "*" * 123))]),
        ([(CLOSE_FRAME, b"\x03\xe8" + b"*" * 124)], [1002]),
        ([(CLOSE_FRAME, b"\x03\xe8\xce")], [1007]),
        *(
            ([(CLOSE_FRAME, code.to_bytes(2))], [(CLOSE, (code, ""))])
            for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
        ),
        *(
            ([(CLOSE_FRAME, code.to_bytes(2))], [1002])
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ),
        # 9, 10: lengths
        ([(BEGIN, b"x" * LONGEST), (END, b"")], [(TEXT, "x" * LONGEST)]),
        ([(BEGIN, b"x" * LONGEST), (END, b"x")], [1009]),
        ([(TEXT_FRAME, b"x" * (LONGEST + 1))], [1009]),
        ([(CLOSE_FRAME, b""), (TEXT_FRAME, b"a")], [(CLOSE, (1005, "")), (TEXT, "a")]),
    ],
)
def test_what_a_client_sends(frames: list[tuple[int, bytes]], heard: list[Any]) -> None:
    data = b"".join(client_frame(*each) for each in frames)
    assert (read([data]) if len(data) > 10_000 else both_ways(data)) == heard


@pytest.mark.parametrize("length", [2, 8])
@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_length_in_more_bytes_than_it_needs_is_refused(length: int, size: int) -> None:
    assert both_ways(client_frame(TEXT_FRAME, b"x" * size, length=length)) == [1002]
    assert both_ways(client_frame(PING_FRAME, b"x" * size, length=length)) == [1002]


def test_a_length_of_64_bits_is_not_negative_and_not_below_16_bits() -> None:
    assert both_ways(b"\x82\xff" + b"\x80" + bytes(7)) == [1002]
    assert both_ways(b"\x82\xff" + (65535).to_bytes(8)) == [1002]
    assert both_ways(b"\x82\xff\x7f" + b"\xff" * 7) == [1009]


@pytest.mark.parametrize(
    "frames",
    [
        [(TEXT_FRAME, b"first")],
        [(TEXT_FRAME, b"first"), (TEXT_FRAME, b"second")],
        [(BEGIN, b"a"), (END, b"b")],
        [(BEGIN, b"a"), (MIDDLE, b"b"), (END, b"c")],
        [(BEGIN, b"a"), (PING_FRAME, b"p")],
        [(TEXT_FRAME, b"a"), (PONG_FRAME, b"")],
        [(TEXT_FRAME, b"a"), (CLOSE_FRAME, b"\x03\xe8")],
        [(BINARY_FRAME, b"x" * 126)],
    ],
)
def test_each_frame_needs_a_mask(frames: list[tuple[int, bytes]]) -> None:
    """RFC 6455, 5.1: also a continuation, and a control frame among the fragments."""
    *before, last = [client_frame(*each, mask=bytes(4)) for each in frames]
    assert both_ways(b"".join([*before, unmasked(last)]))[-1] == 1002
    assert 1002 not in both_ways(b"".join([*before, last]))


def test_tiny_fragments_are_counted() -> None:
    """They take no memory, but each takes time: a million of them would be one message."""
    pieces = [client_frame(BEGIN, b"")] + [client_frame(MIDDLE, b"")] * 2000
    assert read([b"".join(pieces)]) == [1008]
    pieces = [client_frame(BEGIN, b"x")] + [client_frame(MIDDLE, b"x" * 64)] * 1500 + [client_frame(END, b"")]
    assert read([b"".join(pieces)]) == [(TEXT, "x" * (1 + 64 * 1500))]
    pieces = [client_frame(0x02, b"x"), *[client_frame(MIDDLE, b"y")] * 1000, client_frame(END, b"")]
    assert read([b"".join(pieces * 3)]) == [(BINARY, b"x" + b"y" * 1000)] * 3  # counted for each message


def test_nothing_is_kept_of_a_message_that_was_read() -> None:
    reader = FrameReader(LONGEST)
    reader.feed(client_frame(BINARY_FRAME, b"x" * 70_000)[:50_000])
    assert reader.next() is None
    assert reader._data == b""
    reader.feed(client_frame(BINARY_FRAME, b"x" * 70_000)[50_000:])
    assert reader.next() is not None
    assert (len(reader._payload), len(reader._message)) == (0, 0)


FRAMES = st.builds(
    client_frame,
    st.one_of(
        st.sampled_from([TEXT_FRAME, BINARY_FRAME, PING_FRAME, PONG_FRAME, BEGIN, MIDDLE, END]), st.integers(0, 255)
    ),
    st.one_of(st.binary(max_size=200), st.text(max_size=40).map(str.encode)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(FRAMES, st.binary(max_size=8)), max_size=8), st.lists(st.integers(0, 1500), max_size=6))
def test_any_bytes_in_any_pieces_are_read_in_the_same_way(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    at_once = read([data], 300)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert read([data[start:end] for start, end in pairwise(edges)], 300) == at_once
    assert all(isinstance(each, tuple) or each in (1002, 1007, 1008, 1009) for each in at_once)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), st.text(max_size=100).map(str.encode))
def test_what_the_library_websockets_writes_is_read_and_the_other_way_round(opcode: Opcode, payload: bytes) -> None:
    payload = payload[:125].decode(errors="ignore").encode()
    written = Frame(opcode, payload).serialize(mask=True)
    assert read([written]) == [(opcode, payload.decode() if opcode is Opcode.TEXT else payload)]
    assert Frame(opcode, payload).serialize(mask=False) == frame(opcode, payload)
