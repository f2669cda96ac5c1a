"""Regular expressions that can take exponential time are found, ordinary ones are not, and none stops the program."""

import importlib.util
import pkgutil
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conversation import scope
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway
import protocols
from gateway import EmailToRouter, URLRouter, default, regex, url
from gateway.routing import bounded
from gateway.routing.ambiguity import is_anchored, judge, parse
from gateway.routing.bounded import TookTooLong
from gateway.routing.patterns import DangerousPattern, Regex

DANGEROUS = [
    # expression, its dangerous part, what to repeat, what to put behind
    (r"^(a+)+@x\.org$", "(a+)+", "a", "!"),
    (r"^([a-zA-Z0-9]+)*$", "([a-zA-Z0-9]+)*", "a", "!"),
    (r"^(a|ab|b)*$", "(a|ab|b)*", "ab", "!"),
    (r"^(\w+\s?)*$", r"(\w+\s?)*", "a", "!"),
    (r"(x+x+)+y", "(x+x+)+", "x", ""),
    (r"^(.*a){12,}b$", "(.*a){12,}", "a", ""),
    (r"^(a?b?)*c", "(a?b?)*", "ab", ""),
    (r"^((a?)*b)*c", "((a?)*b)*", "ab", ""),
    (r"^(?:(?:a*|b*)c)*!", "(?:(?:a*|b*)c)*", "c", ""),
    (r"^(?:a+){1,40}$", "(?:a+){1,40}", "a", "!"),
    (r"^(?:a{1,3}){1,60}$", "(?:a{1,3}){1,60}", "a", "!"),
    (r"^(\w{4,10})*$", r"(\w{4,10})*", "a", "!"),
    (r"^(?:\w+-?)+@x\.org$", r"(?:\w+-?)+", "a", "!"),
    (r"^([^@]+\.?)+@example\.org$", r"([^@]+\.?)+", "a", "!"),
    (r"^(?P<user>(?:[a-z0-9]+[._-]?)+)@example\.org$", "(?:[a-z0-9]+[._-]?)+", "a", "!"),
    (r"^((\d+)|(\w+))*@", r"((\d+)|(\w+))*", "1", ""),
    (r"^(?:\s*\w*\s*)*;$", r"(?:\s*\w*\s*)*", " ", ""),
    (r"^(?:.*,)*x$", "(?:.*,)*", ",", ""),
    (r"^(?:(?:ab)*|(?:a|b)*)*c", "(?:(?:ab)*|(?:a|b)*)*", "ab", ""),
    (r"^(?>(a+)+b)", "(a+)+", "a", ""),
    (r"^(?=(a+)+b)a", "(a+)+", "a", ""),
    (r"^[(+](?#a+)\(*(\))(a+)+$", "(a+)+", "", ""),
    (r"(?x) ^ ( a+ )+ $ # ( a+", None, "a", "!"),
    (r"(?i)^(\d+|[a-z]+|A)+$", r"(\d+|[a-z]+|A)+", "a", "!"),
]
ORDINARY = [
    "",
    "^$",
    r"^articles/(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<slug>[\w-]+)/$",
    r"^(?P<path>.*)$",
    r"^(.*)/(.*)/x$",
    r"(\w+-)*\w+$",
    r"(?:[a-z]+\.)+example\.org$",
    r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$",
    r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    r"(?:\d{1,3}\.){3}\d{1,3}$",
    r"^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$",
    r'^"(?:[^"\\]|\\.)*"@',
    r"(?:%[0-9a-f]{2}|\w)*$",
    r"^(?:[^/]+/)*[^/]*$",
    r"(\d+)(,\d{3})*$",
    r"^[\w.+-]+@(?:support|sales)\.example\.org$",
    r"^([a-z]+(?:-[a-z]+)*)(?:/([a-z]+(?:-[a-z]+)*))*/$",
    r"^(?:ab|cd)+$",
    r"^(?:a|b)+$",
    r"^(\w|\d)+$",
    r"^(foo|foobar)*$",
    r"^((?!bad).)*$",
    r"^(\b\w+\b\s*)+$",
    r"^(?:a*b)*$",
    r"^(?:a++)+$",
    r"^(?>a+)+$",
    r"^(?:x+x+y)z",
    "(a+)+",  # nothing has to follow, so nothing fails
    r"(\w+\s*)+",
]


def judged(text: str, flags: int = 0) -> Any:
    return judge(text, parse(text, flags))


@pytest.mark.parametrize(("text", "part", "pump", "end"), DANGEROUS, ids=[each[0] for each in DANGEROUS])
def test_what_takes_exponential_time_is_found(text: str, part: str | None, pump: str, end: str) -> None:
    with pytest.raises(DangerousPattern) as refused:
        Regex(text)
    assert refused.value.part == (part or text)
    if pump:
        with pytest.raises(TookTooLong):
            bounded.search(re.compile(text), pump * 60 + end)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_expressions_are_taken(text: str) -> None:
    assert Regex(text).match("") is None or judged(text).dangerous is None


def test_none_of_our_own_expressions_is_dangerous() -> None:
    ours: dict[str, re.Pattern[Any]] = {}
    for package in (gateway, protocols):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.startswith("gateway.django."):  # importing them needs a project's settings
                spec = importlib.util.find_spec(found.name)
                assert spec is not None
                assert "re.compile" not in Path(spec.origin or "").read_text()
            elif not found.name.endswith("__main__"):
                module = vars(importlib.import_module(found.name))
                ours |= {f"{found.name}.{name}": it for name, it in module.items() if isinstance(it, re.Pattern)}
    assert len(ours) > 40
    texts = {
        name: it.pattern if isinstance(it.pattern, str) else it.pattern.decode("latin-1") for name, it in ours.items()
    }
    flags = {name: it.flags & (re.VERBOSE | re.IGNORECASE | re.MULTILINE | re.DOTALL) for name, it in ours.items()}
    assert {name: text for name, text in texts.items() if judged(text, flags[name]).dangerous} == {}


