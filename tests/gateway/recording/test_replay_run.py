"""What an application gets of a recording, for each scope type: a conversation that begins and ends as a live one."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.recording.replay_run import UncheckedReplay
from gateway.scopes.installed import KINDS
from protocols.app_run import AppRun, observed
from protocols.errors import LocalProtocolError

HTTP = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "extensions": {}}
MQTT = {"type": "mqtt", "role": "server", "client_id": "dev1", "username": None, "extensions": {}}
EMAIL = {"type": "email", "mail_from": "a@example.net", "rcpt_to": ["b@example.org"], "extensions": {}}
SMS = {"type": "sms", "sender": "+447700900123", "recipient": "+447700900999", "extensions": {}}
READING = {"type": "mqtt.receive", "topic": "t", "payload": b"1", "qos": 1, "id": 7, "properties": {}}


async def heard(scope: dict[str, Any], events: Sequence[Any], *answers: Sequence[Any]) -> list[str]:
    """The types of the events that an application gets, which sends ``answers`` after each."""
    types: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        left = list(answers)
        while not types or not types[-1].endswith(".disconnect"):
            types.append((await receive())["type"])
            for each in left.pop(0) if left else ():
                await send(each)

    run = KINDS[scope["type"]].replayed(app, scope, events)
    assert await run.run() is None
    return types


START: Any = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Any = {"type": "http.response.body", "body": b""}


@pytest.mark.parametrize("events", [[], [{"type": "http.request", "body": b"x", "more_body": False}]])
async def test_the_client_of_a_request_leaves_after_the_response(events: list[Any]) -> None:
    assert await heard(HTTP, events, [START, BODY]) == ["http.request", "http.disconnect"]


async def test_a_request_whose_end_was_not_read_has_one() -> None:
    begun = [{"type": "http.request", "body": b"x", "more_body": True}]
    answers = [], [START, BODY]
    assert await heard(HTTP, begun, *answers) == ["http.request", "http.request", "http.disconnect"]


async def test_a_stream_of_starlette_is_not_cut_off() -> None:
    from starlette.responses import StreamingResponse

    async def numbers() -> Any:
        for each in range(3):
            yield f"{each}"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(numbers())(scope, receive, send)

    left = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    run = KINDS["http"].replayed(app, HTTP, left)
    assert await run.run() is None
    assert b"".join(each.get("body", b"") for each in run.sent) == b"012"


async def test_a_device_leaves_after_the_acknowledgement() -> None:
    accept = {"type": "mqtt.accept"}
    acknowledge = {"type": "mqtt.ack", "id": 7}
    expected = ["mqtt.connect", "mqtt.receive", "mqtt.disconnect"]
    assert await heard(MQTT, [READING], [accept], [acknowledge]) == expected
    assert await heard(MQTT, [{**READING, "qos": 0, "id": None}], [accept]) == expected
    assert await heard({**MQTT, "role": "client", "listener": "plant"}, [READING], [accept], [acknowledge]) == expected


async def test_a_websocket_ends_as_it_did_or_breaks() -> None:
    scope = {"type": "websocket", "path": "/", "headers": [], "extensions": {}}
    accept = [{"type": "websocket.accept"}]
    begun = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hi"}]
    closed = [*begun, {"type": "websocket.disconnect", "code": 1000}]
    expected = ["websocket.connect", "websocket.receive", "websocket.disconnect"]
    assert await heard(scope, closed, accept) == await heard(scope, begun, accept) == expected


async def test_mail_and_texts_are_followed_by_their_end() -> None:
    body = [{"type": "email.receive", "body": b"", "more_body": False}]
    assert await heard(EMAIL, body) == await heard(EMAIL, []) == ["email.receive", "email.disconnect"]
    text = [{"type": "sms.receive", "text": "hi", "media": []}]
    assert await heard(SMS, text) == ["sms.receive", "sms.disconnect"]


@pytest.mark.parametrize(
    ("scope", "sent"),
    [
        (HTTP, BODY),
        (HTTP, {**START, "status": "200"}),
        (MQTT, {"type": "mqtt.ack", "id": 7}),
        (EMAIL, {"type": "email.reject", "code": 250}),
        (SMS, {"type": "email.accept"}),
        (HTTP, "nothing"),
    ],
)
async def test_what_may_not_be_sent_raises_at_the_handlers_line(scope: dict[str, Any], sent: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(sent)

    assert isinstance(await KINDS[scope["type"]].replayed(app, scope, []).run(), LocalProtocolError)


async def test_a_scope_type_without_a_table_may_send_everything_that_is_an_event() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "fax.page", "number": 1})
        await send({"page": 2})

    run = UncheckedReplay(app, {"type": "fax"}, [])
    assert isinstance(await run.run(), LocalProtocolError)
    assert run.sent == [{"type": "fax.page", "number": 1}]


async def test_it_is_seen_as_a_live_run_is() -> None:
    """What a watcher of the application's answers sees is the event as it was sent, and each is seen before its end."""

    class Seen:
        def __init__(self) -> None:
            self.told: list[str] = []

        def began(self, run: AppRun) -> None:
            self.told.append("began")

        def waits(self, run: AppRun) -> None:
            pass

        def received(self, run: AppRun, event: Any) -> None:
            self.told.append(event["type"])

        def sent(self, run: AppRun, event: Any) -> None:
            self.told.append(event["type"])

        def ended(self, run: AppRun) -> None:
            self.told.append("ended")

    observed.add(seen := Seen())
    try:
        await heard(HTTP, [], [START, BODY])
    finally:
        observed.remove(seen)
    start, body = START["type"], BODY["type"]
    assert seen.told == ["began", "http.request", start, body, "http.disconnect", "ended"]
