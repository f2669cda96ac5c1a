"""What a reader has still to do, and the marks it makes: pure, the clock is a number."""

from dataclasses import replace

import pytest

from protocols.mail.imap.marks import Mark, check_final, parse_mark
from protocols.mail.imap.pending import LONGEST_WAIT, SHORTEST_WAIT, PendingMessages
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

DONE, LEAVE = Mark("move", "Processed"), Mark("leave")


@pytest.fixture
def pending() -> PendingMessages:
    pending = PendingMessages()
    pending.open(7)
    return pending


def test_a_deferred_message_is_due_after_a_wait_which_doubles(pending: PendingMessages) -> None:
    assert pending.fresh([1, 2]) == [1, 2]
    assert pending.defer(1, 0, None) == 30
    assert pending.next_due() == 30
    assert pending.fresh([1, 2]) == [2]
    assert pending.due_again(29) == []
    assert pending.due_again(30) == [1]
    assert pending.defer(1, 30, None) == 60
    assert pending.next_due() == 90


def test_nobody_is_given_up_and_the_wait_stays_bounded(pending: PendingMessages) -> None:
    waits = [pending.defer(1, 0, None) for _ in range(2000)]  # a month and more, hour by hour
    assert waits[:8] == [30, 60, 120, 240, 480, 960, 1920, LONGEST_WAIT]
    assert set(waits[8:]) == {LONGEST_WAIT}


@pytest.mark.parametrize(
    ("wish", "wait"),
    [(5, 5), (0, SHORTEST_WAIT), (86400, 86400)],
)
def test_the_application_s_wish_is_heeded_if_it_is_not_too_soon(
    pending: PendingMessages, wish: float, wait: float
) -> None:
    assert pending.defer(1, 100, wish) == wait
    assert pending.next_due() == 100 + wait


def test_a_wish_is_no_failure(pending: PendingMessages) -> None:
    assert pending.defer(1, 0, None) == 30
    assert pending.defer(1, 0, 5) == 5
    assert pending.defer(1, 0, None) == 60


def test_a_decided_message_is_not_handled_again_though_its_mark_must_wait(pending: PendingMessages) -> None:
    pending.defer(1, 0, None)
    pending.decide(1, DONE)
    assert pending.fresh([1, 2]) == [2]
    assert pending.owed(0) == {DONE: [1]}
    assert pending.next_due() is None
    pending.marked([1])
    assert pending.owed(0) == {}


def test_a_mark_that_is_refused_waits_longer_each_time_until_it_is_taken(pending: PendingMessages) -> None:
    pending.decide(1, DONE)
    assert pending.refused(DONE, 0) == (30, False)
    assert (pending.owed(29), pending.owed(30), pending.next_due()) == ({}, {DONE: [1]}, 30)
    assert pending.refused(DONE, 30) == (60, True)
    pending.open(7)
    assert pending.next_due() is None
    pending.decide(1, DONE)
    assert (pending.owed(89), pending.next_due()) == ({}, 90), "a new connection does not hurry"
    assert pending.taken(DONE)
    assert (pending.taken(DONE), pending.next_due()) == (False, None)


def test_a_new_connection_asks_the_ledger_what_is_handled(pending: PendingMessages) -> None:
    pending.decide(1, DONE)
    pending.refused(DONE, 0)
    pending.open(7)
    assert (pending.owed(99), pending.next_due(), pending.fresh([1])) == ({}, None, [1])


def test_new_uids_name_new_messages(pending: PendingMessages) -> None:
    pending.decide(1, DONE)
    pending.defer(2, 0, None)
    pending.open(8)
    assert (pending.owed(0), pending.next_due()) == ({}, None)
    assert pending.fresh([1, 2]) == [1, 2]
    assert pending.defer(2, 0, None) == 30


def test_what_was_left_is_looked_at_again_on_the_next_connection(pending: PendingMessages) -> None:
    pending.decide(1, LEAVE)
    pending.open(7)
    assert pending.fresh([1]) == []
    pending.connected()
    assert pending.fresh([1]) == [1]


def test_what_vanished_is_forgotten(pending: PendingMessages) -> None:
    pending.defer(1, 0, None)
    pending.decide(2, DONE)
    pending.decide(3, LEAVE)
    assert pending.fresh([]) == []
    assert (pending.next_due(), pending.owed(0)) == (None, {})
    assert pending.fresh([1, 2, 3]) == [1, 2, 3]


def test_what_could_not_be_fetched_together_is_fetched_alone() -> None:
    pending = PendingMessages()
    pending.open(1)
    assert list(pending.batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    pending.suspect([2, 3])
    assert list(pending.batches([1, 2, 3, 4, 5], 2)) == [[1], [2], [3], [4, 5]]
    assert pending.suspected([2])
    assert not pending.suspected([1, 2])
    pending.fetched([2])
    assert list(pending.batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3], [4, 5]]
    pending.fresh([1, 2, 4, 5])
    assert list(pending.batches([], 2)) == []
    assert not pending.suspected([3])
    pending.suspect([4])
    pending.open(2)
    assert not pending.suspected([4])


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
        ({"token_file": "token"}, "one of them"),
        ({"password": None}, "one of them"),
        ({"recipient_header": "To: x"}, "not the name of a header"),
        ({"on_accept": "move INBOX"}, "read again"),
        ({"on_reject": "leave"}, "for ever"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(IMAPSettings(host="h", username="u", password=Secret("p")), **changes)
