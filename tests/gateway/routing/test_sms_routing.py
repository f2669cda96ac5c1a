"""Which route takes a text."""

import logging
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import SMSFromRouter, SMSToRouter, country, default, keyword, phone, recipient, sender, shortcode
from gateway.routing import Router
from gateway.scopes.sms.patterns import Keyword, Name, Phone, ShortCode, doubt_of
from gateway.scopes.sms.subject import subject_of


def named(name: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "sms.send", "text": name})

    app.__qualname__ = name
    return app


def taken_by(router: Router, written: str) -> str:
    """Return who takes a text that is written as for `gateway explain`."""
    route = router.explain(scope("sms", **subject_of(written)))
    return "" if route is None else route.target.rpartition(".")[2]


ISSUE = [
    phone("+44", named("uk")),
    country("GB", named("gb")),
    shortcode("68849", named("code")),
    sender("HDFCBK", named("bank")),
    keyword("STOP", named("stop")),
    default(named("rest")),
]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("+447700900123", "uk"),
        ("+442079460018: STOP", "uk"),
        ("68849", "code"),
        ("+44 (7700) 900-123", "uk"),
        ("00447700900123", "uk"),
        ("hdfcbk", "bank"),
        ("HDFCBK ", "bank"),
        ("+15005550006: stop!", "stop"),
        ("+15005550006: unsubscribe", "stop"),
        ("688490", "rest"),
        ("HDFC", "rest"),
        ("+4", "rest"),
        ("447700900123", "rest"),  # no plus: only a provider's own file knows what its digits are
        ("44", "rest"),
        ("PAY247", "rest"),
        ("whatsapp:+447700900123", "rest"),
        ("+44HELP", "rest"),
        ("+44\u0663\u0663\u0663\u0663", "rest"),
    ],
)
def test_the_routes_of_the_issue(written: str, name: str) -> None:
    assert taken_by(SMSFromRouter(ISSUE), written) == name


LONGEST = [phone("+44", named("uk")), keyword("STOP", named("stop")), phone("+44 20", named("london"))]


@pytest.mark.parametrize("routes", [LONGEST, LONGEST[::-1]], ids=["longer last", "longer first"])
@pytest.mark.parametrize(("number", "name"), [("+442079460018", "london"), ("+447700900123", "uk")])
def test_the_longest_prefix_wins_wherever_it_stands(routes: Any, number: str, name: str) -> None:
    assert taken_by(SMSFromRouter(routes), number) == name


def test_a_route_between_two_prefixes_is_tried_in_its_turn() -> None:
    assert taken_by(SMSFromRouter(LONGEST), "+442079460018: STOP") == "london"
    assert taken_by(SMSFromRouter(LONGEST[1:]), "+442079460018: STOP") == "stop"
    assert taken_by(SMSFromRouter([*LONGEST[1:], phone("+1", named("us"))]), "+15005550006: STOP") == "stop"


def test_a_shorter_prefix_before_a_longer_one_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    SMSFromRouter(LONGEST)
    assert caplog.records == []
    SMSFromRouter([phone("+44", named("one")), phone("+4 4", named("two"))])
    assert "can never match" in caplog.text


def test_our_own_numbers_are_routed_by_the_longest_prefix_too() -> None:
    ours = [recipient("+44", named("uk")), recipient("+4420", named("london")), recipient("12345", named("votes"))]
    router = SMSFromRouter([*ours, phone("+44", named("sender"))])
    assert taken_by(router, "+447700900123 to +442079460018") == "london"
    assert taken_by(router, "+442079460018 to +447700900999") == "uk"
    assert taken_by(router, "+447700900123 to 12345") == "votes"
    assert taken_by(router, "+447700900123 to 123456") == "sender"


def test_a_router_by_recipient() -> None:
    router = SMSToRouter(
        [phone("+4420", named("london")), shortcode("12345", named("votes")), country("US", named("us"))]
    )
    assert taken_by(router, "+15005550006 to +442079460018") == "london"
    assert taken_by(router, "+442079460018 to 12345") == "votes"
    assert taken_by(router, "+442079460018 to +14155552671") == "us"
    assert taken_by(router, "+442079460018 to +33123456789") == ""
    with pytest.raises(ValueError, match="no route by name"):
        SMSToRouter([sender("ACME", named("x"))])


def test_a_router_below_that_has_no_route_leaves_the_text_to_the_next_one() -> None:
    london = SMSFromRouter([keyword("JOIN", named("join"))])
    uk = SMSToRouter([keyword(["yes", "no"], named("votes"))])
    router = SMSFromRouter([phone("+44", uk), phone("+4420", london), country("GB", named("gb")), default(named("us"))])
    assert taken_by(router, "+442079460018: Join") == "join"
    assert taken_by(router, "+442079460018: No.") == "votes"
    assert taken_by(router, "+442079460018: hello") == "gb"
    assert taken_by(router, "+15005550006: join") == "us"


