"""Trees of parts: those that programs write, those that they write wrongly, and bombs."""

import email
import email.message
import email.policy
import sys
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mail.mime import Limits, Part, parse

PARTS = b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\n"
MIXED = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


def shape(part: Part) -> object:
    return [part.content_type, *map(shape, part.children)] if part.children else part.content_type


def texts(part: Part) -> list[str]:
    return [leaf.text() for leaf in part.leaves()]


def test_a_tree_has_the_bytes_of_each_part() -> None:
    message = parse(MIXED + b"preamble\r\n" + PARTS + b"epilogue")
    assert shape(message) == ["multipart/mixed", "text/plain", "text/html"]
    assert texts(message) == ["one", "<p>two"]
    assert not message.defects
    assert [leaf.parent for leaf in message.leaves()] == [message, message]
    assert message.raw[message.children[0].start : message.children[0].end].startswith(b"Content-Type: text/plain")


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_any_line_end_does(end: bytes) -> None:
    assert texts(parse((MIXED + PARTS).replace(b"\r\n", end))) == ["one", "<p>two"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(MIXED + PARTS.removesuffix(b"--b--\r\n"), ["one", "<p>two\n"], id="not closed"),
        pytest.param(MIXED.replace(b"=b", b"=other") + PARTS, ["one", "<p>two"], id="another boundary"),
        pytest.param(MIXED.replace(b"; boundary=b", b"") + PARTS, ["one", "<p>two"], id="no boundary"),
        pytest.param(
            MIXED.replace(b"=b", b"=b;c") + PARTS.replace(b"--b", b"--b;c"), ["one", "<p>two"], id="semicolon in it"
        ),
        pytest.param(MIXED.removesuffix(b"\r\n") + PARTS, ["one", "<p>two"], id="no blank line before it"),
        pytest.param(b"\xef\xbb\xbf" + MIXED + PARTS, ["one", "<p>two"], id="byte order mark"),
        pytest.param(MIXED.replace(b"=b", b"=") + PARTS, ["one", "<p>two"], id="empty boundary"),
        pytest.param(MIXED.replace(b"mixed;", b"mixed ;") + PARTS, ["one", "<p>two"], id="space before the semicolon"),
        pytest.param(MIXED.replace(b"Content-Type:", b"Content-Type :") + PARTS, ["one", "<p>two"], id="Name :"),
        pytest.param(MIXED + b"only words\r\n", ["only words\n"], id="no parts"),
        pytest.param(MIXED + b"--b\r\nwords\r\n--b--", ["words"], id="part without a header"),
        pytest.param(MIXED + b"--b\r\n\r\nwords\r\n--b--", ["words"], id="part with an empty header"),
        pytest.param(MIXED + b"--b\r\nFrom here on\r\nwe go\r\n--b--", ["From here on\nwe go"], id="no header: From"),
        pytest.param(MIXED + b"--b\r\nContent-Type: text/plain\r\n--b\r\n\r\nx\r\n--b--", ["", "x"], id="no body"),
        pytest.param(MIXED + b"--b\r\n--b\r\n\r\nx\r\n--b--", ["x"], id="nothing at all"),
        pytest.param(MIXED + b"--b \t\r\n\r\nx\r\n--b-- \r\ny", ["x"], id="spaces after the boundary"),
        pytest.param(MIXED + b"--b\r\n\r\nx\r\n--bc\r\ny\r\n--b--", ["x\n--bc\ny"], id="a longer one is another"),
        pytest.param(MIXED.replace(b"=b", b'="a b"') + b"--a b\r\n\r\nx\r\n--a b--", ["x"], id="space in the boundary"),
        pytest.param(MIXED.replace(b"=b", b"=b--") + b"--b--\r\n\r\nx\r\n--b----", ["x"], id="dashes in the boundary"),
        pytest.param(
            MIXED.replace(b" boundary=b", b' boundary*0="a"; boundary*1=b') + b"--ab\r\n\r\nx\r\n--ab--",
            ["x"],
            id="boundary in pieces",
        ),
        pytest.param(b"From a@b Mon\r\n" + MIXED + PARTS, ["one", "<p>two"], id="mbox"),
        pytest.param(b"\r\n\r\n" + MIXED + PARTS, ["one", "<p>two"], id="blank lines first"),
        pytest.param(
            MIXED.replace(b"\r\n\r\n", b"\r\n \r\n") + PARTS, ["one", "<p>two"], id="a blank in the blank line"
        ),
        pytest.param(b"Content-Type: multipart\r\n\r\nx", ["x"], id="no subtype"),
        pytest.param(b"Content-Type: \r\n\r\nx", ["x"], id="no type"),
        pytest.param(b"", [""], id="empty"),
    ],
)
def test_what_senders_do_to_trees_is_mended(message: bytes, expected: list[str]) -> None:
    assert texts(parse(message)) == expected


def test_an_unclosed_multipart_ends_with_the_one_around_it() -> None:
    inner = b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n"
    message = parse(MIXED + inner + b"--b\r\n\r\ny\r\n--b--\r\n")
    assert shape(message) == ["multipart/mixed", ["multipart/alternative", "text/plain"], "text/plain"]
    assert texts(message) == ["x", "y"]


