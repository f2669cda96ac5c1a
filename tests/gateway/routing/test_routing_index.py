"""Looking routes up finds what asking each of them in order finds."""

import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from conversation import scope
from django.urls import path
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import EmailToRouter, SMSFromRouter, TopicRouter, URLRouter
from gateway.routing import Route, router
from gateway.routing.index import unreachable
from gateway.routing.literals import fold
from gateway.routing.patterns import Default, Pattern, Regex
from gateway.scopes.email.patterns import Address, Domain
from gateway.scopes.http.django_routes import from_django
from gateway.scopes.mqtt.patterns import Topic
from gateway.scopes.sms.patterns import Country, Keyword, Name, Phone, ShortCode, To, prefix_of
from gateway.scopes.sms.routes import to


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything and says nothing."""


def first(routes: Iterable[Route], key_of: Any) -> Any:
    """What the documentation says: the first route that matches."""
    for route in routes:
        captures = route.pattern.match(key_of(route.pattern))
        if captures is not None:
            return route, captures
    return None


def naive(patterns: Sequence[Pattern]) -> list[tuple[int, int]]:
    hidden = []
    for later, pattern in enumerate(patterns):
        earlier = next((n for n, other in enumerate(patterns[:later]) if other.covers(pattern)), None)
        if earlier is not None:
            hidden.append((later, earlier))
    return hidden


NAMES = st.sampled_from(["a", "b", "help", "Help", "i", "\u0130", "s", "\u017f", "k\u0131", "\xdf", "SS", "a.b", "x+y"])
DOMAINS = st.sampled_from(["example.org", "EXAMPLE.org", "b.example", "x.example.org", "\xe9.example", "ss.example"])
ADDRESSES = st.builds("{}@{}".format, NAMES, DOMAINS)
LITERAL = st.one_of(NAMES, DOMAINS, ADDRESSES).map(re.escape)
EXPRESSIONS = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["", "^", r"\A"]), LITERAL, st.sampled_from(["", "$", r"\Z"])),
    st.builds("^{}{}".format, NAMES, st.sampled_from([r"\d*@", r".*$", "(?P<rest>.*)", "|b", "?", "+", "{2}", "\n$"])),
    st.builds("{}@{}$".format, st.sampled_from(["^.*", r"^[^@]+", r"\w+", "(a|b)", "(?i)a", "(?m)^a", "a@"]), DOMAINS),
    st.sampled_from(["", "^", ".*", "^$", "$", "^a|b$", "(?x) ^ a @ b", "(?m)^a$", "^(?i:A)$", "^a\\n", "^a\n"]),
)
RECIPIENTS = st.one_of(
    ADDRESSES, NAMES, st.just(""), st.builds("{}\n".format, ADDRESSES), st.builds("a@{}".format, ADDRESSES)
)
LEVELS = st.sampled_from(["a", "b", "", "$SYS", "A", "a\n"])
WILD = st.one_of(LEVELS, st.just("+"), st.sampled_from(["{x}", "{y}"]))
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]), st.lists(WILD, max_size=3), st.sampled_from([["#"], ["a"], ["+"]])
)
TOPICS = st.lists(LEVELS, min_size=1, max_size=5).map("/".join)
NUMBERS = st.builds(
    "+{}{}".format, st.sampled_from(["1", "44", "4477", "49", "7"]), st.sampled_from(["", "0", "12", "\u0663"])
)


def made(maker: Any, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Pattern]:
    def make(text: str) -> Pattern | None:
        try:
            pattern: Pattern = maker(text)
        except ValueError:
            return None
        return pattern

    return texts.map(make).filter(lambda pattern: pattern is not None)


MAIL = st.one_of(
    made(Address, ADDRESSES),
    made(Domain, DOMAINS),
    made(lambda text: Regex(text, ignore_case=True), EXPRESSIONS),
    st.just(Default()),
)
PATHS = st.one_of(made(Regex, EXPRESSIONS), st.just(Default()))
DEVICES = st.one_of(made(Topic, FILTERS), st.just(Default()))
PHONES = st.one_of(
    made(Phone, NUMBERS),
    made(Country, st.sampled_from(["GB", "DE", "US"])),
    made(ShortCode, st.sampled_from(["447", "68849"])),
    made(Name, st.sampled_from(["SUPPORT", "support", "GB"])),
    made(Keyword, st.sampled_from(["STOP", "JOIN", ["JOIN", "Yes"], "stop"])),
    made(to, NUMBERS | st.just("447")),
    st.just(Default()),
)


SEGMENTS = st.sampled_from(["shop", "shop1", "shop12", "api", "v1", "v2", "a", "", "A", "i", "\u0130"])
URLS = st.lists(SEGMENTS, max_size=4).map("/".join)
URL_PARTS = SEGMENTS | st.sampled_from([r"(?P<id>\d+)", r"[^/]+", r"\w*", ".*", "shop1?", "(?:api|shop)", r"shop\d+"])
URL_PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["^", "^", "^", "", r"\A", "(?i)^", "^/?"]),
    st.lists(URL_PARTS, max_size=4).map("/".join),
    st.sampled_from(["", "", "$", "/$", "/", r"\Z", "/?$"]),
)


DJANGO_PARTS = SEGMENTS | st.sampled_from(["<int:id>", "<slug:name>", "shop<int:n>", "<path:rest>", "<word>"])
DJANGO_PATHS = st.builds("{}{}".format, st.lists(DJANGO_PARTS, max_size=4).map("/".join), st.sampled_from(["", "/"]))
OUTER = URLRouter([])


def django_path(text: str, whole: bool) -> Pattern | None:
    try:
        return from_django(path(text, nothing if whole else OUTER), URLRouter).pattern
    except ValueError:  # a name twice
        return None


BY_DJANGO = st.builds(django_path, DJANGO_PATHS, st.booleans()).filter(lambda pattern: pattern is not None)


def lists_of(patterns: st.SearchStrategy[Pattern]) -> st.SearchStrategy[list[Pattern]]:
    return st.lists(patterns, max_size=20)


SENDERS = NUMBERS | st.sampled_from(["", "SUPPORT", "GB", "447", "68849"])
FAMILIES = ((MAIL, RECIPIENTS), (PATHS, RECIPIENTS), (DEVICES, TOPICS), (PHONES, NUMBERS))


@pytest.fixture(autouse=True)
def _always_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "FEW", 0)


def routed(kind: Any, patterns: Sequence[Pattern]) -> Any:
    made = kind([Route(pattern, nothing, str(number)) for number, pattern in enumerate(patterns)])
    assert made._index is not None or not patterns
    return made


@settings(max_examples=400, deadline=None)
@given(lists_of(MAIL), RECIPIENTS)
def test_recipients(patterns: list[Pattern], recipient: str) -> None:
    tested = routed(EmailToRouter, patterns)
    assert tested.find(scope("email", rcpt_to=[recipient])) == first(tested.routes, lambda _: recipient)


@settings(max_examples=400, deadline=None)
@given(lists_of(PATHS), RECIPIENTS)
def test_paths(patterns: list[Pattern], path: str) -> None:
    tested = routed(URLRouter, patterns)
    assert tested.find(scope("http", path=f"/{path}")) == first(tested.routes, lambda _: path)


@settings(max_examples=200, deadline=None)
@given(lists_of(made(Regex, URL_PATTERNS)), URLS, st.sampled_from(["http", "websocket"]))
def test_urls(patterns: list[Pattern], path: str, kind: str) -> None:
    tested = routed(URLRouter, patterns)
    assert tested.find(scope(kind, path=f"/{path}")) == first(tested.routes, lambda _: path)


@settings(max_examples=200, deadline=None)
@given(lists_of(BY_DJANGO | made(Regex, URL_PATTERNS)), URLS)
def test_urls_by_path_of_django_among_regular_expressions(patterns: list[Pattern], path: str) -> None:
    tested = routed(URLRouter, patterns)
    assert tested.find(scope("http", path=f"/{path}")) == first(tested.routes, lambda _: path)


@settings(max_examples=400, deadline=None)
@given(lists_of(DEVICES), TOPICS)
def test_topics(patterns: list[Pattern], topic: str) -> None:
    tested = routed(TopicRouter, patterns)
    assert tested.find(scope("mqtt", topic=topic)) == first(tested.routes, lambda _: topic)


def of_texts(routes: Iterable[Route], key_of: Any) -> Any:
    """What the documentation says of texts: the first route that matches, and if that is a prefix, the longest."""
    found = first(routes, key_of)
    if found is None or not prefix_of(found[0].pattern):
        return found
    kind = type(found[0].pattern)
    alike = [each for each in routes if type(each.pattern) is kind and prefix_of(each.pattern)]
    return first(sorted(alike, key=lambda each: -len(prefix_of(each.pattern))), key_of)


@settings(max_examples=600, deadline=None)
@given(lists_of(PHONES), SENDERS, st.sampled_from([None, "GB", "DE", "FR"]), SENDERS, st.sampled_from(["", "STOP"]))
def test_senders(patterns: list[Pattern], sender: str, region: str | None, recipient: str, word: str) -> None:
    tested = routed(SMSFromRouter, patterns)
    keys = {Country: region or "", Keyword: word, To: recipient}
    expected = of_texts(tested.routes, lambda pattern: keys.get(type(pattern), sender))
    asked = scope("sms", sender=sender, country=region, recipient=recipient, keyword=word)
    assert tested.find(asked) == expected
    tested._index = None
    assert tested.find(asked) == expected


@settings(max_examples=600, deadline=None)
@given(st.one_of(map(lists_of, (MAIL, PATHS, DEVICES, PHONES))))
def test_routes_without_a_turn(patterns: list[Pattern]) -> None:
    assert unreachable(patterns) == naive(patterns)


@settings(max_examples=600, deadline=None)
@given(st.one_of(*(st.tuples(lists_of(patterns), keys) for patterns, keys in FAMILIES)))
def test_a_route_without_a_turn_matches_nothing_that_the_other_does_not(asked: tuple[list[Pattern], str]) -> None:
    patterns, key = asked
    for later, earlier in unreachable(patterns):
        if patterns[later].match(key) is not None:
            assert patterns[earlier].match(key) is not None


def test_what_is_equal_to_re_without_regard_to_case_is_folded_to_one_text() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    for letter in "abcdefghijklmnopqrstuvwxyz0-_@.":
        equal = re.findall(re.escape(letter), everything, re.IGNORECASE)
        assert {fold(char) for char in equal} == {letter}


MANY = 20_000


@pytest.mark.parametrize(
    ("kind", "make", "asked"),
    [
        (
            EmailToRouter,
            lambda n: Address(f"box{n}@example.org"),
            lambda n: scope("email", rcpt_to=[f"box{n}@example.org"]),
        ),
        (EmailToRouter, lambda n: Domain(f"d{n}.example"), lambda n: scope("email", rcpt_to=[f"a@d{n}.example"])),
        (
            EmailToRouter,
            lambda n: Regex(rf"^box{n}@x\.org$", ignore_case=True),
            lambda n: scope("email", rcpt_to=[f"box{n}@x.org"]),
        ),
        (
            EmailToRouter,
            lambda n: Regex(rf"@d{n}\.org$", ignore_case=True),
            lambda n: scope("email", rcpt_to=[f"a@d{n}.org"]),
        ),
        (
            EmailToRouter,
            lambda n: Regex(rf"box{n:05d}@x\.org$", ignore_case=True),
            lambda n: scope("email", rcpt_to=[f"box{n:05d}@x.org"]),
        ),
        (SMSFromRouter, lambda n: Phone(f"+44{n:08d}"), lambda n: scope("sms", sender=f"+44{n:08d}77")),
        (SMSFromRouter, lambda n: ShortCode(str(100_000 + n)), lambda n: scope("sms", sender=str(100_000 + n))),
        (SMSFromRouter, lambda n: Name(f"SHOP{n}"), lambda n: scope("sms", sender=f"Shop{n}")),
        (SMSFromRouter, lambda n: Keyword(f"win{n}"), lambda n: scope("sms", keyword=f"WIN{n}")),
        (SMSFromRouter, lambda n: to(f"+44{n:08d}"), lambda n: scope("sms", recipient=f"+44{n:08d}")),
        (TopicRouter, lambda n: Topic(f"sites/{n}/door"), lambda n: scope("mqtt", topic=f"sites/{n}/door")),
        (TopicRouter, lambda n: Topic(f"sites/+/door{n}/#"), lambda n: scope("mqtt", topic=f"sites/7/door{n}/x")),
        (URLRouter, lambda n: Regex(f"^shop{n}/$"), lambda n: scope("http", path=f"/shop{n}/")),
        (URLRouter, lambda n: Regex(f"^shop{n}/"), lambda n: scope("websocket", path=f"/shop{n}/chat")),
        (
            URLRouter,
            lambda n: from_django(path(f"s{n}/<int:i>/", nothing), URLRouter).pattern,
            lambda n: scope("http", path=f"/s{n}/7/"),
        ),
    ],
    ids=[
        "address",
        "domain",
        "whole",
        "end",
        "longer end",
        "number",
        "short code",
        "name",
        "keyword",
        "recipient",
        "topic",
        "filter",
        "path",
        "beginning",
        "Django",
    ],
)
def test_one_among_many_is_asked_alone(kind: Any, make: Any, asked: Any) -> None:
    tested = routed(kind, [*map(make, range(MANY)), Default()])
    for number in (0, MANY - 1):
        candidates = list(tested._candidates(tested._index, asked(number)))
        assert len(candidates) <= 7  # five lengths of a number, and the default
        assert tested.find(asked(number))[0].target == str(number)
    assert tested.find(asked(MANY))[0].target == str(MANY)


def test_many_routes_are_made_in_proportion() -> None:
    def seconds(number: int) -> float:
        begun = time.process_time()
        routed(EmailToRouter, [Address(f"box{n}@example.org") for n in range(number)])
        return time.process_time() - begun

    assert min(seconds(20_000) for _ in range(2)) < 20 * (min(seconds(2_000) for _ in range(3)) + 0.02)
