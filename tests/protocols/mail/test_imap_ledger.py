"""What a reader remembers, and the marks it makes: pure, the clock is a number."""

from dataclasses import replace

import pytest

from protocols.mail.imap import IMAPSettings
from protocols.mail.imap_ledger import LONGEST_BACKOFF, LONGEST_WISH, SHORTEST_WISH, Ledger
from protocols.mail.imap_marks import Mark, check_final, parse_mark
from protocols.secret import Secret

DONE, LEAVE = Mark("move", "Processed"), Mark("leave")


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(attempts=3, backoff=30)
    ledger.open(7)
    return ledger


def test_a_deferred_message_is_due_after_its_backoff_which_doubles(ledger: Ledger) -> None:
    assert ledger.due([1, 2], 0) == [1, 2]
    assert ledger.begin(1) == 1
    assert ledger.defer(1, 0, None) == 30
    assert ledger.next_due() == 30
    assert ledger.due([1, 2], 29) == [2]
    assert ledger.due([1, 2], 30) == [1, 2]
    assert ledger.begin(1) == 2
    assert ledger.defer(1, 30, None) == 60


def test_the_last_attempt_has_no_next(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.begin(1)
        assert ledger.defer(1, 0, 0) == SHORTEST_WISH
    assert ledger.begin(1) == 3
    assert ledger.defer(1, 0, None) is None


def test_waits_are_bounded() -> None:
    ledger = Ledger(attempts=1000, backoff=30)
    for _ in range(500):
        ledger.begin(1)
    assert ledger.defer(1, 0, None) == LONGEST_BACKOFF
    assert ledger.defer(1, 0, 1e12) == LONGEST_WISH
    assert ledger.defer(1, 0, -5) == SHORTEST_WISH


def test_a_decided_message_is_not_handled_again_though_its_mark_must_wait(ledger: Ledger) -> None:
    ledger.begin(1)
    ledger.decide(1, DONE)
    ledger.open(7)  # the connection was lost before the mark
    assert ledger.due([1, 2], 0) == [2]
    assert ledger.owed() == {DONE: [1]}
    assert ledger.next_due() is None
    ledger.marked([1])
    assert ledger.owed() == {}


def test_new_uids_name_new_messages(ledger: Ledger) -> None:
    ledger.decide(1, DONE)
    ledger.begin(2)
    ledger.defer(2, 0, None)
    ledger.open(8)
    assert ledger.owed() == {}
    assert ledger.due([1, 2], 0) == [1, 2]
    assert ledger.begin(2) == 1


def test_what_was_left_is_looked_at_again_on_the_next_connection(ledger: Ledger) -> None:
    ledger.decide(1, LEAVE)
    assert ledger.due([1], 0) == []
    ledger.open(7)
    assert ledger.due([1], 0) == [1]


def test_what_vanished_is_forgotten(ledger: Ledger) -> None:
    for uid in (1, 2, 3):
        ledger.begin(uid)
    ledger.defer(1, 0, None)
    ledger.decide(2, DONE)
    ledger.decide(3, LEAVE)
    assert ledger.due([], 0) == []
    assert (ledger.next_due(), ledger.owed()) == (None, {})
    assert ledger.due([1, 2, 3], 0) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "mark", "criterion"),
    [
        ("move Processed", Mark("move", "Processed"), ""),
        ("move  Done/2024 mails ", Mark("move", "Done/2024 mails"), ""),
        ("keyword $Done", Mark("keyword", "$Done"), "UNKEYWORD $Done"),
        ("seen", Mark("seen"), "UNSEEN"),
        ("delete", Mark("delete"), ""),
        ("leave", Mark("leave"), ""),
    ],
)
def test_marks_as_people_write_them(text: str, mark: Mark, criterion: str) -> None:
    assert parse_mark(text) == mark
    assert parse_mark(text).criterion == criterion
    assert parse_mark(str(mark)) == mark


@pytest.mark.parametrize(
    "text", ["", "move", "mvoe x", "seen it", "keyword", "keyword a b", "keyword \\Seen", "move a\nb"]
)
def test_marks_that_are_no_marks(text: str) -> None:
    with pytest.raises(ValueError, match="is not understood; write move FOLDER"):
        parse_mark(text)


def test_leave_is_no_final_mark() -> None:
    with pytest.raises(ValueError, match="for ever"):
        check_final("leave")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempts": 0}, "at least 1"),
        ({"token_file": "token"}, "one of them"),
        ({"password": None}, "one of them"),
        ({"recipient_header": "To: x"}, "no header's name"),
        ({"on_accept": "move INBOX"}, "read again"),
        ({"on_reject": "leave"}, "for ever"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(IMAPSettings(host="h", username="u", password=Secret("p")), **changes)  # type: ignore[arg-type]
