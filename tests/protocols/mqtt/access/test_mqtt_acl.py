"""The rules of ``acl``: which matches whom and what, against brute force and against any text."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mqtt.access.acl import Rule, Rules, check_acl, covers, intersects
from protocols.mqtt.wire.topics import valid_filter

EVERYTHING = Rule(allow="all", topic="#")


def rules(*found: Rule, client: str = "c1", user: str | None = "ann") -> Rules:
    return Rules(found, client, user)


# Filters against filters.

NAMES = ("a", "", "$s")
TOPICS = [
    "/".join(levels)
    for length in (1, 2, 3, 4)
    for levels in itertools.product((*NAMES, "other", "$other"), repeat=length)
    if levels != ("",)
]
FILTERS = [
    "/".join((*levels, *rest))
    for length in (0, 1, 2, 3)
    for levels in itertools.product((*NAMES, "+"), repeat=length)
    for rest in ((), ("#",))
    if "/".join((*levels, *rest))
]


def matched(topic_filter: str) -> int:
    """The topics that it matches, a bit for each, in another way than the code's: by a regular expression."""
    inside = "/".join("[^/]*" if level == "+" else re.escape(level) for level in topic_filter.split("/"))
    inside = inside.removesuffix(r"\#").removesuffix("/") + r"(/.*)?" if topic_filter.endswith("/#") else inside
    inside = ".*" if topic_filter == "#" else inside
    pattern = re.compile((r"(?!\$)" if topic_filter[0] in "+#" else "") + inside)
    return sum(1 << bit for bit, topic in enumerate(TOPICS) if pattern.fullmatch(topic))


MATCHED = {topic_filter: matched(topic_filter) for topic_filter in FILTERS}


def test_covers_is_what_brute_force_finds() -> None:
    wrong = [
        (outer, inner)
        for outer, inner in itertools.product(FILTERS, repeat=2)
        if covers(outer, inner) != (MATCHED[inner] & ~MATCHED[outer] == 0)
    ]
    # They differ by the empty topic, which there is none of. The code does not know, and denies.
    assert wrong == [("/+/#", "/#"), ("+/+/#", "/#")]


def test_intersects_is_what_brute_force_finds() -> None:
    wrong = [
        (one, other)
        for one, other in itertools.product(FILTERS, repeat=2)
        if intersects(one, other) != (MATCHED[one] & MATCHED[other] != 0)
    ]
    assert wrong == [("/#", "+"), ("+", "/#")]  # the empty topic again


def test_brute_force_has_something_to_find() -> None:
    assert len(FILTERS) > 150
    assert MATCHED["#"] == MATCHED["+/#"] != 0
    assert MATCHED["a/#"] != MATCHED["a/+/#"]
    assert all(MATCHED.values())


def test_publishing_is_what_brute_force_finds() -> None:
    for topic_filter in FILTERS:
        allowed, denied = (
            rules(Rule(allow="publish", topic=topic_filter)),
            rules(Rule(deny="publish", topic=topic_filter), EVERYTHING, Rule(allow="all", topic="$s/#")),
        )
        for bit, topic in enumerate(TOPICS):
            matches = bool(MATCHED[topic_filter] >> bit & 1)
            assert allowed.may_publish(topic) is matches
            assert denied.may_publish(topic) is (not matches and not topic.startswith("$other"))


@pytest.mark.parametrize(
    ("outer", "inner", "answer"),
    [
        ("#", "a/b", True),
        ("#", "#", True),
        ("#", "+/+", True),
        ("#", "$SYS/#", False),
        ("+/b", "$SYS/b", False),
        ("$SYS/#", "$SYS/broker/+", True),
        ("a/#", "a", True),
        ("a", "a/#", False),
        ("a/+", "a/#", False),
        ("a/+", "a/", True),
        ("+/#", "#", True),
        ("a/b", "a/+", False),
        ("+", "/", False),
    ],
)
def test_covers(outer: str, inner: str, answer: bool) -> None:
    assert covers(outer, inner) is answer


# First match wins.


def test_the_example_of_the_documentation() -> None:
    mine = rules(
        Rule(deny="subscribe", topic="test/nosubscribe"),
        Rule(allow="publish", topic="devices/%u/#", user="*"),
        Rule(allow="subscribe", topic="#"),
    )
    assert mine.may_publish("devices/ann/temperature")
    assert mine.may_publish("devices/ann")
    assert not mine.may_publish("devices/bob/temperature")
    assert not mine.may_publish("test/nosubscribe")
    assert mine.may_subscribe("devices/bob/#")
    assert not mine.may_subscribe("test/nosubscribe")


