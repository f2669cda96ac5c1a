"""The content of DATA: its end, its dots, its limits, in any fragments."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.mail.line_ends import has_bare, with_crlf
from protocols.mail.smtp.data import Content, MessageBuffer

LINE = 1 << 20


class Reading:
    """A message that is read, and is looked at as one piece."""

    def __init__(self, limit: int = 1000, max_line: int = LINE) -> None:
        self.buffer = MessageBuffer(limit, max_line)
        self.feed = Content(self.buffer).feed

    def message(self) -> bytes:
        message = self.buffer.take()
        if self.buffer.refusal is not None:
            raise self.buffer.refusal
        return message


def read(*chunks: bytes, limit: int = 1000, max_line: int = LINE) -> tuple[bytes, bytes]:
    content = Reading(limit, max_line)
    for chunk in chunks:
        rest = content.feed(chunk)
        if rest is not None:
            return content.message(), rest
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b".\r\n", (b"", b"")),
        (b"a\r\n.\r\n", (b"a\r\n", b"")),
        (b"..\r\n.\r\n", (b".\r\n", b"")),
        (b"a\r\n..b\r\n.c\r\n.\r\n", (b"a\r\n.b\r\nc\r\n", b"")),
        (b"\r\n\r\n.\r\nMAIL", (b"\r\n\r\n", b"MAIL")),
        (b"\x00\xff\r\n.\r\n.\r\n", (b"\x00\xff\r\n", b".\r\n")),
    ],
)
def test_the_end_and_the_dots(sent: bytes, expected: tuple[bytes, bytes]) -> None:
    assert read(sent) == expected
    assert read(*(sent[i : i + 1] for i in range(len(sent))))[0] == expected[0]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\x00.\r\n"])
def test_no_other_end_is_taken_and_nothing_is_smuggled(end: bytes) -> None:
    content = Reading()
    assert content.feed(b"a" + end + b"MAIL FROM:<b@x.org>\r\n") is None
    assert content.feed(b".\r\n") == b""
    message = content.message()
    assert message.startswith(b"a\r\n")
    assert message.endswith(b"MAIL FROM:<b@x.org>\r\n")
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    assert read(b"x" * 98 + b"\r\n.\r\n", limit=100)[0] == b"x" * 98 + b"\r\n"
    assert read(b"." * 99 + b"\r\n.\r\n", limit=100)[0] == b"." * 98 + b"\r\n"


def test_bare_line_ends_count_twice_since_they_are_repaired() -> None:
    assert read(b"\n" * 49 + b"\r\n.\r\n", limit=100)[0] == b"\r\n" * 50
    with pytest.raises(RemoteProtocolError) as caught:
        read(b"\n" * 50 + b"\r\n.\r\n", limit=100)
    assert caught.value.answer == 552


def test_a_message_over_the_limit_is_read_to_its_end_in_bounded_memory() -> None:
    content = Reading(100)
    for _ in range(1000):
        assert content.feed(b"x" * 1000) is None
        assert content.buffer.size <= 100
    assert content.feed(b"\r") is None
    assert content.feed(b"\n.\r") is None
    assert content.feed(b"\nQUIT\r\n") == b"QUIT\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        content.message()
    assert caught.value.answer == 552


def test_a_message_may_be_forgotten_while_it_comes() -> None:
    content = Reading()
    content.feed(b"x" * 500)
    content.buffer.discard()
    assert content.buffer.size == 0
    assert content.feed(b"\r\n.\r\nRSET") == b"RSET"


def test_a_long_line() -> None:
    line = b"y" * 98 + b"\r\n"
    assert read(line * 3 + b".\r\n", max_line=100)[0] == line * 3
    with pytest.raises(RemoteProtocolError) as caught:
        read(line + b"y" + line + line + b".\r\n", max_line=100)
    assert caught.value.answer == 500


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=40))
def test_any_content_in_any_fragments_comes_back(raw: bytes, cuts: list[int]) -> None:
    message = re.sub(rb"[\r\n]+", b"\r\n", raw) + b"\r\n"
    sent = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\nrest"
    content, rest = Reading(), None
    for size in [*cuts, len(sent)]:
        rest = content.feed(sent[:size])
        sent = sent[size:]
        if rest is not None:
            break
    assert content.message() == message
    assert (rest or b"") + sent == b"rest"


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n.\r\n"])))
def test_any_bytes_are_a_message_or_a_refusal(pieces: list[bytes]) -> None:
    content = Reading(100, 20)
    if content.feed(b"".join(pieces)) is None:
        return
    try:
        message = content.message()
    except RemoteProtocolError:
        return
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"])).map(b"".join))
def test_bare_line_ends_are_found_and_repaired(message: bytes) -> None:
    repaired = with_crlf(message)
    assert repaired == re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    assert has_bare(message) == (repaired != message)
    assert not has_bare(repaired)


@pytest.mark.parametrize("around", ["\r", "\n", "\r\n"])
def test_a_line_end_between_two_steps_is_one_line_end(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.mail.line_ends._STEP", 4)
    for before in range(9):
        assert has_bare(b"x" * before + around.encode() + b"x" * 9) == (around != "\r\n")


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r"])).map(b"".join), st.data())
def test_in_pieces_or_whole_it_is_the_same_message(sent: bytes, data: st.DataObject) -> None:
    sent += b"\r\n.\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    whole = Reading()
    rest = whole.feed(sent)
    assert rest is not None
    content = Reading()
    behind = next(found for piece in iter(lambda: pieces.pop(0), None) if (found := content.feed(piece)) is not None)
    assert behind + b"".join(pieces) == rest
    assert content.message() == whole.message()


def test_the_end_of_a_large_message_costs_little() -> None:
    """What it is made into, it is made into as it comes: a thousand such ends would take minutes otherwise."""
    content, piece = Reading(2**30, 2**30), b"\n..\r\n" * 4000
    began = time.process_time()
    for _ in range(1000):
        content.feed(piece)
    came = time.process_time()
    assert content.feed(b"\r\n.\r\n") == b""
    content.buffer.take()
    assert time.process_time() - came < (came - began) / 2


@pytest.mark.parametrize("step", [1, 7, 99, 100, 101])
@pytest.mark.parametrize("length", [98, 99, 100, 250])
def test_a_long_line_is_found_wherever_the_pieces_end(step: int, length: int) -> None:
    message = b"a\r\n" + b"y" * length + b"\r\nb\r\n"
    sent = message + b".\r\n"
    pieces = [sent[at : at + step] for at in range(0, len(sent), step)]
    if length + 2 <= 100:
        assert read(*pieces, max_line=100)[0] == message
        return
    with pytest.raises(RemoteProtocolError) as caught:
        read(*pieces, max_line=100)
    assert caught.value.answer == 500


def test_what_stands_before_the_message_is_not_counted() -> None:
    buffer = MessageBuffer(11, LINE, b"Received: x\r\n")
    buffer.add(b"A: 1\r\n\r\nb\r\n")
    assert buffer.size == 11
    assert buffer.refusal is None
    assert buffer.take() == b"Received: x\r\nA: 1\r\n\r\nb\r\n"


def test_a_message_that_was_taken_is_not_kept() -> None:
    buffer = MessageBuffer(1000, LINE)
    buffer.add(b"A: 1\r\n")
    assert buffer.take() == b"A: 1\r\n"
    assert buffer.take() == b""
