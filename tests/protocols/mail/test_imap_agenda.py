"""What a reader has still to do, and the marks it makes: pure, the clock is a number."""

from dataclasses import replace

import pytest

from protocols.mail.imap.marks import Mark, check_final, parse_mark
from protocols.mail.imap.pending import LONGEST_WAIT, SHORTEST_WISH, Agenda
from protocols.mail.imap.reader import IMAPSettings
from protocols.secret import Secret

DONE, LEAVE = Mark("move", "Processed"), Mark("leave")


@pytest.fixture
def agenda() -> Agenda:
    agenda = Agenda()
    agenda.open(7)
    return agenda


def test_a_deferred_message_is_due_after_a_wait_which_doubles(agenda: Agenda) -> None:
    assert agenda.due([1, 2], 0) == [1, 2]
    assert agenda.defer(1, 0, None) == 30
    assert agenda.next_due() == 30
    assert agenda.due([1, 2], 29) == [2]
    assert agenda.due([1, 2], 30) == [1, 2]
    assert agenda.defer(1, 30, None) == 60
    assert agenda.next_due() == 90


def test_nobody_is_given_up_and_the_wait_stays_bounded(agenda: Agenda) -> None:
    waits = [agenda.defer(1, 0, None) for _ in range(2000)]  # a month and more, hour by hour
    assert waits[:8] == [30, 60, 120, 240, 480, 960, 1920, LONGEST_WAIT]
    assert set(waits[8:]) == {LONGEST_WAIT}


@pytest.mark.parametrize(
    ("wish", "wait"),
    [(5, 5), (0, SHORTEST_WISH), (86400, 86400)],
)
def test_the_application_s_wish_is_heeded_if_it_is_not_too_soon(agenda: Agenda, wish: float, wait: float) -> None:
    assert agenda.defer(1, 100, wish) == wait
    assert agenda.next_due() == 100 + wait


def test_a_wish_is_no_failure(agenda: Agenda) -> None:
    assert agenda.defer(1, 0, None) == 30
    assert agenda.defer(1, 0, 5) == 5
    assert agenda.defer(1, 0, None) == 60


def test_a_decided_message_is_not_handled_again_though_its_mark_must_wait(agenda: Agenda) -> None:
    agenda.defer(1, 0, None)
    agenda.decide(1, DONE)
    agenda.open(7)  # the connection was lost before the mark
    assert agenda.due([1, 2], 99) == [2]
    assert agenda.owed() == {DONE: [1]}
    assert agenda.next_due() is None
    agenda.marked([1])
    assert agenda.owed() == {}


def test_new_uids_name_new_messages(agenda: Agenda) -> None:
    agenda.decide(1, DONE)
    agenda.defer(2, 0, None)
    agenda.open(8)
    assert (agenda.owed(), agenda.next_due()) == ({}, None)
    assert agenda.due([1, 2], 0) == [1, 2]
    assert agenda.defer(2, 0, None) == 30


def test_what_was_left_is_looked_at_again_on_the_next_connection(agenda: Agenda) -> None:
    agenda.decide(1, LEAVE)
    assert agenda.due([1], 0) == []
    agenda.open(7)
    assert agenda.due([1], 0) == [1]


def test_what_vanished_is_forgotten(agenda: Agenda) -> None:
    agenda.defer(1, 0, None)
    agenda.decide(2, DONE)
    agenda.decide(3, LEAVE)
    assert agenda.due([], 0) == []
    assert (agenda.next_due(), agenda.owed()) == (None, {})
    assert agenda.due([1, 2, 3], 0) == [1, 2, 3]


def test_what_could_not_be_fetched_together_is_fetched_alone() -> None:
    agenda = Agenda()
    agenda.open(1)
    assert list(agenda.batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    agenda.suspect([2, 3])
    assert list(agenda.batches([1, 2, 3, 4, 5], 2)) == [[1], [2], [3], [4, 5]]
    assert agenda.suspected([2])
    assert not agenda.suspected([1, 2])
    agenda.fetched([2])
    assert list(agenda.batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3], [4, 5]]
    agenda.due([1, 2, 4, 5], 0)
    assert list(agenda.batches([], 2)) == []
    assert not agenda.suspected([3])
    agenda.suspect([4])
    agenda.open(2)
    assert not agenda.suspected([4])


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
        ({"recipient_header": "To: x"}, "no header's name"),
        ({"on_accept": "move INBOX"}, "read again"),
        ({"on_reject": "leave"}, "for ever"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(IMAPSettings(host="h", username="u", password=Secret("p")), **changes)  # type: ignore[arg-type]