async def test_a_text_runs_the_application_of_its_route() -> None:
    router = SMSFromRouter([phone("+44", SMSFromRouter([keyword("JOIN", named("join"))])), default(named("rest"))])
    for word, name in (("JOIN", "join"), ("HELLO", "rest")):
        async with Conversation(router, scope("sms", keyword=word)) as peer:
            await peer.end()
            assert [event["text"] for event in peer.heard()] == [name]


async def test_what_no_nested_route_takes_is_refused_once() -> None:
    router = SMSFromRouter([phone("+44", SMSFromRouter([keyword("JOIN", named("join"))]))])
    assert not router.routable(scope("sms", keyword="HELLO"))
    async with Conversation(router, scope("sms", keyword="HELLO")) as peer:
        await peer.end()
        assert [event["type"] for event in peer.heard()] == ["sms.reject"]


class Counted(dict[str, Any]):
    """Counts the look-ups in a table of prefixes."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def operations(number: int) -> tuple[int, int]:
    """Return how many patterns are tried, and prefixes looked up, for one text among ``number`` routes."""
    router = SMSFromRouter([*(phone(f"+44{n:08d}", print_nothing) for n in range(number)), default(print_nothing)])
    tried: list[str] = []
    key = router.key
    router.key = lambda pattern, scope: tried.append(str(pattern)) or key(pattern, scope)
    prefixes = router._prefixes[Phone]
    prefixes._routes = counted = Counted(prefixes._routes)
    route = router.explain(scope("sms", sender=f"+44{number - 1:08d}"))
    assert route is not None
    assert str(route.pattern) == f"+44{number - 1:08d}"
    return len(tried), counted.asked


async def print_nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything."""


def test_among_50_000_numbers_as_much_is_looked_at_as_among_20() -> None:
    assert operations(50_000) == operations(20)
    assert sum(operations(20)) < 20


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: phone("44", named("x")), "'44' is not a number prefix; write .* such as \\+44"),
        (lambda: phone("HDFCBK", named("x")), "not a number prefix"),
        (lambda: phone("+", named("x")), "not a number prefix"),
        (lambda: phone(44, named("x")), "44 is not text; write it in quotes"),
        (lambda: country("UK", named("x")), "'UK' is not a region that has phone numbers"),
        (lambda: shortcode("12", named("x")), "not a short code; write three to eight digits"),
        (lambda: shortcode("+44770", named("x")), "not a short code"),
        (lambda: sender("+447700900123", named("x")), "is a number and not a name; write phone"),
        (lambda: sender("68849", named("x")), "is a short code and not a name; write shortcode"),
        (lambda: sender(" ", named("x")), "not the name of a sender"),
        (lambda: sender("A\nB", named("x")), "not the name of a sender"),
        (lambda: keyword([], named("x")), "the list is empty"),
        (lambda: keyword("two words", named("x")), "'two words' is not one word"),
        (lambda: keyword("", named("x")), "'' is not one word"),
        (lambda: keyword([7], named("x")), "7 is not a word; write it in quotes"),
        (lambda: recipient("ACME", named("x")), "not a number prefix"),
        (lambda: recipient("12", named("x")), "not a short code"),
    ],
)
def test_a_wrong_route_is_one_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("prefix", "doubt"),
    [
        ("+4", "+4 is only a part of the calling codes +40, +41, +420 and so on"),
        ("+21", "+21 is only a part of the calling codes +211, +212, +213 and so on"),
        ("+1", ""),
        ("+7", ""),
        ("+44", ""),
        ("+420", ""),
        ("+4420", ""),
        ("+0", "no calling code"),
    ],
)
def test_a_prefix_that_cuts_calling_codes_in_two_is_doubted(prefix: str, doubt: str) -> None:
    assert doubt_of(prefix).startswith(doubt)
    assert bool(doubt_of(prefix)) == bool(doubt)


def test_a_doubtful_prefix_in_python_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        phone("+4", named("x"))
        recipient("+44", named("x"))
    (said,) = caplog.messages
    assert said.startswith("route +4 -> ")
    assert "+4 is only a part of the calling codes" in said


def test_words_of_the_three_families_stand_for_all_of_them() -> None:
    stop, start, help_ = Keyword("stop"), Keyword(["Start"]), Keyword("HELP")
    assert all(stop.match(word) is not None for word in ("STOP", "END", "QUIT", "UNSUBSCRIBE", "ARRET"))
    assert stop.match("START") is None
    assert start.match("UNSTOP") is not None
    assert start.match("YES") is None  # an answer to a question more often
    assert help_.match("INFO") is not None
    assert Keyword(["END"]).match("STOP") is None
    assert str(Keyword(["join", "Join!", "stop"])) == "keyword JOIN or STOP"


def test_patterns_are_compared_by_what_they_mean() -> None:
    assert Name("hdfcbk") == Name("HDFCBK ")
    assert Keyword("stop") == Keyword("STOP.")
    assert ShortCode("68849") != Name("X68849")