ATOMS = st.sampled_from(["a", "b", "[ab]", "ab", ".", "(?:a|ab)", "(a)", "(?:b|)", r"\1", "(?=a)"])
QUANTIFIERS = st.sampled_from(["", "*", "+", "?", "{2}", "{12}", "{1,3}", "{2,9}", "{9,}", "*?", "++"])
EXPRESSIONS = st.recursive(
    st.builds(str.__add__, ATOMS, QUANTIFIERS),
    lambda inner: st.builds(lambda body, quantifier: f"(?:{''.join(body)}){quantifier}", st.lists(inner), QUANTIFIERS),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(st.lists(EXPRESSIONS, max_size=3).map("".join), st.text("ab", max_size=12))
def test_what_is_not_found_dangerous_takes_no_more_steps_than_told(text: str, end: str) -> None:
    text = f"(a?){text}c$"
    try:
        pattern = Regex(text)
    except ValueError:
        return
    begun = time.process_time()
    try:
        pattern.match("ab" * 15 + end)
    except TookTooLong:
        assert pattern._quick < 30 + len(end)
    assert time.process_time() - begun < 2


NOT_JUDGED = "^(?:(?=a)a+)+$"
"""Dangerous, and no judge sees it: there is an assertion in the loop."""


@pytest.mark.parametrize("text", [NOT_JUDGED, "^(.*)(.*)(.*)(.*)(.*)x$"])
def test_a_search_that_is_not_done_is_stopped(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(TookTooLong):
        Regex(text).match("a" * 2000 + "!")
    assert time.process_time() - begun < 5  # by itself it takes hours


def test_a_profiler_may_begin_and_end_at_any_time() -> None:
    """One that samples by CPU time has the same signal and the same timer."""
    pattern = Regex(NOT_JUDGED)
    samples: list[int] = []
    with pytest.raises(TookTooLong):
        pattern.match("a" * 60 + "!")
    ours = signal.signal(signal.SIGVTALRM, lambda number, frame: samples.append(number))
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 3600)
        assert pattern.match("aaa!") is None
        assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 3000, "its timer runs on"
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # which would end the process
        with pytest.raises(TookTooLong):
            pattern.match("a" * 60 + "!")
        assert samples == []
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, ours)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (r"^(\w+){8}@x$", "a" * 60),
        ("^(a+){10}$", "a" * 40 + "!"),
        ("^(a?){30}$", "a" * 30 + "!"),
        ("^(?:|a|){25}!$", "x"),
        ("^(?:a?a?){14}b$", "a" * 28),
    ],
)
def test_the_rounds_of_a_counted_repeat_multiply(text: str, key: str) -> None:
    """No loop in it is dangerous, and the search takes hours all the same."""
    begun = time.process_time()
    with pytest.raises(TookTooLong):
        Regex(text).match(key)
    assert time.process_time() - begun < 1


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything and says nothing."""


@pytest.mark.parametrize(
    ("router", "asked"),
    [
        (EmailToRouter([regex(NOT_JUDGED, nothing), default(nothing)]), scope("email", rcpt_to=["a" * 60 + "!"])),
        (URLRouter([url(NOT_JUDGED, nothing), default(nothing)]), scope("http", path="/" + "a" * 8000 + "!")),
    ],
    ids=["email", "http"],
)
def test_what_a_route_comes_to_no_end_with_is_unrouted(
    router: Any, asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert not router.routable(asked)
    assert router.explain(asked) is None
    assert f"no route; {NOT_JUDGED} -> {__name__}.nothing was not done after " in caplog.text


def test_a_thousand_of_them_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded._timer, "_wary_until", 0.0)
    pattern, begun, said = Regex(NOT_JUDGED), time.process_time(), []
    for _ in range(30):
        with pytest.raises(TookTooLong) as stopped:
            pattern.match("a" * 60 + "!")
        said.append(str(stopped.value))
    assert said[:2] == ["50 ms of CPU", "5 ms of CPU"]
    assert time.process_time() - begun < 30 * bounded.SECONDS


def test_a_route_written_in_python_is_checked_as_well() -> None:
    for make in (url, regex):
        with pytest.raises(ValueError, match=re.escape("'(a+)+' can match the same text in many ways")):
            make("^(a+)+$", nothing)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["", "^", r"\A", "(?m)^", r"\b", "(?<=a)", "^|"]), EXPRESSIONS, st.text("ab\n", max_size=8))
def test_a_bounded_search_finds_what_a_search_finds(begin: str, body: str, text: str) -> None:
    try:
        pattern = re.compile(f"{begin}(a)?{body}")
    except re.error:
        return
    found, expected = bounded.search(pattern, text), pattern.search(text)
    assert (found and (found.span(), found.groups())) == (expected and (expected.span(), expected.groups()))
    if is_anchored(parse(pattern.pattern)):
        assert not expected or expected.start() == 0


def test_a_search_that_may_begin_anywhere_is_stopped() -> None:
    for text in (r".*x$", r"\w+x$", r".*?x$", r"(\w+)-(\w+)-x$"):
        begun = time.process_time()
        try:
            found = Regex(text).match("a" * 100_000)
        except TookTooLong:
            found = None
        assert found is None
        assert time.process_time() - begun < 1.5  # by itself up to 40 s


def test_long_texts_are_matched_as_ever() -> None:
    path = "a/" * 4000
    assert Regex(r"^(.*)/(.*)/$").match(path) == ((("a/" * 3999)[:-1], "a"), {}, "")
