"""Patterns by table."""

import pytest

from gateway.routing.index import unreachable
from gateway.routing.patterns import Captures, Default, Pattern, Regex
from gateway.scopes.email.patterns import Address, Domain
from gateway.scopes.mqtt.patterns import Topic
from gateway.scopes.sms.patterns import Country, Phone


@pytest.mark.parametrize(
    ("pattern", "takes", "leaves"),
    [
        (Regex("^longpoll/$"), ["longpoll/"], ["longpoll", "x/longpoll/", ""]),
        (Regex("@support.example.org", ignore_case=True), ["a@support.example.org", "a@SUPPORT.example.org"], ["a@b"]),
        (
            Topic("sensors/+/temperature"),
            ["sensors/1/temperature", "sensors//temperature"],
            ["sensors/1/2/temperature"],
        ),
        (Topic("a/#"), ["a", "a/b", "a/b/c"], ["ab", "b/a"]),
        (Topic("#"), ["a", "/", "a/b"], ["$SYS/x"]),
        (Topic("+/x"), ["a/x", "/x"], ["$SYS/x", "x"]),
        (Topic("$SYS/#"), ["$SYS/a", "$SYS"], ["SYS/a"]),
        (Topic("a.b"), ["a.b"], ["aXb"]),
        (Topic("{x}/y/#"), ["a/y", "a/y/b", "/y"], ["$SYS/y", "a/b/y"]),
        (
            Address("help@example.org"),
            ["help@example.org", "Help@Example.ORG"],
            ["xhelp@example.org", "help@example.org.evil.com"],
        ),
        (Domain("example.org"), ["a@example.org", "b@EXAMPLE.org"], ["a@x.example.org", "a@example.org.evil.com"]),
        (Phone("+44"), ["+447700900123", "+44"], ["+15551234567", "44770", "+4X", "SUPPORT", "447700"]),
        (Phone("+44 7700-900"), ["+447700900123"], ["+447800900123"]),
        (Country("GB"), ["GB"], ["", "US"]),
        (Default(), ["", "anything"], []),
    ],
)
def test_what_a_pattern_takes(pattern: Pattern, takes: list[str], leaves: list[str]) -> None:
    assert [key for key in takes if pattern.match(key) is None] == []
    assert [key for key in leaves if pattern.match(key) is not None] == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Regex("("), "not a regular expression"),
        (lambda: Topic("a/#/b"), "not a topic filter"),
        (lambda: Topic(""), "not a topic filter"),
        (lambda: Topic("a/x{b}"), "fills a whole level"),
        (lambda: Topic("a/{b"), "fills a whole level"),
        (lambda: Topic("a/{}"), "fills a whole level"),
        (lambda: Topic("a/{class}"), "fills a whole level"),
        (lambda: Topic("{rest...}"), "fills a whole level"),
        (lambda: Topic("{a}/{a}"), "one name twice"),
        (lambda: Topic("{payload}"), "cannot capture 'payload'"),
        (lambda: Address("example.org"), "not a mail address"),
        (lambda: Domain("a@example.org"), "not a domain"),
        (lambda: Phone("44"), "not a number prefix"),
        (lambda: Phone("+0"), "not a number prefix"),
        (lambda: Country("gb"), "not a region"),
    ],
)
def test_a_wrong_pattern_is_one_sentence(make: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_groups_are_captured_as_in_django() -> None:
    assert Regex(r"^room/(\d+)/(\w+)/$").match("room/7/x/") == Captures(("7", "x"), {})
    assert Regex(r"^room/(?P<id>\d+)/(\w+)/$").match("room/7/x/") == Captures((), {"id": "7"})


@pytest.mark.parametrize(
    ("patterns", "hidden"),
    [
        ([Phone("+44"), Phone("+447")], []),  # the longest wins
        ([Phone("+44"), Phone("+4 4")], [(1, 0)]),
        ([Phone("+447"), Phone("+44"), Default()], []),
        ([Default(), Phone("+44")], [(1, 0)]),
        ([Regex("^a"), Regex("^a")], [(1, 0)]),
        ([Regex("^"), Regex("^a")], [(1, 0)]),
        ([Domain("example.org"), Address("a@Example.org")], [(1, 0)]),
        ([Address("a@example.org"), Domain("example.org")], []),
        ([Domain("bücher.example"), Address("a@xn--bcher-kva.example")], [(1, 0)]),
        ([Domain("xn--bcher-kva.example"), Domain("BÜCHER.example")], [(1, 0)]),
        ([Topic("a/+"), Topic("a/b")], [(1, 0)]),
        ([Topic("a/{x}"), Topic("a/+"), Topic("a/{y}/c")], [(1, 0)]),
        ([Topic("a/+"), Topic("a/{x}")], [(1, 0)]),
        ([Topic("a/b"), Topic("a/+")], []),
        ([Topic("a/#"), Topic("a/+/c")], [(1, 0)]),
        ([Topic("a/+"), Topic("a/#")], []),
        ([Topic("a/+/#"), Topic("a/#")], []),
        ([Topic("+/+/#"), Topic("#"), Topic("+/#")], [(2, 1)]),
        ([Topic("+/#"), Topic("#"), Topic("a")], [(1, 0), (2, 0)]),
        ([Topic("#"), Topic("$SYS/#")], []),
        ([Country("GB"), Country("GB")], [(1, 0)]),
    ],
)
def test_a_route_without_a_turn_is_found(patterns: list[Pattern], hidden: list[tuple[int, int]]) -> None:
    assert unreachable(patterns) == hidden


def test_a_topic_captures_levels_by_name() -> None:
    pattern = Topic("sensors/{sensor}/+/{kind}")
    assert pattern.filter == "sensors/+/+/+"
    assert pattern.names == {"sensor", "kind"}
    assert pattern.match("sensors/a b/x/") == Captures((), {"sensor": "a b", "kind": ""})
    assert str(pattern) == "sensors/{sensor}/+/{kind}"
