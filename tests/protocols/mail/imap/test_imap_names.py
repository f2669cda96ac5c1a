"""Names of folders, and what servers say of folders: pure, no server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.imap.grammar import ListedFolder, read_list, read_namespaces, read_next_uid
from protocols.mail.imap.names import FolderNames, decode, encode, is_pattern, overlap

DONE = b"completed (0.001 + 0.000 secs)."


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_is_read_as_it_is_written(name: str) -> None:
    assert decode(encode(name)) == name


@given(st.text("&-,/AZa9+ü"))
def test_any_name_of_a_server_is_read_or_left_out(name: str) -> None:
    decoded = decode(name)
    assert decoded is None or encode(decoded) == name


@pytest.mark.parametrize("name", ["&", "&AOQ", "&A-", "&////-", "&AOQ-&APY-"])
def test_a_name_that_is_no_modified_utf_7_is_left_out(name: str) -> None:
    assert decode(name) is None


DOTTED = FolderNames(".", "INBOX.", ("shared.",))


@pytest.mark.parametrize(
    ("names", "name", "on_server"),
    [
        (FolderNames(), "Team/Ann", "Team/Ann"),
        (FolderNames(), "inbox", "INBOX"),
        (FolderNames("."), "Team/Ann", "Team.Ann"),
        (FolderNames("."), "INBOX.Ann", "INBOX.Ann"),
        (FolderNames(""), "a/b", "a/b"),
        (DOTTED, "Processed", "INBOX.Processed"),
        (DOTTED, "inbox/Ann", "inbox.Ann"),
        (DOTTED, "INBOX", "INBOX"),
        (DOTTED, "shared/ann/INBOX", "shared.ann.INBOX"),
    ],
)
def test_names_as_people_write_them(names: FolderNames, name: str, on_server: str) -> None:
    assert names.on_server(name) == on_server


def test_patterns() -> None:
    assert [name for name in ("INBOX", "Team/*", "Team/%") if is_pattern(name)] == ["Team/*", "Team/%"]


def test_what_list_says() -> None:
    lines = [
        b'(\\HasNoChildren) "." INBOX',
        b'(\\HasNoChildren \\Sent) "." "Sent Mail"',
        b'(\\Noselect) "\\\\" "a\\"b\\\\c"',
        b"() NIL {3}",
        bytearray(b'x"y'),
        b'(\\Marked) "/" Sp&AOQ-m',
        b'() "/" "&broken"',
        b"garbage",
        DONE,
    ]
    assert read_list(lines) == [
        ListedFolder("INBOX", ".", True),
        ListedFolder("Sent Mail", ".", False),
        ListedFolder('a"b\\c', "\\", False),
        ListedFolder('x"y', "", True),
        ListedFolder("Späm", "/", True),
    ]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (b'(("" "/")) NIL NIL', FolderNames("/")),
        (b'(("INBOX." ".")) NIL (("shared." "."))', DOTTED),
        (b'(("" "/") ("Archive/" "/")) (("~" "/")) NIL', FolderNames("/", "", ("Archive/", "~"))),
        (b'(("" "/" "X-PARAM" ("a" "b"))) NIL NIL', FolderNames("/")),
        (b'NIL (("Users/" "/")) NIL', FolderNames()),
        (b'(("" NIL)) NIL NIL', FolderNames("")),
        (b"what?", FolderNames()),
    ],
)
def test_what_namespace_says(line: bytes, names: FolderNames) -> None:
    assert read_namespaces([line, DONE]) == names


def test_what_status_says() -> None:
    assert read_next_uid([b"INBOX (UIDNEXT 7 UIDVALIDITY 3)", DONE]) == (3, 7)
    assert read_next_uid([b'"UIDNEXT 5" (UIDVALIDITY 3 UIDNEXT 7)', DONE]) == (3, 7)
    assert read_next_uid([DONE]) == (0, 0)


@given(st.lists(st.one_of(st.binary(), st.from_regex(rb'\([\\A-Z ]*\) "." "?[a-z&{}0-9"]*', fullmatch=True))))
def test_any_lines_are_read_without_an_error(lines: list[bytes]) -> None:
    for read in (read_list, read_namespaces, read_next_uid):
        read([*lines, DONE])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("INBOX", "INBOX", True),
        ("INBOX", "Inbox.a", False),
        ("Team/*", "Team/a/b", True),
        ("Team/%", "Team/a/b", False),
        ("Team/%", "Team/a", True),
        ("Team/*", "Teams", False),
        ("*", "Team/*", True),
        ("a+b*", "a+bc", True),
        ("a.b", "a+b", False),
    ],
)
def test_whether_two_names_may_be_one_folder(one: str, other: str, same: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is same
