"""Routers, in memory."""

import asyncio
import re
from functools import partial, wraps
from typing import Any

import pytest
from conversation import Conversation, in_form_of, scope
from hypothesis import given
from hypothesis import strategies as st

from gateway import (
    AsyncConsumer,
    AsyncEmailConsumer,
    AsyncMqttConsumer,
    EmailConsumer,
    EmailToRouter,
    ProtocolTypeRouter,
    Router,
    SMSFromRouter,
    TopicRouter,
    URLRouter,
    address,
    as_application,
    country,
    current_route,
    default,
    domain,
    phone,
    regex,
    topic,
    url,
)
from gateway.routing.patterns import Regex
from protocols.mail.events import CHECKS
from protocols.mail.recipients import recipient
from protocols.mail.verdict import Verdicts


def named(name: str, seen: list[Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((name, scope))

    app.__qualname__ = name
    return app


async def route(router: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:
    async with Conversation(router, scope) as peer:
        await peer.end()
        return peer.heard()


@pytest.mark.parametrize(
    ("path", "name", "captured"),
    [
        ("/longpoll/", "longpoll", {"args": (), "kwargs": {}}),
        ("/room/7/", "room", {"args": (), "kwargs": {"id": "7"}}),
        ("/", "rest", {"args": (), "kwargs": {}}),
    ],
)
async def test_urls(path: str, name: str, captured: dict[str, Any]) -> None:
    seen: list[Any] = []
    router = URLRouter(
        [
            url("^longpoll/$", named("longpoll", seen)),
            url(r"^room/(?P<id>\d+)/$", named("room", seen)),
            url("^", named("rest", seen)),
        ]
    )
    await route(router, scope("http", path=path))
    assert seen[0][0] == name
    assert {key: seen[0][1]["url_route"][key] for key in captured} == captured


NESTED = URLRouter(
    [
        url(
            r"^shops/(?P<shop>\w+)/",
            ProtocolTypeRouter(
                {"http": URLRouter([url(r"^items/(?P<item>\d+)/$", named("item", [])), url("^$", named("shop", []))])}
            ),
        ),
        url(r"^(\w+)/", URLRouter([url(r"^(\d+)$", named("numbered", [])), default(named("rest", []))])),
        url(r"^maybe/(\d+)/?(?P<word>[a-z]+)?", named("maybe", [])),
    ]
)


@pytest.mark.parametrize(
    ("path", "name", "args", "kwargs"),
    [
        ("/shops/a/items/7/", "item", (), {"shop": "a", "item": "7"}),
        ("/shops/a/", "shop", (), {"shop": "a"}),
        ("/n/5", "numbered", ("n", "5"), {}),
        ("/n/x", "rest", ("n",), {}),
    ],
)
async def test_a_url_router_below_another_looks_at_the_rest_and_adds_to_its_captures(
    path: str, name: str, args: tuple[str, ...], kwargs: dict[str, str]
) -> None:
    seen: list[Any] = []
    app = ProtocolTypeRouter({"http": NESTED})
    asked = scope("http", path=path)
    found = app.explain(asked)
    assert found is not None
    assert found.target == f"{__name__}.{name}"
    assert app.routable(asked)

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    object.__setattr__(found, "app", look)
    await route(app, asked)
    assert (seen[0]["path"], seen[0]["url_route"]["args"], seen[0]["url_route"]["kwargs"]) == (path, args, kwargs)


async def test_what_a_nested_router_does_not_know_is_not_found() -> None:
    app = ProtocolTypeRouter({"http": NESTED})
    assert (await route(app, scope("http", path="/shops/a/nothing")))[0]["status"] == 404
    assert not app.routable(scope("http", path="/shops/a/nothing"))


def test_an_optional_name_that_is_not_there_hides_the_unnamed_groups_all_the_same() -> None:
    assert Regex(r"^maybe/(\d+)/?(?P<word>[a-z]+)?").match("maybe/7") == ((), {}, "")


async def test_what_no_route_takes_gets_its_protocols_refusal() -> None:
    nothing = ProtocolTypeRouter(
        {
            "http": URLRouter([]),
            "websocket": URLRouter([]),
            "email": EmailToRouter([]),
            "sms": SMSFromRouter([]),
        }
    )
    assert (await route(nothing, scope("http")))[0]["status"] == 404
    assert (await route(nothing, scope("websocket")))[0]["type"] == "websocket.close"
    assert (await route(nothing, scope("email")))[0]["code"] == 550
    assert (await route(nothing, scope("sms")))[0]["type"] == "sms.reject"
    assert (await route(nothing, scope("mqtt")))[0]["type"] == "mqtt.reject"
    assert not nothing.routable(scope("email"))


@pytest.mark.parametrize(
    ("sender", "region", "name"),
    [
        ("+447700900123", "GB", "uk"),
        ("+14155550100", "US", "us"),
        ("+33123456789", "FR", "rest"),
        ("68849", None, "rest"),
    ],
)
async def test_senders(sender: str, region: str | None, name: str) -> None:
    seen: list[Any] = []
    router = SMSFromRouter(
        [phone("+44", named("uk", seen)), country("US", named("us", seen)), default(named("rest", seen))]
    )
    await route(router, scope("sms", sender=sender, country=region))
    assert [name for name, _ in seen] == [name]


def mail_router(seen: list[Any], **verdicts: Any) -> EmailToRouter:
    def desk(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            event = await receive()
            while event["more_body"]:
                event = await receive()
            seen.append((name, scope["rcpt_to"]))
            verdict = verdicts.get(name)
            if isinstance(verdict, Exception):
                raise verdict
            if verdict:
                await send({"type": f"email.{verdict}"})

        return app

    return EmailToRouter(
        [
            address("boss@example.org", desk("boss")),
            domain("example.org", desk("everyone")),
            regex(r"@support\.", desk("support")),
        ]
    )


PARTS = [
    {"type": "email.receive", "body": b"a", "more_body": True},
    {"type": "email.receive", "body": b"b", "more_body": False},
]


async def deliver(router: Any, *rcpt_to: str) -> list[dict[str, Any]]:
    to = {"rcpt_to": list(rcpt_to), "recipients": [recipient(each) for each in rcpt_to]}
    async with Conversation(router, scope("email", **to)) as server:
        server.say(*PARTS)
        await server.end()
        return server.heard()


def told(heard: list[dict[str, Any]], *rcpt_to: str) -> Verdicts:
    """The verdicts that a server has heard."""
    verdicts = Verdicts(rcpt_to)
    for event in heard:
        verdicts.add(CHECKS[event["type"]](event))
    return verdicts


async def test_recipients_are_grouped_by_their_first_route() -> None:
    seen: list[Any] = []
    router = mail_router(seen)
    await deliver(
        router, "a@example.org", "Boss@example.org", "b@EXAMPLE.org", "x@support.example.com", "no@where.test"
    )
    assert seen == [
        ("everyone", ["a@example.org", "b@EXAMPLE.org"]),
        ("boss", ["Boss@example.org"]),
        ("support", ["x@support.example.com"]),
    ]


@pytest.mark.parametrize(
    ("verdicts", "sum_of_them"),
    [
        ({}, "email.accept"),
        ({"boss": "defer"}, "email.defer"),
        ({"boss": "reject", "everyone": "reject"}, "email.reject"),
        ({"boss": "reject"}, "email.accept"),
        ({"boss": "defer", "everyone": "reject"}, "email.defer"),
    ],
)
async def test_verdicts_are_combined(verdicts: dict[str, str], sum_of_them: str) -> None:
    both = ("boss@example.org", "a@example.org")
    heard = told(await deliver(mail_router([], **verdicts), *both), *both)
    assert heard.combined_event["type"] == sum_of_them
    for each, name in zip(both, ("boss", "everyone"), strict=True):
        assert heard.event_for(each)["type"] == f"email.{verdicts.get(name, 'accept')}"


@pytest.mark.parametrize(
    ("wishes", "soonest"), [((60, 5), 5.0), ((5, 60), 5.0), ((None, 60), 60.0), ((None, None), None), ((-1, 1e9), 0.0)]
)
async def test_a_deferred_mail_comes_again_for_the_group_that_wishes_it_the_soonest(
    wishes: tuple[float | None, float | None], soonest: float | None
) -> None:
    def defers(wish: float | None) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "email.defer"} | ({} if wish is None else {"retry_after": wish}))

        return app

    router = EmailToRouter([address("boss@example.org", defers(wishes[0])), domain("example.org", defers(wishes[1]))])
    both = ("boss@example.org", "a@example.org")
    verdict = told(await deliver(router, *both), *both).combined_event
    assert (verdict["type"], verdict.get("retry_after")) == ("email.defer", soonest)


@pytest.mark.parametrize("form", [EmailConsumer, AsyncEmailConsumer])
async def test_every_group_hears_that_there_is_nothing_more(form: Any) -> None:
    """An application that waits for the last event would wait until its time is over, for each recipient."""
    seen: list[Any] = []

    class Hears(form):
        @in_form_of(form)
        def receive(self, message: Any) -> Any: ...

        @in_form_of(form)
        def email_disconnect(self, event: Any) -> Any:
            seen.append((event["type"], *self.scope["rcpt_to"]))

    async def reads_on(scope: Any, receive: Any, send: Any) -> None:
        while (event := await receive())["type"] != "email.disconnect":
            pass
        seen.append((event["type"], *scope["rcpt_to"]))

    router = EmailToRouter([address("boss@example.org", Hears), domain("example.org", reads_on)])
    both = ["boss@example.org", "a@example.org"]
    assert await deliver(router, *both) == [{"type": "email.accept", "rcpt_to": [each]} for each in both]
    assert seen == [("email.disconnect", "boss@example.org"), ("email.disconnect", "a@example.org")]


async def test_a_crash_in_one_group_is_raised_after_the_others_had_their_turn() -> None:
    seen: list[Any] = []
    with pytest.raises(RuntimeError, match="boss fell"):
        await deliver(mail_router(seen, boss=RuntimeError("boss fell")), "boss@example.org", "a@example.org")
    assert [name for name, _ in seen] == ["boss", "everyone"]


async def test_a_recipient_has_the_verdict_of_its_group_whatever_becomes_of_the_others() -> None:
    heard: list[Any] = []

    async def send(event: Any) -> None:
        heard.append(event)

    async def receive() -> Any:
        return {"type": "email.receive", "body": b"a", "more_body": False}

    both = ["boss@example.org", "a@example.org"]
    with pytest.raises(RuntimeError, match="boss fell"):
        await mail_router([], boss=RuntimeError("boss fell"))(scope("email", rcpt_to=both), receive, send)
    assert [(event["type"], event["rcpt_to"]) for event in heard] == [
        ("email.defer", ["boss@example.org"]),
        ("email.accept", ["a@example.org"]),
    ]


async def test_what_an_expression_captures_reaches_the_application_and_each_capture_has_a_run() -> None:
    seen: list[Any] = []

    async def desk(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["rcpt_to"], scope["url_route"]["kwargs"]))

    router = EmailToRouter([regex(r"^(?P<queue>\w+)(\+(?P<ticket>\d+))?@desk\.example$", desk)])
    await deliver(router, "a@desk.example", "b+7@desk.example", "A@desk.example", "b+7@desk.example")
    assert seen == [
        (["a@desk.example"], {"queue": "a"}),
        (["b+7@desk.example", "b+7@desk.example"], {"queue": "b", "ticket": "7"}),
        (["A@desk.example"], {"queue": "A"}),
    ]


async def test_the_captures_of_routers_one_below_the_other_are_together() -> None:
    seen: list[Any] = []

    async def desk(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["url_route"])

    below = EmailToRouter([regex(r"^(?P<queue>\w+)@", desk)])
    await deliver(EmailToRouter([regex(r"@(?P<site>\w+)\.example$", below)]), "a@desk.example")
    assert seen == [{"args": (), "kwargs": {"site": "desk", "queue": "a"}}]


@pytest.mark.parametrize("more", [0, 20])
@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("help+bill7@example.org", "help"),
        ("help@example.org", "help"),
        ("Help+x@example.org", "help"),
        ("help+vip@example.org", "vip"),
        ("sales+x@example.org", "rest"),
        ("+help@example.org", "rest"),
    ],
)
async def test_a_route_for_an_address_takes_it_with_a_tag(to: str, name: str, more: int) -> None:
    seen: list[Any] = []
    others = [address(f"a{number}@example.org", named("other", seen)) for number in range(more)]
    router = EmailToRouter(
        [
            *others,
            address("help+vip@example.org", named("vip", seen)),
            regex(r"^help@example\.org$", named("expression", seen)) if not more else address("x@y", named("x", seen)),
            address("help@example.org", named("help", seen)),
            domain("example.org", named("rest", seen)),
        ]
    )
    await deliver(router, to)
    assert [found for found, _ in seen] == [name if to != "help@example.org" or more else "expression"]


