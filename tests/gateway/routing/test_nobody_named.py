"""Scopes that name nobody: no recipient, sender, topic or path. A router gives each a verdict, and never crashes."""

from typing import Any

import pytest
from conversation import Conversation, scope
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import (
    AsyncEmailConsumer,
    EmailToRouter,
    ProtocolTypeRouter,
    SMSFromRouter,
    TopicRouter,
    URLRouter,
    address,
    country,
    default,
    domain,
    phone,
    regex,
    topic,
    url,
)
from protocols.asgi import describe


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything and says nothing."""


NAMED = [address("help@example.org", nothing), domain("example.org", nothing), regex("@support", nothing)]
TREES = {
    "named": ProtocolTypeRouter(
        {
            "http": URLRouter([url("^here/$", nothing)]),
            "websocket": URLRouter([url("^here/$", nothing)]),
            "mqtt": TopicRouter([topic("a/{b}", nothing)]),
            "email": EmailToRouter(NAMED),
            "sms": SMSFromRouter([phone("+44", nothing), country("GB", nothing)]),
        }
    ),
    "default": ProtocolTypeRouter(
        {
            "http": URLRouter([url("^here/$", nothing), default(nothing)]),
            "websocket": URLRouter([default(nothing)]),
            "mqtt": TopicRouter([topic("a/{b}", nothing), default(nothing)]),
            "email": EmailToRouter([*NAMED, default(nothing)]),
            "sms": SMSFromRouter([phone("+44", nothing), country("GB", nothing), default(nothing)]),
        }
    ),
}
_ODD = ["", "*", "<>", "@", "+", "/", "//", "\n", "\x00", "SUPPORT", "help@example.org", "+447"]
TEXTS = st.sampled_from(_ODD) | st.text()
SCOPES = st.one_of(
    st.builds(lambda path, root: scope("http", path=path, root_path=root), TEXTS, TEXTS),
    st.builds(lambda path: scope("websocket", path=path), TEXTS),
    st.builds(lambda rcpt, sender: scope("email", rcpt_to=rcpt, mail_from=sender), st.lists(TEXTS, max_size=3), TEXTS),
    st.builds(lambda sender, region: scope("sms", sender=sender, country=region), TEXTS, st.none() | TEXTS),
)


@settings(deadline=None)
@given(SCOPES, st.sampled_from(sorted(TREES)))
async def test_whatever_a_server_makes_gets_a_verdict(asked: dict[str, Any], tree: str) -> None:
    app = TREES[tree]
    routable = app.routable(asked)
    assert routable == (app.explain(asked) is not None)
    assert routable or tree == "named"
    assert describe(asked)
    async with Conversation(app, asked) as peer:
        if asked["type"] == "email":
            peer.say({"type": "email.receive", "body": b"\r\n", "more_body": False})
        await peer.end()
        if not routable and len(asked.get("rcpt_to", ())) < 2:  # a server asks for each recipient
            assert peer.heard()[0]["type"].rpartition(".")[2] in ("start", "close", "reject")


@given(TEXTS)
def test_whatever_topic_comes_is_looked_up(name: str) -> None:
    for app in TREES.values():
        assert app.routable(scope("mqtt", topic=name))
        app.explain(scope("mqtt", topic=name))
    assert TREES["default"].explain(scope("mqtt", topic="")) is not None


def seen_by(seen: list[Any]) -> Any:
    async def desk(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(scope["rcpt_to"])

    return desk


@pytest.mark.parametrize("everything", [default, lambda app: regex("", app), lambda app: regex("^", app)])
async def test_a_mail_that_names_nobody_goes_to_the_route_for_everything(everything: Any) -> None:
    seen: list[Any] = []
    router = EmailToRouter([*NAMED, everything(seen_by(seen))])
    asked = scope("email", rcpt_to=[])
    assert router.routable(asked)
    async with Conversation(router, asked) as peer:
        peer.say({"type": "email.receive", "body": b"", "more_body": False})
        await peer.end()
    assert seen == [[]]


async def test_a_mail_that_names_nobody_is_refused_where_no_route_is_for_everything() -> None:
    router = EmailToRouter(NAMED)
    asked = scope("email", rcpt_to=[])
    assert not router.routable(asked)
    async with Conversation(router, asked) as peer:
        await peer.end()
        assert peer.heard()[0]["type"] == "email.reject"
    assert describe(asked) == "email ann@example.com -> (no recipient)"


async def test_a_mail_that_names_nobody_is_handled_and_not_answered() -> None:
    answerable: list[bool] = []

    class Desk(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            answerable.append(self.answerable)
            await self.reply("Thank you")

    async with Conversation(Desk.as_asgi(), scope("email", rcpt_to=[])) as peer:
        peer.say({"type": "email.receive", "body": b"From: ann@example.com\r\n\r\nhello\r\n", "more_body": False})
        await peer.end()
        assert [event["type"] for event in peer.heard()] == []
    assert answerable == [False]
