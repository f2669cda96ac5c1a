"""IMAP's arguments and responses: pure, no server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.imap.grammar import (
    MailboxMessage,
    Selected,
    quote,
    quote_folder,
    read_messages,
    read_search,
    read_selected,
    read_sizes,
    uid_set,
    words,
)

DONE = b"completed (0.001 + 0.000 secs)."


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("INBOX", '"INBOX"'),
        ("Done 2024", '"Done 2024"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("Späm & Ham", '"Sp&AOQ-m &- Ham"'),
        ("~peter/mail/台北/日本語", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),  # RFC 3501, 5.1.3
    ],
)
def test_folder_names_are_modified_utf_7(name: str, argument: str) -> None:
    assert quote_folder(name) == argument


def test_quoting() -> None:
    assert quote('pass "word\\') == '"pass \\"word\\\\"'


@pytest.mark.parametrize(("uids", "text"), [([7], "7"), ([3, 1, 2, 7], "1:3,7"), ([1, 3], "1,3"), ([], "")])
def test_uid_sets(uids: list[int], text: str) -> None:
    assert uid_set(uids) == text


@given(st.sets(st.integers(1, 2**32 - 1), max_size=50))
def test_a_uid_set_names_exactly_its_uids(uids: set[int]) -> None:
    named: set[int] = set()
    for part in filter(None, uid_set(uids).split(",")):
        first, _, last = part.partition(":")
        named.update(range(int(first), int(last or first) + 1))
    assert named == uids


def test_search_results_are_numbers_and_never_the_words_of_the_status_line() -> None:
    assert read_search([b"3 1 2", DONE]) == [1, 2, 3]
    assert read_search([b"1 2", b"5", b"completed, 9 messages"]) == [1, 2, 5]
    assert read_search([b"Search completed 7"]) == []
    assert read_search([b"SEARCH 4 x5 -6", DONE]) == [4]


def test_what_select_says() -> None:
    lines = [b"3 EXISTS", b"OK [PERMANENTFLAGS (\\Seen \\*)] Flags", b"OK [UIDVALIDITY 12] ok", b"[READ-WRITE] done"]
    assert read_selected(lines) == Selected(12, keywords=True, writable=True, messages=3)
    lines = [b"OK [PERMANENTFLAGS (\\Seen)] Flags", b"OK [UIDVALIDITY 12] ok", b"[READ-ONLY] done"]
    assert read_selected(lines) == Selected(12, keywords=False, writable=False)
    with pytest.raises(ValueError, match="UIDVALIDITY"):
        read_selected([b"3 EXISTS", b"done"])


def test_messages_with_attributes_before_and_after_the_body_and_one_that_vanished() -> None:
    lines = [
        b'1 FETCH (UID 5 INTERNALDATE "22-Nov-2026 15:00:00 +0100" BODY[] {3}',
        bytearray(b"a(b"),
        b")",
        b"2 FETCH (FLAGS (\\Seen))",  # unasked for
        b"3 FETCH (BODY[] {2}",
        bytearray(b"cd"),
        b" UID 6)",
        b"4 FETCH (UID 7 BODY[] NIL)",
        b'5 FETCH (UID 8 BODY[] "")',
        b'6 FETCH (UID 9 INTERNALDATE "99-Foo-2026" BODY[] {0}',
        bytearray(b""),
        b")",
        DONE,
    ]
    assert read_messages(lines) == [
        MailboxMessage(5, b"a(b", 1795356000.0),
        MailboxMessage(6, b"cd", None),
        MailboxMessage(8, b"", None),
        MailboxMessage(9, b"", None),
    ]


def test_sizes() -> None:
    lines = [b"1 FETCH (UID 5 RFC822.SIZE 300)", b"2 FETCH (RFC822.SIZE 7 UID 6)", b"3 FETCH (FLAGS ())", DONE]
    assert read_sizes(lines) == {5: 300, 6: 7}


@given(st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(bytearray)), max_size=12))
def test_any_lines_are_read_without_an_error(lines: list[bytes | bytearray]) -> None:
    read_messages(lines)
    read_sizes(lines)
    read_search(lines)


def test_a_servers_words_are_one_printable_line() -> None:
    assert words(b"[ALERT] go\x1b[31m\taway\xff") == "[ALERT] go?[31m?away\ufffd"
    assert len(words(b"x" * 5000)) == 200


def test_what_is_too_long_for_a_number_is_none() -> None:
    long = b"9" * 5000
    assert read_search([b"SEARCH " + long + b" 7", b"done"]) == [7]
    assert read_messages([b"1 FETCH (UID " + long + b' BODY[] "")', b"done"]) == []
    assert read_sizes([b"1 FETCH (UID 7 RFC822.SIZE " + long + b")", b"done"]) == {}
    with pytest.raises(ValueError, match="no UIDVALIDITY"):
        read_selected([b"OK [UIDVALIDITY " + long + b"] ok", b"done"])