@pytest.mark.parametrize("more", [0, 20])
@pytest.mark.parametrize("written", ["bücher.example", "xn--bcher-kva.example", "BÜCHER.example"])
@pytest.mark.parametrize("make", ["domain", "address", "regex"])
async def test_an_internationalized_domain_in_both_forms(make: str, written: str, more: int) -> None:
    seen: list[Any] = []
    books = {
        "domain": lambda: domain(written, named("books", seen)),
        "address": lambda: address(f"help@{written}", named("books", seen)),
        "regex": lambda: regex(f"@{re.escape(written)}$", named("books", seen)),
    }[make]()
    router = EmailToRouter([*(address(f"a{number}@x.org", named("x", seen)) for number in range(more)), books])
    await deliver(router, "help@xn--bcher-kva.example")
    assert [name for name, _ in seen] == ["books"]


@given(
    st.lists(st.sampled_from(["a", "b", "a+1", "b+2", "c", "x"]), max_size=6).map(
        lambda names: [f"{name}@example.org" for name in names]
    )
)
async def test_every_recipient_is_in_one_group_or_told_so(rcpt_to: list[str]) -> None:
    """Each recipient once, with those alone whose route and captures it shares, in the order of the envelope."""
    seen: list[Any] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["rcpt_to"], scope["recipients"], scope["url_route"]["kwargs"]))

    router = EmailToRouter(
        [
            address("a@example.org", keep),
            regex(r"^b(\+(?P<tag>\d))?@example\.org$", keep),
            regex(r"^(?P<name>c)@", keep),
        ]
    )
    heard = await deliver(router, *rcpt_to)
    grouped = [each for group, _, _ in seen for each in group]
    assert sorted(grouped) == sorted(each for each in rcpt_to if not each.startswith("x"))
    assert [[each["address"] for each in recipients] for _, recipients, _ in seen] == [group for group, _, _ in seen]
    firsts = [rcpt_to.index(group[0]) for group, _, _ in seen]
    assert firsts == sorted(firsts)
    assert len({(group[0][0], *captures.items()) for group, _, captures in seen}) == len(seen)
    verdicts = told(heard, *rcpt_to)
    for each in rcpt_to:
        assert verdicts.event_for(each)["type"] == ("email.reject" if each.startswith("x") else "email.accept")


