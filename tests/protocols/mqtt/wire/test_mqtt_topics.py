"""Names, filters and the trees, held against a naive matcher."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.retained import Retained
from protocols.mqtt.broker.subscriptions import Subscriptions
from protocols.mqtt.wire.topics import MAX_LEVELS, valid_filter, valid_name


@pytest.mark.parametrize("name", ["a", "/", "a//b", " ", "$SYS/x", "a/b/c", "x" * 65535])
def test_names(name: str) -> None:
    assert valid_name(name)
    assert valid_filter(name)


@pytest.mark.parametrize("name", ["", "a+", "+", "#", "a/#", "a\0", "x" * 65536, "/" * MAX_LEVELS, "\ud800"])
def test_no_names(name: str) -> None:
    assert not valid_name(name)


@pytest.mark.parametrize("name", ["#", "+", "a/#", "+/a", "a/+/b", "/+", "+/+/#", "$SYS/#"])
def test_filters(name: str) -> None:
    assert valid_filter(name)


@pytest.mark.parametrize("name", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+/c", "##", "++", "\0", "/" * MAX_LEVELS])
def test_no_filters(name: str) -> None:
    assert not valid_filter(name)


def matches(topic_filter: str, topic: str) -> bool:
    """Section 4.7 read aloud."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/#", "sport", True),
        ("sport/#", "sport/tennis/player1", True),
        ("#", "a/b", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+", "/finance", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("a/b", "a", False),
        ("a", "A", False),
    ],
)
def test_the_examples_of_the_standard(topic_filter: str, topic: str, expected: bool) -> None:
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add(topic_filter, "s", 1)
    retained: Retained[str] = Retained(1000)
    retained.set(topic, topic, 1)
    assert bool(subscriptions.matches[topic]) is expected
    assert list(retained.match(topic_filter)) == [topic] * expected
    assert matches(topic_filter, topic) is expected


def test_a_subscriber_with_two_filters_gets_the_higher_quality_once() -> None:
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("a/#", "s", Grant(0, identifiers=(1,)))
    subscriptions.add("a/+", "s", Grant(1, retain_as_published=True, identifiers=(2,)))
    ((subscriber, grant),) = subscriptions.matches["a/b"].items()
    assert (subscriber, grant.qos, grant.retain_as_published, sorted(grant.identifiers)) == ("s", 1, True, [1, 2])


def test_the_cache_of_matches_is_bounded() -> None:
    subscriptions: Subscriptions[str] = Subscriptions()
    for i in range(10_000):
        assert not subscriptions.matches[str(i)]
    assert len(subscriptions.matches) <= 4096


def test_retained_messages_have_a_limit() -> None:
    retained: Retained[str] = Retained(10)
    assert retained.set("a", "1", 6)
    assert not retained.set("b", "2", 5)
    assert retained.set("a", "3", 10)
    retained.remove("a")
    retained.remove("a")
    assert retained.set("b", "4", 10)
    assert list(retained.match("#")) == ["4"]


LEVEL = st.sampled_from(["a", "b", "", "$x", "long"])
NAME = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
WILD = st.lists(st.one_of(LEVEL, st.just("+")), min_size=0, max_size=4)
FILTER = st.builds(lambda levels, end: "/".join(levels + end), WILD, st.sampled_from([[], ["#"]])).filter(bool)


class Trees(RuleBasedStateMachine):
    """Subscriptions and retained messages against a dict and the naive matcher."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: Subscriptions[int] = Subscriptions()
        self.subscribed: dict[tuple[str, int], int] = {}
        self.retained: Retained[str] = Retained(1000)
        self.kept: set[str] = set()

    @rule(topic_filter=FILTER, subscriber=st.integers(0, 3), qos=st.integers(0, 1))
    def subscribe(self, topic_filter: str, subscriber: int, qos: int) -> None:
        self.subscriptions.add(topic_filter, subscriber, Grant(qos))
        self.subscribed[topic_filter, subscriber] = qos

    @rule(topic_filter=FILTER, subscriber=st.integers(0, 3))
    def unsubscribe(self, topic_filter: str, subscriber: int) -> None:
        self.subscriptions.remove(topic_filter, subscriber)
        self.subscribed.pop((topic_filter, subscriber), None)

    @rule(topic=NAME)
    def publish(self, topic: str) -> None:
        expected: dict[int, int] = {}
        for (topic_filter, subscriber), qos in self.subscribed.items():
            if matches(topic_filter, topic):
                expected[subscriber] = max(qos, expected.get(subscriber, 0))
        found = self.subscriptions.matches[topic]
        assert {subscriber: grant.qos for subscriber, grant in found.items()} == expected
        assert len(found) == len(expected)
        assert self.subscriptions.count == len(self.subscribed)

    @rule(topic=NAME)
    def retain(self, topic: str) -> None:
        self.retained.set(topic, topic, 1)
        self.kept.add(topic)

    @rule(topic=NAME)
    def clear(self, topic: str) -> None:
        self.retained.remove(topic)
        self.kept.discard(topic)

    @rule(topic_filter=FILTER)
    def look_up(self, topic_filter: str) -> None:
        assert sorted(self.retained.match(topic_filter)) == sorted(t for t in self.kept if matches(topic_filter, t))

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if not self.kept:
            assert not self.retained._tree.root.children
        if not self.subscribed:
            assert not self.subscriptions._tree.root.children


TestTrees = Trees.TestCase
TestTrees.settings = settings(deadline=None)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_judged(text: str) -> None:
    assert valid_name(text) in (True, False)
    assert valid_filter(text) in (True, False)


def test_overlapping_filters_with_and_without_no_local() -> None:
    far, near = Grant(2, no_local=True, identifiers=(1,)), Grant(0, identifiers=(2,))
    other = Grant(1, identifiers=(3,))
    both = far.merged(near).merged(other)
    assert (both.qos, both.identifiers) == (2, (1, 2, 3))
    assert both.local == Grant(1, identifiers=(2, 3))
    assert near.merged(other).local == near.merged(other)
    assert other.merged(far).local == other
    assert far.merged(far).local is None
