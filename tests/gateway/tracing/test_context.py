"""W3C Trace Context crosses the gateway: in by each protocol, out by each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crossing import HANDLERS, PROTOCOLS, SPANS, Crossing, Field, crossing
from gateway_traced import handlers
from servers.collector import Span
from servers.traced_device import SENT, SPAN, STATE, TRACE, UNSAMPLED
from waiting import until

LONG = ",".join(f"v{number:02}={'x' * 60}" for number in range(9))
"""More than the 512 characters of a tracestate that W3C asks for."""
MALFORMED: dict[str, list[Field]] = {
    "too long": [("traceparent", SENT + "-" + "a" * 3000)],
    "version 00 with more": [("traceparent", SENT + "-00")],
    "version ff": [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
    "version of one digit": [("traceparent", f"0-{TRACE}-{SPAN}-01")],
    "trace of zeros": [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
    "span of zeros": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "capitals": [("traceparent", SENT.upper())],
    "no hexadecimal digits": [("traceparent", f"00-{'g' * 32}-{SPAN}-01")],
    "digits that are not ASCII": [("traceparent", f"00-{'٣' * 32}-{SPAN}-01")],
    "not ASCII": [("traceparent", "größer")],
    "short": [("traceparent", "00-1-1-01")],
    "empty": [("traceparent", "")],
    "doubled": [("traceparent", SENT), ("traceparent", SENT)],
    "two that differ": [("traceparent", SENT), ("Traceparent", f"00-{'1' * 32}-{'2' * 16}-01")],
    "two in one": [("traceparent", f"{SENT},{SENT}")],
    "only the state": [("tracestate", STATE)],
    "a state that is none": [("traceparent", "00"), ("tracestate", "=,==,~")],
}
BAD_STATES = {
    "no member": "rojo",
    "one key twice": "a=1,a=2",
    "33 members": ",".join(f"k{number}=1" for number in range(33)),
    "too long": LONG,
    "not ASCII": "rojo=größer",
    "capital": "Rojo=1",
    "empty": "",
}


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path) -> Iterator[None]:
    with handlers(tmp_path, HANDLERS):
        yield


def is_sampled(fields: dict[str, str]) -> bool:
    """By the first flag; the second one says that the id is random."""
    return bool(int(fields["traceparent"][-2:], 16) & 1)


async def first(gateway: Crossing, protocol: str) -> Span:
    """The span of the message, once it has arrived."""
    names = SPANS[protocol]
    await until(lambda: any(gateway.collector.named(name) for name in names))
    return next(span for span in gateway.collector.spans if span.name in names)


@pytest.mark.parametrize("inbox", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_trusted_trace_and_its_state_go_on(protocol: str, inbox: bool) -> None:
    """Through the store, too, if the route has an inbox; and on to what the handler calls and sends."""
    async with crossing(inbox=inbox) as gateway:
        await gateway.bring(protocol, [("traceparent", SENT), ("tracestate", STATE)])
        for fields in await gateway.left():
            assert fields["traceparent"].startswith(f"00-{TRACE}-")
            assert is_sampled(fields)
            assert fields["tracestate"] == STATE
        span = await first(gateway, protocol)
        assert span.trace == TRACE
        await until(lambda: gateway.collector.named("send mqtt"))
        assert {each.trace for each in gateway.collector.spans} == {TRACE}
        assert {each.state for each in gateway.collector.spans} == {STATE}


@pytest.mark.parametrize("inbox", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_its_sender_does_not_trace_is_not_traced_and_goes_on_as_such(protocol: str, inbox: bool) -> None:
    """Although all is sampled here, and mails and texts always are."""
    async with crossing(inbox=inbox, sample="100%") as gateway:
        before = len(gateway.collector.spans)
        await gateway.bring(protocol, [("traceparent", UNSAMPLED), ("tracestate", STATE)])
        left = await gateway.left()
        await gateway.bring(protocol, [("traceparent", SENT)])
        await gateway.left(2)
        await first(gateway, protocol)  # spans of the message before would have come before it
        assert [fields["traceparent"][:36] for fields in left] == [f"00-{TRACE}-"] * 3
        assert [fields["traceparent"][-2:] for fields in left] == ["00"] * 3
        assert [fields["tracestate"] for fields in left] == [STATE] * 3
        assert all(span.state == "" for span in gateway.collector.spans[before:])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stranger_does_not_decide_what_is_traced(protocol: str) -> None:
    async with crossing(trusted="", sample="100%") as gateway:
        await gateway.bring(protocol, [("traceparent", UNSAMPLED), ("tracestate", STATE)])
        for fields in await gateway.left():
            assert is_sampled(fields)
            assert TRACE not in fields["traceparent"]
            assert "tracestate" not in fields
        span = await first(gateway, protocol)
        request = gateway.collector.first("POST /hooks/texts") if protocol == "sms" else span
        assert request is not None
        assert request.parent == ""
        assert request.links == ((TRACE, SPAN),)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_bad_traceparent_begins_a_new_trace(protocol: str, capfd: pytest.CaptureFixture[str]) -> None:
    """From whom one trusts, too. None of them is an error or a line in the log."""
    async with crossing(sample="100%") as gateway:
        await first_after_all(gateway, protocol)
        assert capfd.readouterr().err == ""


async def first_after_all(gateway: Crossing, protocol: str) -> None:
    for number, (what, fields) in enumerate(MALFORMED.items(), 1):
        await gateway.bring(protocol, fields)
        for sent in await gateway.left(number):
            assert is_sampled(sent), what
            assert TRACE not in sent["traceparent"], what
            assert "tracestate" not in sent, what
    names = SPANS[protocol]
    await until(lambda: sum(each.name in names for each in gateway.collector.spans) == len(MALFORMED))
    found = [each for each in gateway.collector.spans if each.name in names]
    assert len({each.trace for each in found}) == len(MALFORMED)
    assert all(each.links == () for each in found)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_bad_state_is_left_out_and_the_trace_goes_on(protocol: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with crossing() as gateway:
        for number, (what, state) in enumerate(BAD_STATES.items(), 1):
            await gateway.bring(protocol, [("traceparent", SENT), ("tracestate", state)])
            for fields in await gateway.left(number):
                assert fields["traceparent"].startswith(f"00-{TRACE}-"), what
                assert "tracestate" not in fields, what
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_state_in_several_fields_is_one(protocol: str) -> None:
    """W3C: they are joined in their order. A version to come may have more after the flags."""
    async with crossing() as gateway:
        later = f"cc-{TRACE}-{SPAN}-01-what-will-be"
        states = [("tracestate", "a=1"), ("Tracestate", " b=2 , "), ("tracestate", "c=3")]
        await gateway.bring(protocol, [*states, ("traceparent", later)])
        for fields in await gateway.left():
            assert fields["traceparent"].startswith(f"00-{TRACE}-")
            assert fields["tracestate"] == "a=1,b=2,c=3"


async def test_the_server_of_texts_can_be_trusted_by_itself() -> None:
    """Its provider's requests are; others to the same http server are not."""
    async with crossing(trusted="texts", sample="100%") as gateway:
        await gateway.bring("sms", [("traceparent", SENT)])
        request = await gateway.gateway.span("POST /hooks/texts")
        text = await gateway.gateway.span("process default")
        assert (request.trace, request.parent, text.parent) == (TRACE, SPAN, request.id)
        await gateway.bring("http", [("traceparent", SENT)])
        stranger = await gateway.gateway.span("GET ^")
        assert (stranger.parent, stranger.links) == ("", ((TRACE, SPAN),))
