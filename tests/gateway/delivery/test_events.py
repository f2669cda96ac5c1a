"""What an application may send is the same for a peer that is there and from the store; errors are the handler's."""

import asyncio
import linecache
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conversation import scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import (
    AsyncEmailConsumer,
    AsyncMqttBatchConsumer,
    AsyncMqttConsumer,
    AsyncSMSConsumer,
    EmailConsumer,
    EmailToRouter,
    MqttBatchConsumer,
    MqttConsumer,
    SMSConsumer,
    default,
    domain,
)
from gateway.scope_kinds import scope_kinds
from gateway.store import codec
from protocols.app_run import AppRun
from protocols.errors import Disconnected, LocalProtocolError
from protocols.mail.run import EmailRun
from protocols.mail.smtp.replies import verdict_reply
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.sys_topics import Counters
from protocols.mqtt.client.run import MQTTClientRun
from protocols.mqtt.client.settings import MQTTClientSettings
from protocols.mqtt.connection.client_connection import ClientConnection
from protocols.mqtt.connection.endings import Endings
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire import packets
from protocols.mqtt.wire.parser import Parser
from protocols.secret import Secret
from protocols.sms.provider import DeliveryReceipt, OutgoingText, Request, TextMessage
from protocols.sms.providers.generic import Generic, GenericSettings
from protocols.sms.providers.twilio import Twilio, TwilioSettings
from protocols.sms.run import ReceiptRun, TextRun

MAIL = b"From: a@x.org\r\nSubject: hi\r\n\r\nhello\r\n"
TEXT = TextMessage("+447400123456", "+15005550006", "m-1", "are you open?")
RECEIPT = DeliveryReceipt("+447400123456", "+15005550006", "m-1", "delivered")
TWILIO = Twilio(TwilioSettings(on="web", path="/", auth_token=Secret("t"), account_sid="AC1"))
GENERIC = Generic(GenericSettings(on="web", path="/", secret=Secret("k"), send_url="http://127.0.0.1:1/send"))
PUBLISH = {"type": "mqtt.receive", "topic": "t", "payload": b"", "qos": 1, "retain": False, "dup": False, "id": 1}


class Submission:
    """Takes everything, and remembers it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], bytes]] = []

    async def submit(self, mail_from: str, rcpt_to: Any, message: bytes, *, dsn: Any = None) -> None:
        self.taken.append((mail_from, list(rcpt_to), message))


class Wire(asyncio.Transport):
    """A device's WebSocket that takes everything. It is closed as a whole, unlike a socket."""

    def __init__(self) -> None:
        super().__init__({"websocket": True})
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Host:
    """A server without sockets."""

    generation = 0

    def __init__(self, app: Any) -> None:
        self.app, self.name, self.state = app, "devices", {}
        self.settings = MQTTSettings(connect_timeout=3600)
        self.broker, self.counters, self.endings = Broker(self.settings), Counters(0.0), Endings()
        self.refusals: Counter[str] = Counter()
        self.access: Any = type("Open", (), {"needed": False, "rules_for": lambda *_: None})()

    def disconnected(self, device: ClientConnection) -> None: ...
    def leaving(self, device: ClientConnection) -> None: ...
    async def until_gone(self, client_id: str) -> None: ...


class Flow:
    """Our half of a connection to a broker, and the link of it."""

    lost = None

    def __init__(self) -> None:
        self.said: list[Any] = []

    async def accepted(self) -> None: ...
    def ends_because(self, reason: str) -> None: ...
    def stop_reading(self, run: MQTTClientRun) -> None: ...
    def read_on(self, run: MQTTClientRun) -> None: ...

    async def publish(self, *publication: Any) -> None:
        topic, payload, qos, retain, properties = publication
        self.said.append(packets.publish_parts(5, topic, payload, qos, retain=retain, properties=properties or None))

    async def subscribe(self, filters: Any) -> None:
        self.said.append(filters)

    async def unsubscribe(self, filters: Any) -> None:
        self.said.append(filters)

    def acknowledge(self, id: int, reason_code: int = 0) -> None:
        self.said.append(packets.puback(5, id, reason_code))

    async def close(self, reason_code: int = 0) -> None:
        self.said.append(packets.disconnect(reason_code))