@pytest.mark.parametrize(
    "asked", ["test/nosubscribe", "test/+", "test/#", "+/nosubscribe", "#", "+/+", "test/nosubscribe/#"]
)
def test_what_is_denied_does_not_leak_by_a_wider_filter(asked: str) -> None:
    mine = rules(Rule(deny="subscribe", topic="test/nosubscribe"), EVERYTHING)
    assert not mine.may_subscribe(asked)
    assert not mine.may_subscribe(f"$share/group/{asked}")
    assert mine.may_publish("test/nosubscribe")
    assert mine.may_subscribe("test/other")


def test_an_allow_rule_before_a_deny_rule_wins() -> None:
    mine = rules(Rule(allow="all", topic="a/b"), Rule(deny="all", topic="a/#"), EVERYTHING)
    assert mine.may_subscribe("a/b")
    assert mine.may_publish("a/b")
    assert not mine.may_subscribe("a/+")
    assert not mine.may_publish("a/c")
    assert mine.may_publish("b")


def test_no_match_is_denied() -> None:
    mine = rules(Rule(allow="publish", topic="a"))
    assert not mine.may_publish("b")
    assert not mine.may_subscribe("a")


def test_the_servers_own_topics_need_a_rule_that_says_so() -> None:
    assert not rules(EVERYTHING).may_subscribe("$SYS/#")
    assert not rules(Rule(allow="all", topic="+/#")).may_publish("$SYS/a")
    mine = rules(EVERYTHING, Rule(allow="subscribe", topic="$SYS/#"))
    assert mine.may_subscribe("$SYS/broker/+")
    assert not mine.may_publish("$SYS/broker/uptime")


@pytest.mark.parametrize("asked", ["$share/g/a/b", "$share/g/a/+", "$share/g/a/#"])
def test_a_shared_subscription_is_judged_by_what_it_shares(asked: str) -> None:
    assert rules(Rule(allow="subscribe", topic="a/#")).may_subscribe(asked)
    assert not rules(Rule(allow="subscribe", topic="b/#"), Rule(allow="publish", topic="#")).may_subscribe(asked)


@pytest.mark.parametrize("asked", ["$share/g", "$share/g/", "$share//a", "$share/"])
def test_a_shared_subscription_that_is_none_is_not_looked_through(asked: str) -> None:
    assert not rules(Rule(allow="all", topic="#"), Rule(allow="all", topic="g")).may_subscribe(asked)


# Who.


@pytest.mark.parametrize(
    ("pattern", "name", "answer"),
    [
        (None, None, True),
        (None, "ann", True),
        ("ann", "ann", True),
        ("ann", "Ann", False),
        ("ann", None, False),
        ("*", "ann", True),
        ("*", None, False),
        ("*", "", False),
        ("sensor-*", "sensor-17", True),
        ("sensor-*", "my-sensor-17", False),
        ("sensor-?", "sensor-17", False),
        ("[ab]*", "bob", True),
    ],
)
def test_whom_a_rule_is_for(pattern: str | None, name: str | None, answer: bool) -> None:
    rule = Rule(allow="all", topic="a", user=pattern)
    assert rules(rule, user=name).may_publish("a") is answer
    if name is not None:
        rule = Rule(allow="all", topic="a", client=pattern)
        assert rules(rule, client=name, user=None).may_publish("a") is answer


def test_user_and_client_must_both_match() -> None:
    rule = Rule(allow="all", topic="a", user="ann", client="c1")
    assert rules(rule).may_publish("a")
    assert not rules(rule, client="c2").may_publish("a")
    assert not rules(rule, user="bob").may_publish("a")


@pytest.mark.parametrize("name", ["+", "#", "a/b", "/", "", "a/#", "+/+", "#/", "a\0"])
@pytest.mark.parametrize("mark", ["%c", "%u"])
def test_a_name_that_is_no_literal_level_never_matches(name: str, mark: str) -> None:
    rule = Rule(allow="all", topic=f"devices/{mark}/#")
    mine = rules(rule, client=name, user=name)
    for topic in ("devices", "devices/a", "devices//x", "devices/a/b", f"devices/{name}"):
        assert not mine.may_publish(topic)
        assert not mine.may_subscribe(topic)