def test_a_mended_tree_says_so() -> None:
    assert parse(MIXED.replace(b"=b", b"=c") + PARTS).defects == [
        "A boundary is not the one that is declared; the parts were found without it."
    ]
    assert parse(MIXED).defects == ["A multipart without parts is read as text."]


ATTACHED = b"Subject: inside\r\n" + MIXED + PARTS


@pytest.mark.parametrize("encoding", [b"7bit", b"base64", b"x-uuencode"])
def test_an_attached_message_is_a_leaf_that_can_be_opened(encoding: bytes) -> None:
    body = {b"base64": b64encode(ATTACHED), b"x-uuencode": uuencoded(ATTACHED)}.get(encoding, ATTACHED)
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding
    message = parse(head + b"\r\n\r\n" + body)
    assert shape(message) == "message/rfc822"
    assert message.inner is not None
    assert message.inner.header(b"subject") == b"inside"
    assert message.inner.parent is message
    assert texts(message.inner) == ["one", "<p>two"]


def test_an_attached_message_may_only_say_that_it_is_encoded() -> None:
    inner = parse(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + ATTACHED).inner
    assert inner is not None
    assert texts(inner) == ["one", "<p>two"]


def uuencoded(content: bytes) -> bytes:
    import binascii

    lines = [binascii.b2a_uu(content[place : place + 45]) for place in range(0, len(content), 45)]
    return b"begin 644 x\n" + b"".join(lines) + b"`\nend\n"


def test_a_digest_is_of_messages() -> None:
    message = parse(MIXED.replace(b"mixed", b"digest") + b"--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b--")
    assert message.children[0].content_type == "message/rfc822"
    assert message.children[0].inner is not None
    assert message.children[0].inner.header(b"subject") == b"one"


def flat(message: email.message.Message) -> list[tuple[str, bytes]]:
    """The leaves as the standard library has them; attached messages are entered."""
    leaves = (part for part in message.walk() if not part.is_multipart())
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in leaves]


def ours(part: Part) -> list[tuple[str, bytes]]:
    if part.is_message and part.inner is not None:
        return ours(part.inner)
    if part.children:
        return [leaf for child in part.children for leaf in ours(child)]
    return [(part.content_type, part.decoded())]


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=200)


@st.composite
def messages(draw: st.DrawFn, depth: int = 3) -> email.message.EmailMessage:
    message = email.message.EmailMessage()
    message["Subject"] = "x"
    message.set_content(draw(words), cte=draw(st.sampled_from(["base64", "quoted-printable", "8bit"])))
    for kind in draw(st.lists(st.sampled_from(["html", "file", "message", "related"]), max_size=4)):
        match kind:
            case "html" if message.get_content_type() in ("text/plain", "multipart/alternative"):
                message.add_alternative(draw(words), subtype="html")
            case "related" if message.get_content_type() in ("text/plain", "multipart/related"):
                message.add_related(draw(st.binary(max_size=99)), "image", "png", cid="<a@b>")
            case "message" if depth:
                message.add_attachment(draw(messages(depth - 1)))
            case _:
                message.add_attachment(draw(st.binary(max_size=300)), "application", "x-y", filename="ä.bin")
    return message


@settings(max_examples=60)
@given(messages(), st.sampled_from([email.policy.SMTP, email.policy.default]))
def test_the_standard_library_finds_the_same_leaves(
    message: email.message.EmailMessage, policy: email.policy.Policy
) -> None:
    raw = message.as_bytes(policy=policy)
    assert ours(parse(raw)) == flat(email.message_from_bytes(raw))


lines = st.sampled_from(
    [
        b"--b", b"--b--", b"--c", b"--c--", b"", b" ", b"x", b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/mixed; boundary=c", b"Content-Type: multipart/mixed", b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: base64", b"From a b", b"Subject: a", b" folded", b"\xff", b"no field",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(lines, max_size=40), st.sampled_from([b"\r\n", b"\n", b"\r"]), st.integers(0, 40))
def test_any_lines_make_a_tree(some: list[bytes], end: bytes, cut: int) -> None:
    raw = end.join(some)
    message = parse(raw[: len(raw) - cut], Limits(parts=12, depth=4))
    parts = list(everything(message))
    assert len(parts) <= 12
    for part in parts:
        assert 0 <= part.start <= part.body <= part.end <= len(part.raw)
        assert part.depth <= 4
        assert part.size == len(part.decoded()) == len(part.open().read())
        ends = [part.body, *(child.end for child in part.children)]
        assert ends == sorted(ends)
        for child, before in zip(part.children, ends, strict=False):
            assert before <= child.start
            assert child.end <= part.end
        part.text().encode()


def everything(part: Part) -> list[Part]:
    found = [part]
    for child in [*part.children, *([part.inner] if part.inner is not None else [])]:
        found += everything(child)
    return found


@given(st.binary(max_size=500))
def test_any_bytes_make_a_tree(raw: bytes) -> None:
    for part in everything(parse(raw)):
        part.text().encode()
        assert isinstance(part.filename, str)


NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(3000))