def message(topic: str, id: int | None = None) -> dict[str, Any]:
    return {"type": "mqtt.receive", "topic": topic, "payload": b"", "qos": 0, "id": id}


CONNECT = {"type": "mqtt.connect", "username": "u", "password": b"p"}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}


async def test_topics_of_one_connection_reach_their_applications() -> None:
    seen: list[Any] = []

    class Temperature(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            seen.append(("temperature", topic, current_route.get()))
            await self.publish("seen", topic)

        async def disconnect(self, message: Any) -> None:
            seen.append("temperature left")

    class Doors(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            seen.append(("doors", topic, current_route.get()))

    router = TopicRouter([topic("sensors/+/temperature", Temperature), topic("doors/#", Doors)])
    async with Conversation(router, scope("mqtt")) as device:
        device.say(CONNECT, message("sensors/1/temperature", 5), message("doors/a"), message("else", 6), DISCONNECT)
        await device.end()
        heard = device.heard()
    assert heard[0] == {"type": "mqtt.accept"}
    assert sorted(event["id"] for event in heard if event["type"] == "mqtt.ack") == [5, 6]
    assert [event["topic"] for event in heard if event["type"] == "mqtt.send"] == ["seen"]
    assert (
        "temperature",
        "sensors/1/temperature",
        f"sensors/+/temperature -> {__name__}.{Temperature.__qualname__}",
    ) in seen
    assert ("doors", "doors/a", f"doors/# -> {__name__}.{Doors.__qualname__}") in seen
    assert "temperature left" in seen


async def test_a_branch_that_crashes_ends_the_connection_with_its_error() -> None:
    class Broken(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            raise RuntimeError("branch fell")

    router = TopicRouter([topic("a", Broken), topic("b", AsyncMqttConsumer)])
    crashed: list[str] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        try:
            await router(scope, receive, send)
        finally:
            crashed.append(current_route.get())

    with pytest.raises(RuntimeError, match="branch fell"):
        async with Conversation(server, scope("mqtt")) as device:
            device.say(CONNECT, message("b", 1), message("a", 2))
            await device.end()
    assert crashed == [router.routes[0].label]


async def test_a_slow_branch_holds_back_reading_and_not_before() -> None:
    release = asyncio.Event()

    class Slow(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await release.wait()

    class Quick(AsyncMqttConsumer):
        pass

    router = TopicRouter([topic("slow", Slow), topic("quick", Quick)])
    async with Conversation(router, scope("mqtt")) as device:
        device.say(CONNECT, *(message("slow") for _ in range(60)), message("quick", 9))
        assert await device.hear() == {"type": "mqtt.accept"}
        assert await device.hear() == {"type": "mqtt.ack", "id": 9}
        device.say(*(message("slow") for _ in range(200)))
        await asyncio.sleep(0.05)
        assert device.inbox.qsize() > 100
        release.set()
        device.say(DISCONNECT)
        await device.end()


class Raw(AsyncConsumer):
    async def http_request(self, message: Any) -> None:
        await self.send({"type": "http.response.body", "body": b"consumer"})


async def asgi3(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"asgi3"})


class Asgi2:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"asgi2"})


async def after(word: str, scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": word.encode()})


def passing(method: Any) -> Any:
    """A decorator that is not async itself."""

    @wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def adding(method: Any) -> Any:
    """A decorator that passes more than it is given."""

    @wraps(method)
    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        await method("added", scope, receive, send)

    return wrapper


def asgi2(scope: Any) -> Any:
    return partial(asgi3, scope)


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi3(scope, receive, send)


class Endpoint:
    """As Starlette's: a class that is an ASGI 3 application."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.arguments = (scope, receive, send)

    def __await__(self) -> Any:
        return asgi3(*self.arguments).__await__()


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (partial(after, "partial"), b"partial"),
        (partial(Instance()), b"asgi3"),
        (Instance(), b"asgi3"),
        (Instance().__call__, b"asgi3"),
        (passing(asgi3), b"asgi3"),
        (passing(asgi2), b"asgi3"),
        (adding(after), b"added"),
        (Endpoint, b"asgi3"),
        (asgi2, b"asgi3"),
        (Raw, b"consumer"),
        (Raw.as_asgi(), b"consumer"),
        (asgi3, b"asgi3"),
        (Asgi2, b"asgi2"),
        (URLRouter([url("", asgi3)]), b"asgi3"),
        (URLRouter([url("", Endpoint)]), b"asgi3"),
    ],
)
async def test_a_target_is_any_kind_of_application(target: Any, body: bytes) -> None:
    async with Conversation(ProtocolTypeRouter({"http": target}), scope("http")) as client:
        client.say({"type": "http.request", "body": b"", "more_body": False})
        assert (await client.hear())["body"] == body


class Plain:
    pass


def not_async(scope: Any, receive: Any, send: Any) -> None:
    pass


async def too_few(scope: Any) -> None:
    pass


@pytest.mark.parametrize("target", [42, "app.a", None, Plain, Plain(), not_async, too_few, lambda a, b: a])
def test_what_is_no_application_is_said(target: Any) -> None:
    with pytest.raises(ValueError, match="is not an ASGI application"):
        as_application(target)


def test_a_consumers_instance_is_not_its_class() -> None:
    with pytest.raises(ValueError, match=r"an instance of Raw serves one scope: give the class, or Raw.as_asgi"):
        as_application(Raw())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: url("^(", asgi3), "'^(' is not a regular expression"),
        (lambda: phone("44", asgi3), "'44' is not a number prefix; write + and digits, such as +44"),
        (lambda: phone("+", asgi3), "'+' is not a number prefix"),
        (lambda: phone(44, asgi3), "44 is not text; write it in quotes"),
        (lambda: country("XX", asgi3), "'XX' is not a region that has phone numbers"),
        (lambda: country("UK", asgi3), "'UK' is not a region that has phone numbers"),
        (lambda: topic("a/#/b", asgi3), "'a/#/b' is not a topic filter"),
        (lambda: address("ann", asgi3), "'ann' is not a mail address"),
        (lambda: URLRouter([asgi3]), "URLRouter takes routes, which url() and others make, not <function asgi3"),
        (lambda: URLRouter(url("^", asgi3)), "URLRouter takes a list of routes"),
        (lambda: URLRouter([phone("+44", asgi3)]), f"URLRouter has no route by phone: +44 -> {__name__}.asgi3"),
        (lambda: SMSFromRouter([default(Raw)]), f"{__name__}.Raw has no method for sms events"),
        (lambda: ProtocolTypeRouter({"mqtt": Raw}), f"{__name__}.Raw has no method for mqtt events"),
        (
            lambda: ProtocolTypeRouter({"websocket": URLRouter([url("", Raw)])}),
            "Raw has no method for websocket events",
        ),
        (lambda: ProtocolTypeRouter({"email": SMSFromRouter([])}), "SMSFromRouter does not route email"),
        (lambda: ProtocolTypeRouter({"htp": asgi3}), "'htp' is not a scope type; there are http, websocket, mqtt, "),
        (lambda: ProtocolTypeRouter([("http", asgi3)]), "ProtocolTypeRouter takes a dict"),
    ],
)
def test_a_mistake_in_a_router_is_one_sentence_when_it_is_made(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        make()


async def test_a_router_of_ones_own_says_what_it_looks_at() -> None:
    class UserRouter(Router):
        def key(self, pattern: Any, scope: Any) -> str:
            key: str = scope["client_id"]
            return key

    seen: list[Any] = []
    router = ProtocolTypeRouter({"mqtt": UserRouter([regex("^car-", named("car", seen)), default(asgi3)])})
    await route(router, scope("mqtt", client_id="car-7"))
    assert [name for name, _ in seen] == ["car"]


def test_explain_names_the_route() -> None:
    router = ProtocolTypeRouter({"http": URLRouter([url("^a/$", Raw), url("^b/$", asgi3)]), "mqtt": AsyncMqttConsumer})
    assert router.explain(scope("http", path="/b/")).label == f"^b/$ -> {__name__}.asgi3"
    assert router.explain(scope("http", path="/c/")) is None
    assert router.explain(scope("mqtt")).target == "gateway.consumers.mqtt.AsyncMqttConsumer"


async def test_the_lifespan_of_a_router_is_that_of_all_its_applications() -> None:
    said: list[str] = []

    def with_lifespan(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                for step in ("startup", "shutdown"):
                    assert (await receive())["type"] == f"lifespan.{step}"
                    scope["state"][name] = True
                    said.append(f"{name} {step}")
                    await send({"type": f"lifespan.{step}.complete"})

        return app

    async def without(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("only http here")

    first, second = with_lifespan("first"), with_lifespan("second")
    router = ProtocolTypeRouter(
        {
            "http": URLRouter([url("^a", first), url("^b", first), url("", without)]),
            "websocket": second,
            "mqtt": AsyncMqttConsumer,
        }
    )
    state: dict[str, Any] = {}
    async with Conversation(router, {"type": "lifespan", "state": state}) as daemon:
        daemon.say({"type": "lifespan.startup"})
        assert await daemon.hear() == {"type": "lifespan.startup.complete"}
        assert state == {"first": True, "second": True}
        daemon.say({"type": "lifespan.shutdown"})
        assert await daemon.hear() == {"type": "lifespan.shutdown.complete"}
    assert said == ["first startup", "second startup", "second shutdown", "first shutdown"]


async def test_one_application_that_cannot_start_stops_the_others() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    router = ProtocolTypeRouter({"http": failing})
    async with Conversation(router, {"type": "lifespan", "state": {}}) as daemon:
        daemon.say({"type": "lifespan.startup"})
        assert await daemon.hear() == {"type": "lifespan.startup.failed", "message": "no database"}