# One run of each kind: the instance, for an application.


def delivery(app: Any) -> AppRun:
    return EmailRun(app, mail(), MAIL, Submission(), 10.0)


def text(app: Any) -> AppRun:
    return TextRun(app, sms(), TEXT)


def receipt(app: Any) -> AppRun:
    return ReceiptRun(app, sms(), RECEIPT)


def device(app: Any, version: int = 5) -> ClientConnection:
    parser = Parser(100_000)
    level = bytes((version,)) + b"\x02\0\0" + (b"\0" if version == 5 else b"") + b"\0\1d"
    [connect] = parser.feed(bytes((0x10, 6 + len(level))) + b"\0\4MQTT" + level)
    made = ClientConnection(Host(app), Wire(), parser, connect, assigned=False)
    made.data_received(b"\x32\x06\0\1t\0\1\0" if version == 5 else b"\x32\x05\0\1t\0\1")
    return made


def device_311(app: Any) -> ClientConnection:
    return device(app, 4)


def to_a_broker(app: Any) -> MQTTClientRun:
    flow: Any = Flow()
    run = MQTTClientRun(app, mqtt(), flow, flow, MQTTClientSettings(url="mqtt://broker.example"))
    run.unacknowledged.add(1)
    run.feed(PUBLISH | {"properties": {}})
    return run


def attempt(kind: str, app: Any, scope: Any, events: list[Any]) -> AppRun:
    made: AppRun = scope_kinds()[kind].delivery.attempt(app, scope, events)
    return made


def stored_mail(app: Any) -> AppRun:
    return attempt("email", app, mail(), [{"type": "email.receive", "body": MAIL, "more_body": False}])


def stored_text(app: Any) -> AppRun:
    return attempt("sms", app, sms(), [{"type": "sms.receive", "text": "hi", "media": []}])


def stored_receipt(app: Any) -> AppRun:
    return attempt("sms", app, sms(), [{"type": "sms.status", "message_id": "m", "status": "sent", "error": None}])


def stored_publish(app: Any) -> AppRun:
    return attempt("mqtt", app, mqtt(extensions=STORED), [PUBLISH | {"properties": {}}])


STORED = {"delivery": {"id": "e", "attempt": 1, "first_received": 1.0}}


def mail() -> Any:
    return scope("email", listener="mail", mailbox=None, headers=[], rcpt_to=["help@example.org", "b@x.org"])


def sms() -> Any:
    return scope("sms", listener="texts", message_id="m1", provider="generic")


def mqtt(**keys: Any) -> Any:
    return scope("mqtt", listener="devices", username=None, **keys)


async def crash_of(run: AppRun) -> BaseException | None:
    async with asyncio.timeout(10):
        await (run.serve() if isinstance(run, ClientConnection) else run.run())
    return run.error


