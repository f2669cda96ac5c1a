"""Makes mails of any shape, and knows what a person sees in them: hypothesis strategies."""

import base64
import itertools
import quopri
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

LETTERS = {
    "us-ascii": "abcXYZ019.,!?",
    "utf-8": "aéßЖ世界한🎉,!",
    "iso-8859-1": "aéüßÑ1.",
    "windows-1252": "a“”€é…1.",
    "iso-8859-2": "aąęłžő1.",
    "iso-8859-15": "a€éœŠ1.",
    "koi8-r": "aДжЦяЁю1.",
    "windows-1251": "aДжЦя€ю1.",
    "windows-874": "aสวัดี€1.",
    "iso-8859-8-i": "aשלאם1.",
    "gb2312": "a你好朱镕基囧1.",
    "gb18030": "a你好㐀1.",
    "big5": "a繁體中文1.",
    "euc-kr": "a안녕똠펲1.",
    "ks_c_5601-1987": "a안녕똠펲1.",
    "shift_jis": "a日本語ｱ①㈱1.",
    "iso-2022-jp": "a日本語あ1.",
    "euc-jp": "a日本語あ1.",
    "utf-16": "aé世🎉1.",
    "utf-7": "aé世1.",
}
"""A charset's label -> letters that it has."""
CODECS = {
    "windows-874": "cp874",
    "iso-8859-8-i": "iso8859-8",
    "gb2312": "gb18030",
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "shift_jis": "cp932",
}
"""A label -> Python's codec where that is not of the same name."""
WIDE = ("utf-16",)
"""Charsets whose bytes must be transferred in base64."""


@dataclass(frozen=True)
class Seen:
    """What a person sees in a part."""

    raw: bytes
    texts: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


def encoded(text: str, label: str) -> bytes:
    return text.encode(CODECS.get(label, label))


def words(label: str) -> st.SearchStrategy[str]:
    """Lines of words that begin and end with a letter: nothing that looks like a quotation, a file or HTML."""
    word = st.text(LETTERS[label], min_size=1, max_size=12)
    line = st.lists(word, min_size=1, max_size=8).map(" ".join)
    return st.lists(line, min_size=1, max_size=4).map(lambda lines: "\n".join(["Text " + lines[0], *lines[1:]]))


def transferred(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    if encoding == "quoted-printable":
        return quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return data


@st.composite
def texts(draw: st.DrawFn, kind: str = "plain") -> Seen:
    """A text part in any charset and encoding."""
    label = draw(st.sampled_from(sorted(LETTERS)))
    text = draw(words(label))
    content = f"<p>{'<br>'.join(text.splitlines())}</p>" if kind == "html" else text
    encoding = "base64" if label in WIDE else draw(st.sampled_from(["8bit", "base64", "quoted-printable"]))
    body = transferred(encoded(content.replace("\n", "\r\n"), label), encoding)
    quoted = draw(st.sampled_from([label, f'"{label}"', label.upper()]))
    head = f"Content-Type: text/{kind}; charset={quoted}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return Seen(head.encode() + body, (text,))


NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from("azÉЖ世0"),
    st.text("abzAZ09_-éЖ世한", max_size=40),
    st.sampled_from([".pdf", ".tar.gz", ""]),
)


@st.composite
def files(draw: st.DrawFn) -> Seen:
    """An attachment of any name, in any of the forms in which names are written."""
    name, data = draw(NAMES), draw(st.binary(max_size=300))
    disposition = "attachment; " + draw(st.sampled_from(FORMS))(name, draw(st.integers(5, 30)))
    head = f"Content-Type: application/x-thing\r\nContent-Disposition: {disposition}\r\n"
    head += "Content-Transfer-Encoding: base64\r\n\r\n"
    return Seen(head.encode() + transferred(data, "base64"), (), ((name, data),))


def _raw(name: str, size: int) -> str:
    return f'filename="{name}"'


def _extended(name: str, size: int) -> str:
    return f"filename*=utf-8''{urllib.parse.quote(name, safe='')}"


def _continued(name: str, size: int) -> str:
    """RFC 2231's parts of ``size`` bytes each: characters may be split."""
    pieces = _pieces(name.encode(), size)
    return ";\r\n ".join(
        f"filename*{number}*={'' if number else chr(117) + 'tf-8' + chr(39) * 2}{urllib.parse.quote(piece, safe='')}"
        for number, piece in enumerate(pieces)
    )


def _words(name: str, size: int) -> str:
    return f'filename="{encoded_words(name, size)}"'


def encoded_words(text: str, size: int, label: str = "utf-8") -> str:
    """RFC 2047's words of ``size`` bytes each: characters may be split. A reader need not read more than 4 kB."""
    return "\r\n ".join(
        f"=?{label}?B?{base64.b64encode(piece).decode()}?=" for piece in _pieces(encoded(text, label), size)
    )


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


FORMS: Sequence[Callable[[str, int], str]] = (_raw, _extended, _continued, _words)


def trees() -> st.SearchStrategy[Seen]:
    """A tree of parts: texts and files, within multiparts of all kinds."""
    return st.recursive(texts() | files() | _alternatives(), lambda child: _multiparts(child), max_leaves=12)


def _alternatives() -> st.SearchStrategy[Seen]:
    """A text and its HTML: the text counts."""
    return st.builds(
        lambda plain, html: Seen(_joined("alternative", [plain, html]), plain.texts), texts(), texts("html")
    )


def _multiparts(child: st.SearchStrategy[Seen]) -> st.SearchStrategy[Seen]:
    kinds = st.sampled_from(["mixed", "x-unknown", "parallel", "MIXED"])
    return st.builds(_multipart, kinds, st.lists(child, min_size=1, max_size=4))


def _multipart(kind: str, children: Sequence[Seen]) -> Seen:
    return Seen(_joined(kind, children), *_gathered(children))


def _gathered(children: Sequence[Seen]) -> Iterator[tuple[Any, ...]]:
    yield tuple(itertools.chain.from_iterable(child.texts for child in children))
    yield tuple(itertools.chain.from_iterable(child.files for child in children))


def _joined(kind: str, children: Sequence[Seen]) -> bytes:
    """The boundary of each multipart is the beginning of the next outer one's."""
    boundary = b"=_b" + b"x" * max(child.raw.count(b"boundary=") for child in children)
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\npreamble\r\n' % (kind.encode(), boundary)
    parts = b"".join(b"--%s\r\n%s\r\n" % (boundary, child.raw) for child in children)
    return head + parts + b"--%s--\r\nepilogue\r\n" % boundary


@dataclass(frozen=True)
class Written:
    """A whole mail, its subject and its content."""

    raw: bytes
    subject: str
    content: Seen


@st.composite
def mails(draw: st.DrawFn) -> Written:
    content = draw(trees())
    label = draw(st.sampled_from(sorted(set(LETTERS) - {"utf-16", "utf-7"})))
    subject = "Subject " + draw(words(label)).replace("\n", " ")[:60].rstrip()
    # A word of a stateful charset is cut between characters only.
    size = 1000 if label == "iso-2022-jp" else draw(st.integers(5, 45))
    head = f"From: ada@example.org\r\nSubject: {encoded_words(subject, size, label)}\r\nMIME-Version: 1.0\r\n"
    return Written(head.encode() + content.raw, subject, content)
