"""Compressed RTF, as Outlook writes it, and whatever else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.mime.rich_text import LONGEST, decompressed, read_rich_text

BEGINNING = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


def compressed(rtf: bytes) -> bytes:
    """Compress with the longest repetitions that are found (MS-OXRTFCP 2.2.2)."""
    window = bytearray(BEGINNING)
    tokens: list[bytes] = []
    place = 0
    while place < len(rtf):
        start, length = longest(window, rtf[place : place + 17])
        if length > 1:
            tokens.append((start % 4096 << 4 | length - 2).to_bytes(2, "big"))
        else:
            tokens.append(rtf[place : place + 1])
            length = 1
        window += rtf[place : place + length]
        place += length
    tokens.append((len(window) % 4096 << 4).to_bytes(2, "big"))
    groups = [tokens[at : at + 8] for at in range(0, len(tokens), 8)]
    packed = b"".join(
        bytes((sum((len(t) == 2) << n for n, t in enumerate(group)),)) + b"".join(group) for group in groups
    )
    return struct.pack("<II4sI", len(packed) + 12, len(rtf), b"LZFu", 0) + packed


def longest(window: bytearray, ahead: bytes) -> tuple[int, int]:
    for length in range(len(ahead), 1, -1):
        start = window.rfind(ahead[:length], max(0, len(window) - 4095))
        if start >= 0:
            return start, length
    return 0, 0


def plain(rtf: bytes) -> bytes:
    return struct.pack("<II4sI", len(rtf) + 12, len(rtf), b"MELA", 0) + rtf


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"{\\rtf1", b"\\par ", b"x" * 30, b"\0", b"\xe9"]), max_size=300).map(
        b"".join
    )
)
def test_what_is_compressed_comes_back(rtf: bytes) -> None:
    assert decompressed(compressed(rtf)) == rtf
    assert decompressed(plain(rtf)) == rtf


def test_the_example_of_the_specification() -> None:
    """MS-OXRTFCP 4.1.1 and 4.1.2."""
    simple = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    crossing = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert decompressed(simple) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert decompressed(crossing) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (rb"{\rtf1\ansi\ansicpg1252 Hello \b world\b0\par Gr\'fc\'dfe}", "Hello world\nGrüße"),
        (rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2}", "Привет"),
        (rb"{\rtf1\ansi{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}}a {\f1 \'cf\'f0}\f1\'e8}", "a При"),
        (rb"{\rtf1\ansi{\fonttbl{\f1\fcharset128 MS;}}\f1\'93\'fa\'96\'7b", "日本"),
        (rb"{\rtf1\uc1 \u8364?5 \u-10179?\u-8704?}", "€5 \U0001f600"),
        (rb"{\rtf1 \uc2\u8364\'80\'81x}", "€x"),
        (rb"{\rtf1{\colortbl;\red0}{\*\generator Riched20;}{\info{\author Ann}}\{x\}\\\tab y\~z}", "{x}\\\ty\u00a0z"),
        (b"{\\rtf1 a\r\nb}\0", "ab"),
        (rb"{\rtf1 {\pict 0102} \lquote a\rquote\endash}", " \u2018a\u2019\u2013"),
        (rb"{\rtf1", ""),
        (rb"{\rtf1 }}}}x", "x"),
    ],
)
def test_text(rtf: bytes, text: str) -> None:
    assert read_rich_text(plain(rtf)) == ("text/plain", text)


def test_the_html_that_it_was_made_from() -> None:
    rtf = (
        rb"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0 Arial;}}{\*\htmltag18 <html>}{\*\htmltag64 <p>}"
        rb"\htmlrtf {\htmlrtf0 Gr\'fc\'dfe {\*\htmltag84 &lt;}\htmlrtf <\htmlrtf0 b{\*\htmltag84 <br>}"
        rb"\htmlrtf \par\htmlrtf0 {\*\mhtmltag72 not this}{\*\htmltag72 </p>}\htmlrtf\par}\htmlrtf0"
        rb"{\*\htmltag27 </html>}}"
    )
    assert read_rich_text(plain(rtf)) == ("text/html", "<html><p>Grüße &lt;b<br></p></html>")


@pytest.mark.parametrize(
    "data", [b"", b"x" * 20, compressed(b"{\\rtf1 x}")[:-6], plain(b"no RTF"), struct.pack("<II4sI", 9, 9, b"what", 0)]
)
def test_what_is_no_rich_text(data: bytes) -> None:
    assert read_rich_text(data) is None


WORDS = (
    rb"{ } \par \'e9 \u8364 \u \uc99999999 \* \htmltag \htmlrtf \f1 \ x \fcharset204 \ansicpg932 \ansicpg99999 "
    rb"\fonttbl \'8 \- \bin9 \~"
)
words = st.sampled_from([*WORDS.split(), b" ", b"\xe9"])


@given(st.lists(words).map(b"".join), st.booleans())
def test_any_words_are_text(rtf: bytes, html: bool) -> None:
    found = read_rich_text(plain((b"{\\rtf1\\fromhtml1 " if html else b"{\\rtf1 ") + rtf))
    assert found is not None
    found[1].encode()


@given(st.binary(max_size=300))
def test_any_bytes_decompress(data: bytes) -> None:
    for method in (b"LZFu", b"MELA"):
        read_rich_text(struct.pack("<II4sI", 0, 2**32 - 1, method, 0) + data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(struct.pack("<II4sI", 0, 2**31, b"LZFu", 0) + b"\xff\x0c\xff" * 1_000_000, id="repetitions"),
        pytest.param(plain(b"{\\rtf1 " + b"{" * 5_000_000), id="groups"),
        pytest.param(plain(b"{\\rtf1 " + b"\\f1" * 2_000_000), id="words"),
        pytest.param(plain(b"{\\rtf1 " + b"\\u1?" * 2_000_000), id="characters"),
        pytest.param(plain(b"{\\rtf1 " + b"\\'e9{}" * 1_000_000), id="bytes"),
    ],
)
@pytest.mark.timeout(20)
def test_bombs_take_no_time(data: bytes) -> None:
    found = read_rich_text(data)
    assert len(decompressed(data) or b"") <= LONGEST
    assert found is None or len(found[1]) <= LONGEST