def is_the_handler_s(error: BaseException) -> bool:
    """Whether the traceback shows the line of a handler."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == __file__]
    return any("# the handler's line" in linecache.getline(__file__, each.lineno or 0) for each in frames)


# The handler's line.


class Mails(EmailConsumer):
    does: Callable[[Any], Any]

    def receive(self, message: Any) -> None:
        type(self).does(self)  # the handler's line


class AsyncMails(AsyncEmailConsumer):
    does: Callable[[Any], Awaitable[None]]

    async def receive(self, message: Any) -> None:
        await type(self).does(self)  # the handler's line


class Texts(SMSConsumer):
    does: Callable[[Any], Any]

    def receive(self, text: str, media: Any) -> None:
        type(self).does(self)  # the handler's line


class AsyncTexts(AsyncSMSConsumer):
    does: Callable[[Any], Awaitable[None]]

    async def receive(self, text: str, media: Any) -> None:
        await type(self).does(self)  # the handler's line


class Things(MqttConsumer):
    does: Callable[[Any], Any]

    def receive(self, topic: str, payload: bytes) -> None:
        type(self).does(self)  # the handler's line


class AsyncThings(AsyncMqttConsumer):
    does: Callable[[Any], Awaitable[None]]

    async def receive(self, topic: str, payload: bytes) -> None:
        done = type(self).does(self)  # the handler's line
        if done is not None:
            await done  # the handler's line


class Batches(MqttBatchConsumer):
    does: Callable[[Any], Any]
    max_delay = 0.0

    def receive_batch(self, messages: Any) -> None:
        type(self).does(self)  # the handler's line


class AsyncBatches(AsyncMqttBatchConsumer):
    does: Callable[[Any], Awaitable[None]]
    max_delay = 0.0

    async def receive_batch(self, messages: Any) -> None:
        await type(self).does(self)  # the handler's line


def handling(consumer: Any, does: Any) -> Any:
    return type(consumer.__name__, (consumer,), {"does": staticmethod(does)})


def among_groups(consumer: Any) -> Any:
    """One of several groups of recipients, whose verdicts are summed up."""
    return EmailToRouter([domain("example.org", consumer), default(handling(AsyncMails, AsyncMails.accept))])


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        (lambda mail: mail.reject(code=250), "code is 250; write an integer from 500 to 599"),
        (lambda mail: mail.reject(code=450), "code is 450"),
        (lambda mail: mail.reject(code=550.0), "code is a float; write an integer from 500 to 599"),
        (lambda mail: mail.reject("no", code=True), "code is a bool"),
        (lambda mail: mail.reject(b"no"), "reason is a bytes; write text"),
        (lambda mail: mail.defer(retry_after="5"), "retry_after is a str; write a number of seconds"),
        (lambda mail: mail.send_message(MAIL, "ann@x.org"), "rcpt_to is a str; write a list"),
        (lambda mail: mail.send_message(MAIL, []), "rcpt_to is a list; write a list of one or more"),
        (lambda mail: mail.send_message(MAIL, ["ann"]), "an address is malformed"),
        (lambda mail: mail.send_message(MAIL, [None]), "an address is None"),
        (
            lambda mail: mail.send_message(MAIL, ["ann@x.org"], "a@x.org\r\nRCPT TO:<b@x.org>"),
            "an address is malformed",
        ),
        *(
            (lambda mail, no=no: mail.send_message(MAIL, ["ann@x.org"], no), "; write text")
            for no in (None, 0, b"", [])
        ),
        (lambda mail: mail.send_message(MAIL.decode(), ["ann@x.org"]), "message is a str; write bytes"),
        (lambda mail: mail.send_message(b"no header", ["ann@x.org"]), "no header fields"),
        (lambda mail: mail.send_message(b"Subject: a\nSubject: b\n\n", ["ann@x.org"]), "more than once: subject"),
    ],
)
@pytest.mark.parametrize("run", [delivery, stored_mail])
@pytest.mark.parametrize("consumer", [Mails, AsyncMails])
@pytest.mark.parametrize("wrap", [None, among_groups])
async def test_mail_s_errors_are_raised_where_the_handler_makes_them(
    run: Any, consumer: Any, does: Any, sentence: str, wrap: Any
) -> None:
    made = handling(consumer, does)
    error = await crash_of(run(made.as_asgi() if wrap is None else wrap(made)))
    assert isinstance(error, LocalProtocolError | TypeError)
    assert sentence in str(error)
    assert is_the_handler_s(error)


BLANK = [" \n\x00", "\u00a0\u200b", "\u2066\u2069", "\ufeff\ufffe", "\u2028"]


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        (lambda text: text.reply(""), "text has no visible character, and there are no media"),
        *((lambda text, blank=blank: text.reply(blank), "text has no visible character") for blank in BLANK),
        (lambda text: text.reply(7), "text is an int; write text"),
        (lambda text: text.reply("half \ud83d"), "lone surrogates"),
        (lambda text: text.reply("hi", "http://x/y.png"), "media is a str; write a list of URLs"),
        (lambda text: text.reply("hi", ["http://x/a b"]), "media has 'http://x/a b'; write URLs"),
        (lambda text: text.reject(["no"]), "reason is a list"),
        (lambda text: text.perform(text._emit({"type": "sms.send", "text": "x", "to": 7})), "to is 7"),
        (lambda text: text.perform(text._emit({"type": "sms.send", "text": "x", "to": "a\r\nb"})), "to is"),
        (lambda text: text.perform(text._emit({"type": "sms.send"})), "needs the key 'text'"),
        (lambda text: text.perform(text._emit({"type": "sms.defer", "retry_after": "x"})), "retry_after"),
    ],
)
@pytest.mark.parametrize("run", [text, stored_text])
@pytest.mark.parametrize("consumer", [Texts, AsyncTexts])
async def test_a_text_s_errors_are_raised_where_the_handler_makes_them(
    run: Any, consumer: Any, does: Any, sentence: str
) -> None:
    error = await crash_of(run(handling(consumer, does).as_asgi()))
    assert isinstance(error, LocalProtocolError | TypeError)
    assert sentence in str(error)
    assert is_the_handler_s(error)


@pytest.mark.parametrize("said", ["\U0001fae8", "\U0001face", "\uf8ff", "\u0301", "."])
@pytest.mark.parametrize("run", [text, stored_text])
async def test_characters_newer_than_python_and_a_maker_s_own_can_be_read(run: Any, said: str) -> None:
    """An emoji of this year is for the phones to know; this Python calls it unassigned, and not printable."""
    assert await crash_of(run(handling(AsyncTexts, lambda text: text.reply(said)).as_asgi())) is None


PUBLICATIONS = [
    (lambda thing: thing.publish("bad/#", b""), "topic is 'bad/#'; write a topic name"),
    (lambda thing: thing.publish("", b""), "topic is ''"),
    (lambda thing: thing.publish("a\nb", b""), "topic is 'a\\nb'"),
    (lambda thing: thing.publish("x" * 65536, b""), "topic is"),
    (lambda thing: thing.publish(b"t", b""), "topic is a bytes"),
    (lambda thing: thing.publish("t", 7), "payload is an int; write bytes"),
    (lambda thing: thing.publish("t", b"", qos=7), "qos is 7; write 0, 1 or 2"),
    (lambda thing: thing.publish("t", b"", qos=1.0), "qos is a float; write 0, 1 or 2"),
    (lambda thing: thing.publish("t", b"", retain="no"), "retain is a str; write True or False"),
    (lambda thing: thing.publish("t", b"", properties={"content_type": 1}), "content_type is not text"),
    (lambda thing: thing.publish("t", b"", properties={"reason_string": "x"}), "no property 'reason_string'"),
    (lambda thing: thing._say("publish", "mqtt.send", None, topic="t"), "needs the key 'payload'"),
]
ANSWERS = [
    (lambda thing: thing.reject_message(5), "reason_code is 5; write one of 0x00, 0x10, 0x80"),
    (lambda thing: thing.reject_message(0x8E), "reason_code is 142"),
    (lambda thing: thing.reject_message(0x80, "a\0b"), "reason_string is not text"),
    (lambda thing: thing.close(0x88), "reason_code is 136"),
]
RUNS = [device, device_311, to_a_broker, stored_publish]


@pytest.mark.parametrize(("does", "sentence"), PUBLICATIONS + ANSWERS)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("consumer", [Things, AsyncThings])
async def test_mqtt_s_errors_are_raised_where_the_handler_makes_them(
    run: Any, consumer: Any, does: Any, sentence: str
) -> None:
    error = await crash_of(run(handling(consumer, does).as_asgi()))
    assert isinstance(error, LocalProtocolError | TypeError)
    assert sentence in str(error)
    assert is_the_handler_s(error)


@pytest.mark.parametrize(("does", "sentence"), [*PUBLICATIONS, (lambda thing: thing.accept(), "is accepted already")])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("consumer", [Batches, AsyncBatches])
async def test_a_batch_s_errors_are_raised_where_the_handler_makes_them(
    run: Any, consumer: Any, does: Any, sentence: str
) -> None:
    error = await crash_of(run(handling(consumer, does).as_asgi()))
    assert isinstance(error, LocalProtocolError | TypeError)
    assert sentence in str(error)
    assert is_the_handler_s(error)


@pytest.mark.parametrize("run", [device, device_311, to_a_broker])
@pytest.mark.parametrize("consumer", [Things, AsyncThings])
async def test_nobody_can_defer_what_nobody_keeps(run: Any, consumer: Any) -> None:
    error = await crash_of(run(handling(consumer, lambda thing: thing.defer(5)).as_asgi()))
    assert isinstance(error, LocalProtocolError)
    assert "give its route a policy" in str(error)
    assert is_the_handler_s(error)


# The two agree, whatever is sent.

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 700),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.lists(st.one_of(st.text(max_size=5), st.integers(0, 3)), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
codes = st.sampled_from(
    [0, 1, 2, 4, 5, 0x10, 0x18, 0x19, 0x7F, 0x80, 0x87, 0x88, 0x8A, 0x97, 0x99, 0xFF, 256, 550, 599]
)
topics = st.one_of(
    st.sampled_from(["t", "a/b", "$x", "é"]), st.sampled_from(["+", "a/#", "a\x7f", "\ud800", "x" * 70000])
)
addresses = st.sampled_from(
    ["a@x.org", "b@X.org", "ü@x.org", "a", "a@", "a@x.org\r\n", "", '"a b"@x.org', "\ud800@x.org"]
)
properties = st.dictionaries(
    st.sampled_from(
        [
            *("content_type", "reason_string", "message_expiry_interval", "topic_alias", "subscription_identifier"),
            *("user_property", "correlation_data", "server_reference", "response_topic", "session_expiry_interval"),
            *("payload_format_indicator", "nothing"),
        ]
    ),
    st.one_of(junk, st.just([("a", "b")]), st.just([["a", "b"], ["a", "c"]]), st.just("a\0"), st.just(2**32)),
    max_size=2,
)
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just(1),
    "code": codes,
    "reason_code": codes,
    "reason_codes": st.lists(codes, max_size=2),
    "reason": st.text(max_size=9),
    "retry_after": st.one_of(st.floats(), st.integers()),
    "topic": topics,
    "payload": st.one_of(st.binary(max_size=5), st.just(bytearray(b"x")), st.just(memoryview(b"xy"))),
    "qos": st.integers(0, 3),
    "retain": st.booleans(),
    "properties": st.one_of(st.just({}), st.just({"user_property": [("a", "b")]}), properties),
    "subscribe": st.booleans(),
    "filters": st.lists(st.one_of(topics, st.tuples(topics, st.integers(0, 3))), max_size=2),
    "mail_from": addresses,
    "rcpt_to": st.lists(addresses, max_size=3),
    "message": st.sampled_from([MAIL, b"", b"Bcc: x\nTo: y\n\n.\n", b"To: a\nTo: b\n\n", b"A: \xff\r\n\r\n\0"]),
    "text": st.one_of(st.text(max_size=9), st.just("\ud83d"), st.just("x" * 4000)),
    "media": st.lists(st.sampled_from(["http://x/y", "", "a b"]), max_size=2),
    "to": st.sampled_from(["+447400123456", "", "Shop", "a\nb", None]),
    "from": st.sampled_from(["+447400123456", "", "Shop", "\ud800"]),
    "data": st.one_of(st.binary(max_size=5), st.just(b"x" * 70000)),
}


USED = {
    "email.accept": "",
    "email.reject": "code reason",
    "email.defer": "reason retry_after",
    "email.send": "mail_from rcpt_to message",
    "sms.accept": "",
    "sms.reject": "reason",
    "sms.defer": "retry_after",
    "sms.send": "text media to from",
    "mqtt.accept": "subscribe properties",
    "mqtt.reject": "reason_code properties",
    "mqtt.auth": "reason_code data properties",
    "mqtt.ack": "id reason_code properties",
    "mqtt.suback": "id reason_codes",
    "mqtt.send": "topic payload qos retain properties",
    "mqtt.defer": "id retry_after",
    "mqtt.subscribe": "filters",
    "mqtt.unsubscribe": "filters",
    "mqtt.disconnect": "reason_code properties",
}


def events(kind: str) -> st.SearchStrategy[Any]:
    """Events of ``kind``, most of them nearly right, and what is none."""

    def nearly(type_: str) -> st.SearchStrategy[Any]:
        keys = {key: KEYS[key] for key in USED[type_].split()}
        worse = {key: st.one_of(strategy, strategy, strategy, strategy, junk) for key, strategy in keys.items()}
        return st.one_of(
            st.fixed_dictionaries({"type": st.just(type_), **keys}),
            st.fixed_dictionaries({"type": st.just(type_)}, optional={**worse, "more": junk}),
        )

    known = [nearly(type_) for type_ in USED if type_.startswith(kind)]
    return st.one_of(*known, st.dictionaries(st.sampled_from(["type", "text"]), junk), junk)


async def verdict_on(run: AppRun, accept: Any, event: Any) -> str:
    """``accepted``, or what ``send`` raised."""
    said: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accept is not None:
            await send(accept)
            while (await receive())["type"] != "mqtt.receive":
                pass
        try:
            await send(event)
        except LocalProtocolError as error:
            said.append(str(error))
        else:
            said.append("accepted")

    run.app = app
    await (run.serve() if isinstance(run, ClientConnection) else run.run())
    assert run.error is None or isinstance(run, ClientConnection), run.error
    return said[0]


MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(events("email"))
def test_mail_is_judged_alike(event: Any) -> None:
    async def both() -> None:
        live, stored = delivery(None), stored_mail(None)
        one, other = await verdict_on(live, None, event), await verdict_on(stored, None, event)
        assert one == other
        if one == "accepted":
            assert isinstance(live, EmailRun)
            line = verdict_reply(live.verdicts.combined, "id")
            assert line.isascii()
            assert line.isprintable()
            assert line[:3] in ("250", "451", *map(str, range(500, 600)))
            _kept(stored)
            for sent in getattr(live._submission, "taken", []):
                assert sent[2].count(b"\n") == sent[2].count(b"\r\n") == sent[2].count(b"\r")

    asyncio.run(both())


@MANY
@given(events("sms"), st.booleans())
def test_texts_are_judged_alike(event: Any, is_receipt: bool) -> None:
    async def both() -> None:
        live, stored = (receipt(None), stored_receipt(None)) if is_receipt else (text(None), stored_text(None))
        one, other = await verdict_on(live, None, event), await verdict_on(stored, None, event)
        assert one == other
        if one == "accepted":
            replies = live.replies  # type: ignore[attr-defined]
            for provider in (TWILIO, GENERIC):
                assert provider.answer(Request("POST", "", {}), replies).status == 200
                for reply in replies:
                    provider.request(OutgoingText("id", reply.sender or "a", reply.to or "b", reply.text, reply.media))
            _kept(stored)

    asyncio.run(both())


@MANY
@given(events("mqtt"), st.booleans(), st.sampled_from([device, device_311, to_a_broker]))
def test_mqtt_is_judged_alike(event: Any, accepted: bool, kind: Any) -> None:
    """Where both may send it now: a question of who is there, of which the tables say more."""

    async def both() -> None:
        accept = {"type": "mqtt.accept"} if accepted else None
        live, stored = kind(None), stored_publish(None)
        one = await _of(live, accept, event)
        other = await _of(stored, accept, event)
        if not any("may not be sent now" in each for each in (one, other)):
            assert one == other
        if other == "accepted":
            _kept(stored)
        if one == "accepted" and isinstance(live, ClientConnection):
            _written(live)

    asyncio.run(both())


async def _of(run: AppRun, accept: Any, event: Any) -> str:
    try:
        return await verdict_on(run, accept, event)
    except Disconnected:
        return "may not be sent now: gone"


def _written(made: ClientConnection) -> None:
    """What left is packets."""
    data = bytes(made._transport.written)  # type: ignore[attr-defined]
    while data:
        length, at = 0, 1
        while True:
            length |= (data[at] & 0x7F) << 7 * (at - 1)
            at += 1
            if data[at - 1] < 0x80:
                break
        assert len(data) >= at + length
        data = data[at + length :]


def _kept(stored: Any) -> None:
    """A store takes it, gives back the same, and that can be spoken."""
    sent = [*stored.outgoing, *stored.replies, *([stored.verdict] if stored.verdict else [])]
    assert codec.decode(codec.encode({}, sent))[1] == sent
    for event in stored.outgoing:
        if event["type"] == "mqtt.send":
            message = ApplicationMessage(
                event["topic"], event["payload"], event["qos"], retain=event["retain"], properties=event["properties"]
            )
            for version in (4, 5):
                assert message.parts(version, 1, retain=event["retain"], identifiers=(), now=0.0)[0][0] & 0xF0 == 0x30
