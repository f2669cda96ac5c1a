"""The text of header fields: what real mails hold, and whatever else."""

import base64
import codecs
import email
import time
from email.header import decode_header, make_header
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.mail.charsets import codec_of, decode_text
from protocols.mail.encoded_words import folded, text_of, unstructured


def word(text: str, codec: str, label: str, kind: str = "b") -> bytes:
    raw = text.encode(codec)
    data = base64.b64encode(raw) if kind == "b" else b"".join(b"=%02X" % byte for byte in raw)
    return b"=?%b?%b?%b?=" % (label.encode(), kind.encode(), data)


@pytest.mark.parametrize("kind", ["b", "q"])
@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        ("朱镕基 开发票", "gbk", "gb2312"),
        ("中文\u3400", "gb18030", "GBK"),
        ("똠방각하 펲시콜라", "cp949", "ks_c_5601-1987"),
        ("똠방각하", "cp949", "ks_c_5601-1989"),
        ("똠방각하", "cp949", "euc-kr"),
        ("①髙橋 ㈱", "cp932", "shift_jis"),
        ("①髙橋", "cp932", "x-sjis"),
        ("香港嘅", "big5hkscs", "big5"),
        ("“quoted” €5", "cp1252", "iso-8859-1"),
        ("“quoted”", "cp1252", "us-ascii"),
        ("İstanbul\u2019da “ş”", "cp1254", "iso-8859-9"),
        ("ภาษาไทย…", "cp874", "windows-874"),
        ("ภาษาไทย", "cp874", "tis-620"),
        ("שלום", "iso8859-8", "iso-8859-8-i"),
        ("Привет", "koi8-r", "koi8"),
        ("Привет", "cp1251", "x-cp1251"),
        ("héllo", "utf-8", "unicode-1-1-utf-8"),
        ("héllo", "utf-8", "unknown-8bit"),
        ("héllo", "utf-8", "x-unknown"),
        ("héllo", "cp1252", "default_charset"),
        ("héllo", "utf-8", "utf-8*en"),
        ("héllo", "utf-8", "hex"),
        ("héllo", "utf-8", "unicode_escape"),
        ("日本語", "iso2022_jp", "ISO-2022-JP"),
        ("日本語", "iso2022_jp", "cp50221"),
        ("日本語①", "utf-8", "ISO-2022-JP"),
        ("日本語①", "cp932", "ISO-2022-JP"),
        ("日本語で", "euc_jp", "ISO-2022-JP"),
    ],
)
def test_labels_mean_what_senders_write_under_them(text: str, codec: str, label: str, kind: str) -> None:
    assert text_of(b"Re: " + word(text, codec, label, kind)) == f"Re: {text}"


@pytest.mark.parametrize(
    ("value", "charset", "text"),
    [
        (b"plain", "", "plain"),
        (b"", "", ""),
        (b"=?utf-8?q?a=C3?= =?utf-8?q?=A9b?=", "", "aéb"),  # a character cut in two
        (b"=?utf-8?q?a?=\r\n =?utf-8?b?w6k?=", "", "aé"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "", "a b c"),
        (b"=?utf-8?q?line=0D=0ABcc:_x?=", "", "line Bcc: x"),
        (b"=?utf-8?q?a=00=1B[31m?=", "", "a [31m"),
        (b"=?utf-8?q?two words?=", "", "two words"),
        (b"=?utf-8?b?w6k=w6k=?=", "", "éé"),
        (b"=?utf-8?b?w6k*?=", "", "é"),
        (b"=?utf-8?b?w?=", "", ""),
        (b"=?utf-8?q?cut=C3=BC_", "", "cutü"),
        (b"a =?utf-8?q?=C3=BC? b =?utf-8?q?c?=", "", "a ü b c"),
        (b"=?utf-8?Q?Gr=FC=DFe?=", "", "Grüße"),
        (b"=??Q?Gr=FC=DFe?=", "", "Grüße"),
        (b"=?utf-8?Q?what??==?utf-8?Q?_now=3F?=", "", "what? now?"),
        ("日本語".encode("iso2022_jp"), "", "日本語"),
        (b"=?unicode?b?" + base64.b64encode("abcé".encode("utf-16-le")) + b"?=", "", "abcé"),
        (b"=?utf-7?q?+2D0-?=", "", "\ufffd"),
        (b"=?utf-16?q?abcd?=", "", "abcd"),
        (b"=?utf-16?b?" + base64.b64encode("abcé".encode("utf-16")) + b"?=", "", "abcé"),
        ("Grüße".encode(), "", "Grüße"),
        ("Grüße".encode("latin-1"), "", "Grüße"),
        ("发票".encode("gbk"), "gb2312", "发票"),
        (b"a\r\n\tb\rc\0d", "", "a b c d"),
    ],
)
def test_values(value: bytes, charset: str, text: str) -> None:
    assert text_of(value, charset) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b$B-j%F%9%H-!\x1b(B", "㈱テスト①"),
        (b"\x1b$B|b66\x1b(B", "髙橋"),
        (b"abc \x1b(IC=D\x1b(B \x1b$@F|K\\\x1b(J.", "abc ﾃｽﾄ 日本."),
        (b"\x1b$B-jF|K\\", "㈱日本"),  # cut by a gateway, without the way back
        (b"\x1b$B-jF|K", "㈱日"),
        (b"\x1b$B-j !\x1b(B!", "㈱?!"),
    ],
)
def test_japanese_mail_is_more_than_its_charset(raw: bytes, text: str) -> None:
    """Its senders write windows-932's characters in ISO-2022-JP, and Python's codec stops at them."""
    assert decode_text(raw, "iso-2022-jp") == text
    assert text_of(b"=?ISO-2022-JP?B?" + base64.b64encode(raw) + b"?=") == text


