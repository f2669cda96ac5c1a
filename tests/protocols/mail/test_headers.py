"""Header fields and scopes from any bytes."""

from email.parser import BytesHeaderParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.headers import MAX_HEADER_BLOCK, MAX_HEADERS, first, message_id, parse_headers
from protocols.mail.scope import email_scope

ODD = st.one_of(
    st.binary(max_size=2000),
    st.lists(
        st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"a", b"Message-ID", b"<", b"\x00", b"\xff"])
    ).map(b"".join),
)


def test_names_are_lower_cased_and_values_unfolded_but_not_decoded() -> None:
    message = b"Subject: =?utf-8?q?a=0D=0A?=\r\n\tfolded  \r\nTO:a@x.org\r\nX-Raw: \xff\x00\r\n\r\nSubject: body"
    assert parse_headers(message) == [
        (b"subject", b"=?utf-8?q?a=0D=0A?=\tfolded"),
        (b"to", b"a@x.org"),
        (b"x-raw", b"\xff\x00"),
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", []),
        (b"\r\nA: body", []),
        (b"\nA: body", []),
        (b"A: 1\nB: 2\n\nC: 3", [(b"a", b"1"), (b"b", b"2")]),
        (b"A: 1", [(b"a", b"1")]),
        (b"A : 1\r\n", [(b"a", b"1")]),
        (b"A:\r\n", [(b"a", b"")]),
        (b"A: 1\r\r\nTo: 2\r\r\n\r\r\nB: text", [(b"a", b"1"), (b"to", b"2")]),
        (b"A: 1\r\n  \r\n\t2\r\nTo: 3\r\n", [(b"a", b"1\t2"), (b"to", b"3")]),
        (b"A: 1\r\n  \r\n\tindented text\r\n", [(b"a", b"1")]),
        (b"no field\r\nTo: 1\r\n", [(b"to", b"1")]),
        (b"no field\r\nA: 1\r\n", []),
        (b"To: 1\r\nno field\r\nA: text\r\n", [(b"to", b"1")]),
        (b"A: 1\r\nno field\r\nTo: 1\r\n", [(b"a", b"1"), (b"to", b"1")]),
        (b"\r\n\r\nTo: 1\r\n", [(b"to", b"1")]),
        (b"A: 1\rB: 2\r c\r\rD: 3", [(b"a", b"1"), (b"b", b"2 c")]),
        (b"From mbox Mon Jan 1\r\nA: 1\r\n", [(b"a", b"1")]),
        (b" starts folded\r\nTo: 1\r\n", [(b"to", b"1")]),
        (b"A: 1\r\n \r\nB: 2\r\n", [(b"a", b"1"), (b"b", b"2")]),
        (b"A: 1\r\n \r\nb text: 2\r\n", [(b"a", b"1")]),
        (b"A: 1\r\n \r\n\r\nB: 2", [(b"a", b"1")]),
        (b": no name\r\nTo: 1\r\n", [(b"to", b"1")]),
    ],
)
def test_odd_blocks(message: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert parse_headers(message) == expected


def test_the_block_is_bounded_and_a_cut_field_is_left_out() -> None:
    assert parse_headers(b"A: 1\r\nB: " + b"x" * MAX_HEADER_BLOCK) == [(b"a", b"1")]
    assert len(parse_headers(b"a: 1\r\n" * (MAX_HEADERS + 500))) == MAX_HEADERS


names = st.text(st.sampled_from("abcXYZ-019"), min_size=1, max_size=12)
values = st.lists(
    st.text(st.sampled_from("abc :;=?<>@éß"), min_size=1, max_size=30).map(str.strip).filter(bool), max_size=4
)


@given(st.lists(st.tuples(names, values), max_size=12), st.sampled_from(["\r\n", "\n"]), st.booleans())
def test_the_standard_library_finds_the_same_fields(fields: list[tuple[str, list[str]]], end: str, body: bool) -> None:
    lines = [f"{name}: {f'{end} '.join(value)}{end}" for name, value in fields]
    raw = ("".join(lines) + (f"{end}a: body" if body else "")).encode()
    theirs = [(name.lower().encode(), value) for name, value in BytesHeaderParser().parsebytes(raw).raw_items()]
    ours = parse_headers(raw)
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (_, value), (_, other) in zip(ours, theirs, strict=True):
        assert value.split() == other.encode("utf-8", "surrogateescape").split()


@given(ODD)
def test_any_bytes_make_a_scope(body: bytes) -> None:
    scope = email_scope(
        body, transport="smtp", listener="mail", mail_from="", rcpt_to=["a@x.org"], received_at=0.0, state={}
    )
    for name, value in scope["headers"]:
        assert name == name.lower()
        assert b"\n" not in value
    assert scope["size"] == len(body)


@pytest.mark.parametrize(
    "hostile",
    [
        b"To: " + b"a," * 20_000,
        b'From: "' * 20_000,
        b"Message-ID: " + b"<" * 5000,
        b"Subject: " + b"(" * 100_000,
        b"Content-Type: text/plain" + b"; a=b" * 5000,
        b"Subject: a" + b"\r\n " * 80_000,
    ],
)
def test_what_breaks_the_standard_parser_or_takes_it_seconds(hostile: bytes) -> None:
    assert len(parse_headers(hostile)) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"<a@b>", "<a@b>"),
        (b" (comment) <a@b> ", "<a@b>"),
        (b"<a@[", "<a@["),
        (b"", None),
        (b"\x00\x01", None),
        (b"plain", "plain"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_message_id(value: bytes, expected: str | None) -> None:
    assert message_id([(b"message-id", value)]) == expected


def test_message_id_is_bounded_and_may_be_missing() -> None:
    assert message_id([]) is None
    assert len(message_id([(b"message-id", b"x" * 100_000)]) or "") == 998


def test_first_is_the_topmost() -> None:
    assert first([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"
    assert first([], b"a") is None


def test_a_scope_has_a_shallow_copy_of_the_state() -> None:
    state = {"pool": []}
    scope = email_scope(
        b"", transport="imap", listener="m", mail_from="", rcpt_to=["a@x.org"], received_at=0.0, state=state
    )
    assert scope["state"] == state
    assert scope["state"] is not state