def test_nobody_has_the_user_name_of_nobody() -> None:
    assert not rules(Rule(allow="all", topic="users/%u"), user=None).may_publish("users/")
    assert not rules(Rule(allow="all", topic="users/%u"), user=None).may_publish("users/None")


def test_names_are_filled_in_once() -> None:
    mine = rules(Rule(allow="publish", topic="%c/%u"), client="%u", user="%c")
    assert mine.may_publish("%u/%c")
    assert not mine.may_publish("%c/%c")
    assert not mine.may_publish("%u/%u")


@pytest.mark.parametrize("name", ["$SYS", "$share", "$"])
def test_nobody_reaches_the_servers_own_topics_by_its_name(name: str) -> None:
    mine = rules(Rule(allow="all", topic="%c/#"), Rule(allow="all", topic="%u/#"), client=name, user=name)
    assert not mine.may_subscribe(f"{name}/#")
    assert not mine.may_publish(f"{name}/a")


def test_other_percent_signs_are_text() -> None:
    assert rules(Rule(allow="publish", topic="%d/100%")).may_publish("%d/100%")


anything = st.text(st.one_of(st.characters(), st.sampled_from("/+#$%cu*[]")), max_size=8)
templates = st.lists(st.sampled_from(["a", "%c", "%u", "x-%c", "%u%c", "+", "$s", ""]), min_size=1, max_size=4).map(
    "/".join
)


@given(templates.filter(bool), anything, anything)
def test_no_name_widens_a_rule(template: str, client: str, user: str) -> None:
    filled = Rule(allow="all", topic=template).topic_for(client, user)
    widest = "/".join("+" if "%" in level else level for level in template.split("/"))
    if filled is not None:
        assert valid_filter(filled)
        assert covers(widest, filled)
        assert [level == "+" for level in filled.split("/")] == [level == "+" for level in template.split("/")]


@given(anything, anything, st.lists(anything, min_size=1, max_size=4).map("/".join))
def test_a_rule_for_ones_own_topics_is_for_those_alone(client: str, user: str, topic: str) -> None:
    mine = rules(Rule(allow="all", topic="devices/%c/#"), client=client, user=user)
    own = topic == f"devices/{client}" or topic.startswith(f"devices/{client}/")
    literal = bool(client) and not set(client) & set("/+#\0")
    assert mine.may_publish(topic) is (own and literal)
    asked = f"devices/{topic}"
    if mine.may_subscribe(asked):
        assert covers(f"devices/{client}/#", asked)


# The cache.


def test_answers_are_the_same_the_second_time_and_after_many_others() -> None:
    mine = rules(Rule(deny="publish", topic="no/#"), EVERYTHING)
    for _ in range(2):
        for number in range(1000):
            assert mine.may_publish(f"yes/{number}")
            assert not mine.may_publish(f"no/{number}")


def test_what_a_device_publishes_to_does_not_fill_memory() -> None:
    mine = rules(EVERYTHING)
    for number in range(2000):
        assert mine.may_publish(f"{number}/" + "x" * (number % 500))
    assert len(mine._known) <= 128
    assert max(map(len, mine._known)) <= 200


# Rules that are none.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"topic": "a"}, "one of allow and deny"),
        ({"topic": "a", "allow": "all", "deny": "all"}, "one of allow and deny"),
        ({"topic": "a/#/b", "allow": "all"}, "not a topic filter"),
        ({"topic": "a+", "allow": "all"}, "not a topic filter"),
        ({"topic": "", "allow": "all"}, "not a topic filter"),
        ({"topic": "$share/g/a", "allow": "all"}, "leave \\$share and the group out"),
        ({"topic": "a", "allow": "all", "user": ""}, "must not be empty"),
        ({"topic": "a", "allow": "all", "client": ""}, "must not be empty"),
    ],
)
def test_a_rule_that_is_none(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule(**fields)


def test_an_acl_allows_something() -> None:
    with pytest.raises(ValueError, match="no allow rule, so that it denies everything"):
        check_acl([Rule(deny="publish", topic="a")])
    check_acl([Rule(deny="publish", topic="a"), EVERYTHING])