@pytest.mark.parametrize(
    ("bomb", "parts"),
    [
        pytest.param(MIXED + b"--b\r\n\r\nx\r\n" * 100_000, 1000, id="parts"),
        pytest.param(MIXED + b"--b\r\n" * 1_000_000, 1, id="parts of nothing"),
        pytest.param(NESTED, 51, id="nested"),
        pytest.param((MIXED + b"--b\r\n") * 3000, 1000, id="nested, the same boundary"),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\n" * 3000, 51, id="messages in messages"),
        pytest.param(b"A: b\r\n" * 500_000, 1, id="headers"),
        pytest.param(MIXED + b"--b\r\n" + b"A: b\r\n" * 500_000, 2, id="headers of a part"),
        pytest.param(b"\r" * 10_000_000, 1, id="CR"),
        pytest.param(b"\n" * 10_000_000, 1, id="LF"),
        pytest.param(b"A b\r\n" * 2_000_000, 1, id="lines that are no fields"),
        pytest.param(b"A: b\r\n" + b" \r\n" * 3_000_000, 1, id="a field folded for ever"),
        pytest.param(MIXED + b"\n--a" * 2_500_000, 1, id="lines that look like delimiters"),
        pytest.param(MIXED + b"--b\n\n" + b"\n--bx" * 2_000_000, 2, id="lines that begin as delimiters"),
        pytest.param(MIXED + b"--b\nContent-Type: multipart/mixed; boundary=c\n\n" * 100_000, 1000, id="no boundaries"),
        pytest.param(
            MIXED + b"--b\nContent-Type: multipart/mixed; boundary=a\n\n" * 999 + b"\n--ab" * 100_000,
            1000,
            id="lines that begin as the delimiters of a thousand multiparts",
        ),
        pytest.param(
            b"".join(
                b"Content-Type: multipart/mixed; boundary=%d%s\n\n--%d%s\n" % (n, b"b" * 190, n, b"b" * 190)
                for n in range(50)
            )
            + (b"\n--a" * 600 + b"\n--49" + b"b" * 190 + b"\n\n") * 900,
            951,
            id="long boundaries, and lines that look like delimiters between them",
        ),
        pytest.param(MIXED + b"--b\n\n\n--" + b"a" * 20_000_000, 2, id="a long line"),
        pytest.param(b"Content-Type: text/plain" + b";" * 250_000 + b"\r\n\r\n", 1, id="semicolons"),
        pytest.param(b"Content-Type: text/plain" + b"; a=b" * 5000 + b"\r\n\r\n", 1, id="parameters"),
        pytest.param(b"Content-Type: text/plain" + b'; a="\\' * 50_000 + b"\r\n\r\n", 1, id="quotes"),
    ],
)
@pytest.mark.timeout(20)
def test_bombs_are_read_within_the_bounds(bomb: bytes, parts: int) -> None:
    message = parse(bomb)
    found = everything(message)
    assert len(found) == parts
    assert all(part.filename == "" for part in found)


def calls(raw: bytes) -> int:
    """The calls of functions, Python's and C's, that it takes to read ``raw``."""
    found = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for part in everything(parse(raw)):
            if not part.children:
                part.text()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    "piece",
    [
        b"--b\r\n\r\nx\r\n",
        b"--b\r\n",
        b"--b\nContent-Type: multipart/mixed; boundary=c\n\n",
        b"--b\nContent-Type: message/rfc822\n\n",
        b"--b\nContent-Type: text/plain; charset=utf-8\n\n\xe9\n",
        b"--a\r\n",
        b"--ba\r\n",
        b"A: b\r\n",
        b"A b\r\n",
        b" \r\n",
        b"\r",
        b"To: =?utf-8?q?a?=\r\n",
        b"; a=b",
        b"begin 644 a\n",
    ],
)
def test_work_grows_with_the_size(piece: bytes) -> None:
    calls(MIXED + piece)  # fills what is filled once
    work = [calls(MIXED + piece * number) for number in (100, 200, 400)]
    assert work[2] - work[1] <= 2.2 * (work[1] - work[0]) + 100


@pytest.mark.parametrize(
    ("bomb", "defect"),
    [
        (MIXED + b"--b\r\n\r\nx\r\n" * 1001, "Only the first 1,000 parts are read."),
        (NESTED, "Parts inside more than 50 others are not read."),
        (b"A: b\r\n" * 1001 + b"\r\n", "Only the first 1,000 lines of a header block are read."),
        (b"A: " + b"b" * 300_000, "Only the first 256 KiB of a header block are read."),
    ],
)
def test_what_is_over_a_bound_is_a_defect(bomb: bytes, defect: str) -> None:
    assert parse(bomb).defects == [defect]


def test_attached_messages_are_opened_up_to_a_bound() -> None:
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    message = parse(head + b64encode(b"x" * 200), Limits(opened=100))
    assert message.inner is None
    assert message.defects == ["Attached messages of more than 100 bytes in all are not opened."]