def test_every_label_that_is_known_is_a_charset() -> None:
    labels = ["utf-8", "iso885912", "idna", "punycode", "undefined", "rot13", "zlib", "\0", "é", "x" * 9000, ""]
    known = [codec for codec in map(codec_of, labels) if codec is not None]
    assert known == ["utf-8"]
    assert all(codecs.lookup(codec) for codec in known)


some_labels = st.text(max_size=9) | st.sampled_from(["utf-7", "utf-16", "hz", "gbk", "iso-2022-jp"])


@given(st.binary(max_size=60), some_labels)
@example(b"\x1b$B\x1b(I\x1b$@a\x1b(B", "iso-2022-jp")
def test_bytes_are_always_text(raw: bytes, label: str) -> None:
    decode_text(raw, label, label).encode()


pieces = st.sampled_from(
    [b"=?", b"?=", b"?q?", b"?B?", b"utf-8", b"gb2312", b"=", b"_", b" ", b"\r\n ", b"w6k=", b"\xe9"]
)


@given(st.one_of(st.binary(max_size=80), st.lists(pieces, max_size=20).map(b"".join)))
def test_every_value_is_one_line_of_text(value: bytes) -> None:
    text = text_of(value)
    text.encode()
    assert text == " ".join(text.split())
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)


@given(
    st.one_of(st.text(max_size=300), st.lists(st.sampled_from(["=?", "?=", "?q?a", "é", " ", "x" * 90])).map("".join))
)
def test_what_is_written_is_read_back(text: str) -> None:
    lines = unstructured("Subject", text)
    assert lines.endswith(b"\r\n")
    assert lines.isascii()
    assert all(0 < len(line.strip()) <= 78 and len(line) <= 78 for line in lines.split(b"\r\n")[:-1])
    value = lines.partition(b":")[2].strip()
    assert text_of(value) == text_of(text.encode("utf-8", "replace"), "") or "=?" in text or "\ufffd" in text_of(value)
    stdlib = str(make_header(decode_header(lines.decode().partition(":")[2].replace("\r\n", "").strip())))
    assert "unknown-8bit" not in stdlib
    assert email.message_from_bytes(lines + b"\r\n", policy=default)["Subject"] is not None


def test_words_stay_whole_and_lines_are_short() -> None:
    ids = [f"<{number}@{'x' * 30}.example>" for number in range(5)]
    lines = folded("References", ids).decode().split("\r\n")
    assert [len(line) <= 78 for line in lines] == [True] * len(lines)
    assert " ".join(line.strip() for line in lines).split()[1:] == ids


def test_hostile_values_take_no_time() -> None:
    began = time.process_time()
    for value in (b"=?a?q?" * 50_000, b"=?" * 200_000, b"=?utf-8?q?a?= " * 30_000, b"<" * 300_000, b"\xff" * 300_000):
        text_of(value)
    assert time.process_time() - began < 1.0
