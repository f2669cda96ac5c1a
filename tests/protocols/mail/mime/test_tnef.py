"""winmail.dat: what Outlook packs into it, what tnefparse finds in it, and whatever else."""

import struct
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tnefparse.tnef import TNEF

from protocols.mail.mime import Limits, Part, parse
from protocols.mail.mime.tnef import MOST, read_tnef

SIGNATURE = struct.pack("<IH", 0x223E9F78, 1)
TYPES = {0x9002: 6, 0x9003: 6, 0x9005: 6, 0x9007: 6, 0x8010: 1, 0x800F: 6, 0x800C: 2, 0x9006: 8}
MESSAGE = bytes.fromhex("0703020000000000c000000000000046")


def attribute(name: int, data: bytes) -> bytes:
    level = 2 if name in (0x9002, 0x9005, 0x8010, 0x800F) else 1
    return struct.pack("<BHHI", level, name, TYPES[name], len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def prop(name: int, value: str | bytes | int, kind: int | None = None) -> bytes:
    if isinstance(value, int):
        return struct.pack("<HHi", kind or 3, name, value)
    raw = value.encode("utf-16-le") + b"\0\0" if isinstance(value, str) else value
    kind = kind or (0x1F if isinstance(value, str) else 0x102)
    return struct.pack("<HHII", kind, name, 1, len(raw)) + raw + b"\0" * (-len(raw) % 4)


def named(name: int, value: bytes) -> bytes:
    head, tail = value[:2], value[4:]
    label = "Keywords\0".encode("utf-16-le")
    padded = label + b"\0" * (-len(label) % 4)
    return head + struct.pack("<H", name) + b"g" * 16 + struct.pack("<II", 1, len(label)) + padded + tail


def props(*each: bytes) -> bytes:
    return struct.pack("<I", len(each)) + b"".join(each)


def attached(title: bytes, content: bytes, *more: bytes) -> bytes:
    return (
        attribute(0x9002, b"\0" * 14)
        + attribute(0x8010, title + b"\0")
        + attribute(0x800F, content)
        + attribute(0x9005, props(*more))
    )


WINMAIL = (
    SIGNATURE
    + attribute(0x9006, struct.pack("<I", 0x10000))
    + attribute(0x9007, struct.pack("<II", 1251, 0))
    + attribute(
        0x9003,
        props(
            prop(0x0037, "a subject"),
            named(0x8001, prop(0, "a keyword")),
            prop(0x1000, "Grüße, schöne"),
            prop(0x3FDE, 28592),
            prop(0x1013, "<p>Żółw</p>".encode("iso8859-2")),
        ),
    )
    + attached(b"REPORT~1.PDF", b"%PDF", prop(0x3707, "report für Ann.pdf"), prop(0x370E, b"application/pdf\0", 0x1E))
    + attached("отчёт.txt".encode("cp1251"), b"hello", prop(0x3712, "image1@x"))
)


def winmail(content: bytes, limits: Limits | None = None) -> Part:
    head = b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return parse(head + b64encode(content), limits)


def test_winmail_dat_is_opened() -> None:
    inner = winmail(WINMAIL).inner
    assert inner is not None
    bodies, pdf, text = inner.children
    assert inner.content_type == "multipart/mixed"
    assert bodies.content_type == "multipart/alternative"
    assert [(part.content_type, part.text()) for part in bodies.children] == [
        ("text/plain", "Grüße, schöne"),
        ("text/html", "<p>Żółw</p>"),
    ]
    assert (pdf.filename, pdf.content_type, pdf.decoded()) == ("report für Ann.pdf", "application/pdf", b"%PDF")
    assert (text.filename, text.content_type, text.content_id) == ("отчёт.txt", "text/plain", "image1@x")
    assert text.disposition == "attachment"
    assert text.size == 5


def test_a_library_finds_the_same() -> None:
    theirs, ours = TNEF(WINMAIL), read_tnef(WINMAIL)
    assert ours is not None
    assert [WINMAIL[each.start : each.end] for each in ours.attachments] == [each.data for each in theirs.attachments]
    assert theirs.attachments[0].long_filename().rstrip("\0") == ours.attachments[0].name


def test_a_message_in_winmail_dat_is_opened_in_turn() -> None:
    content = MESSAGE + WINMAIL
    outer = (
        SIGNATURE + attribute(0x9002, b"") + attribute(0x9005, props(prop(0x3001, "Re: x"), prop(0x3701, content, 0xD)))
    )
    inner = winmail(outer).inner
    assert inner is not None
    (attachment,) = inner.children
    assert attachment.filename == "Re: x"
    assert attachment.inner is not None
    assert attachment.inner.children[1].filename == "report für Ann.pdf"


def test_formatted_text_is_read_where_there_is_no_other() -> None:
    rtf = b"{\\rtf1\\ansi Gr\\'fc\\'dfe}"
    compressed = struct.pack("<II4sI", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf
    message = winmail(SIGNATURE + attribute(0x9003, props(prop(0x1009, compressed))))
    assert message.inner is not None
    assert [part.text() for part in message.inner.leaves()] == ["Grüße"]
    assert message.defects == []


def test_an_object_is_without_its_interface() -> None:
    content = bytes.fromhex("0b00000000000000c000000000000046") + b"a document"
    data = SIGNATURE + attribute(0x9002, b"") + attribute(0x9005, props(prop(0x3701, content, 0xD)))
    inner = winmail(data).inner
    assert inner is not None
    assert [part.decoded() for part in inner.leaves()] == [b"a document"]


def test_formatted_text_that_cannot_be_read_is_a_defect() -> None:
    message = winmail(SIGNATURE + attribute(0x9003, props(prop(0x1009, b"rtf"))) + attached(b"a.txt", b"x"))
    assert message.inner is not None
    words, file = message.inner.leaves()
    assert words.text() == "[The formatted text in winmail.dat cannot be read.]"
    assert file.filename == "a.txt"
    assert message.defects == ["The formatted text in winmail.dat cannot be read."]


def test_winmail_dat_is_known_by_its_name() -> None:
    head = b'Content-Disposition: attachment; filename="WinMail.dat"\r\nContent-Type: application/octet-stream\r\n\r\n'
    message = parse(head + WINMAIL)
    assert (message.content_type, message.effective_type) == ("application/octet-stream", "application/ms-tnef")
    assert message.inner is not None


@pytest.mark.parametrize("content", [b"", b"no TNEF", SIGNATURE, SIGNATURE + attribute(0x9003, b"\1")])
def test_what_holds_nothing_stays_an_attachment(content: bytes) -> None:
    assert winmail(content).inner is None


def test_the_plain_body_and_a_cut_end() -> None:
    data = SIGNATURE + attribute(0x9007, struct.pack("<I", 1252)) + attribute(0x800C, b"caf\xe9\0")
    inner = winmail(data + attribute(0x9002, b"") + attribute(0x800F, b"long content")[:-8]).inner
    assert inner is not None
    assert [part.text() for part in inner.leaves()] == ["café", "long c"]


@given(st.integers(0, len(WINMAIL)), st.integers(0, len(WINMAIL)), st.binary(max_size=8))
def test_damaged_data_is_read_as_far_as_it_goes(cut: int, at: int, put: bytes) -> None:
    damaged = (WINMAIL[:at] + put + WINMAIL[at + len(put) :])[:cut]
    inner = winmail(damaged).inner
    for part in inner.walk() if inner is not None else ():
        assert part.size == len(part.decoded())
        part.text().encode()
        assert isinstance(part.filename, str)


FEW = SIGNATURE + attribute(0x9002, b"")


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(FEW + attribute(0x9005, b"") * 1_000_000, id="attributes"),
        pytest.param(FEW + attribute(0x9005, struct.pack("<IHHI", 1, 0x101E, 1, 2**32 - 1)) * 10_000, id="values"),
        pytest.param(FEW + attribute(0x9005, struct.pack("<I", 2**32 - 1) + b"\0" * 10_000_000), id="properties"),
        pytest.param(FEW + attribute(0x9005, struct.pack("<IHHI", 1, 0x1003, 1, 2**32 - 1)) * 10_000, id="numbers"),
        pytest.param(SIGNATURE + b"\0" * 20_000_000, id="zeros"),
    ],
)
@pytest.mark.timeout(20)
def test_bombs_take_no_time(bomb: bytes) -> None:
    assert read_tnef(bomb) is not None


def test_attachments_count_as_parts() -> None:
    data = SIGNATURE + attached(b"a", b"x") * 50
    message = winmail(data, Limits(parts=10))
    assert message.inner is not None
    assert len(message.inner.children) == 8
    assert message.defects == ["Only the first 10 parts are read."]
    assert MOST > 1000
