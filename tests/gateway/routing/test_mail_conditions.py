"""Routes of mail that look at the message: its kind, its author, who vouches for that; and where answers go."""

from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import EmailFromRouter, EmailToRouter, address, default, domain, regex
from gateway.routing.patterns import Default
from gateway.scopes.email.conditions import When, conditions_of
from gateway.scopes.email.patterns import Address, Domain
from protocols.mail.recipients import recipient


class Seen(list[Any]):
    """Which application got what."""

    def by(self, name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.append((name, scope))

        app.__qualname__ = name
        return app

    def names(self) -> list[str]:
        return [name for name, _ in self]


def mail(*rcpt_to: str, sender: str = "Ann <ann@example.net>", **keys: Any) -> dict[str, Any]:
    """A message as a server hands it on."""
    headers = [(b"from", sender.encode())] if sender else []
    to = {"rcpt_to": list(rcpt_to), "recipients": [recipient(each) for each in rcpt_to]}
    return scope("email") | {"headers": headers, "authentication": None} | to | keys


async def answer(router: Any, mail: dict[str, Any]) -> list[tuple[Any, ...]]:
    async with Conversation(router, mail) as server:
        server.say({"type": "email.receive", "body": b"From: x\r\n\r\n", "more_body": False})
        await server.end()
        return [(event["type"], event.get("rcpt_to"), event.get("code")) for event in server.heard()]


HELP = "help@example.org"


@pytest.mark.parametrize(
    ("options", "keys", "takes"),
    [
        ({"kind": "bounce"}, {"kind": "bounce"}, True),
        ({"kind": "bounce"}, {"kind": "person"}, False),
        ({"kind": ["bounce", "report"]}, {"kind": "report"}, True),
        ({"require": {"dmarc": "pass"}}, {"authentication": {"dmarc": "pass"}}, True),
        ({"require": {"dmarc": "pass"}}, {"authentication": {"dmarc": "fail"}}, False),
        ({"require": {"dmarc": "pass", "spf": "pass"}}, {"authentication": {"dmarc": "pass"}}, False),
        ({"require": {"dmarc": "pass"}}, {"authentication": None}, False),
        ({"sender": "Ann@Example.net"}, {}, True),
        ({"sender": "ann@example.net"}, {"sender": "bob@example.net"}, False),
        ({"sender": "ann@example.net"}, {"sender": "ann@example.net <evil@example.com>"}, False),
        ({"sender_domain": "example.net"}, {}, True),
        ({"sender_domain": "example.net"}, {"sender": "ann@sub.example.net"}, False),
        ({"sender_domain": "bücher.example"}, {"sender": "ann@xn--bcher-kva.example"}, True),
        ({"sender_domain": "bücher.example"}, {"sender": "ann@bücher.example"}, True),
        ({"sender": "ann@example.com"}, {"sender": "", "mail_from": "ann@example.com"}, True),
        ({"sender": "ann@example.net", "kind": "person"}, {"kind": "bounce"}, False),
    ],
)
async def test_a_route_takes_what_meets_its_conditions(options: Any, keys: Any, takes: bool) -> None:
    seen = Seen()
    router = EmailToRouter([address(HELP, seen.by("some"), **options), domain("example.org", seen.by("rest"))])
    assert router.routable(mail(HELP, sender="", size=0))
    await answer(router, mail(HELP, **keys))
    assert seen.names() == ["some" if takes else "rest"]


async def test_a_message_that_dns_did_not_let_verify_is_deferred_and_not_rejected() -> None:
    """It bounced, because of a moment's trouble."""
    router = EmailToRouter([address(HELP, Seen().by("help"), require={"dmarc": "pass"})])
    unknown = {"dmarc": "temperror", "spf": "fail"}
    assert await answer(router, mail(HELP, authentication=unknown)) == [("email.defer", None, None)]
    open_route = EmailToRouter([*router.routes, address("open@example.org", Seen().by("open"))])
    said = await answer(open_route, mail(HELP, "open@example.org", authentication=unknown))
    assert said[0] == ("email.defer", [HELP], None)
    for known in ({"dmarc": "fail", "spf": "temperror"}, {"dmarc": "none"}):
        assert await answer(router, mail(HELP, authentication=known)) == [("email.reject", None, 550)]


async def test_what_no_route_takes_after_all_is_rejected_for_its_recipients_alone() -> None:
    seen = Seen()
    router = EmailToRouter(
        [address(HELP, seen.by("help"), sender_domain="example.net"), address("all@example.org", seen.by("all"))]
    )
    both = (HELP, "all@example.org")
    assert all(router.routable(mail(each, sender="")) for each in both)
    assert await answer(router, mail(*both, sender="bob@example.com")) == [
        ("email.reject", [HELP], 550),
        ("email.accept", ["all@example.org"], None),
    ]
    assert await answer(router, mail(HELP, sender="bob@example.com")) == [("email.reject", None, 550)]
    assert seen.names() == ["all"]


BOUNCE = (
    b"From: MAILER-DAEMON@example.net\r\nSubject: Undelivered Mail Returned to Sender\r\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r\n\r\n'
    b"--x\r\n\r\nIt did not work.\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Final-Recipient: rfc822; a@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: hi\r\n\r\n" + b"line\r\n" * 300_000 + b"--x--\r\n"
)
PERSON = b"From: ann@example.net\r\nMessage-ID: <1@x>\r\nSubject: It does not print\r\n\r\nHelp!\r\n"


@pytest.mark.parametrize(("content", "kind"), [(BOUNCE, "bounce"), (PERSON, "person")])
async def test_the_kind_is_read_where_a_route_asks_for_it_and_the_message_arrives_whole(
    content: bytes, kind: str
) -> None:
    got: dict[str, bytes] = {}

    def desk(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["kind"] == kind
            got[name] = b""
            while (event := await receive())["type"] != "email.disconnect":
                got[name] += event["body"]

        return app

    router = EmailToRouter([regex("^", desk("bounce"), kind="bounce"), default(desk("person"))])
    chunks = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    given = mail(HELP, mail_from="" if kind == "bounce" else "ann@example.net")
    async with Conversation(router, given) as server:
        for chunk in chunks:
            server.say({"type": "email.receive", "body": chunk, "more_body": chunk is not chunks[-1]})
        server.say({"type": "email.disconnect"})
        await server.end()
    assert got == {kind: content}


@pytest.mark.parametrize("more", [0, 20])
async def test_conditions_are_asked_among_many_routes(more: int) -> None:
    seen = Seen()
    router = EmailToRouter(
        [
            *(address(f"a{number}@example.org", seen.by("other")) for number in range(more)),
            regex("^", seen.by("bounces"), kind="bounce"),
            address(HELP, seen.by("ann"), sender="ann@example.net"),
            address(HELP, seen.by("help")),
        ]
    )
    for keys in ({"kind": "bounce"}, {"kind": "person"}, {"kind": "person", "sender": "b@x.org"}):
        await answer(router, mail("help+tag@example.org", **keys))
    assert seen.names() == ["bounces", "ann", "help"]


@pytest.mark.parametrize("reply_to", ["header", "envelope"])
async def test_a_route_says_where_answers_go(reply_to: Any) -> None:
    seen = Seen()
    router = EmailToRouter([address(HELP, seen.by("help"), reply_to=reply_to), domain("example.org", seen.by("rest"))])
    given = mail(HELP, "a@example.org", extensions={"event": {"id": "e1"}})
    await answer(router, given)
    assert [scope["extensions"].get("reply") for _, scope in seen] == [{"to": reply_to}, None]
    assert given["extensions"] == {"event": {"id": "e1"}}


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("Ann <ann@example.net>", "ann"),
        ("bob@example.net", "net"),
        ("bob@test.example", "test"),
        ("bob@elsewhere.example", "rest"),
        ("", "rest"),
    ],
)
async def test_a_router_by_sender(sender: str, name: str) -> None:
    seen = Seen()
    router = EmailFromRouter(
        [
            address("ann@example.net", seen.by("ann")),
            domain("example.net", seen.by("net")),
            regex(r"@(?P<site>test)\.", seen.by("test")),
            default(seen.by("rest")),
        ]
    )
    assert router.routable(mail(HELP, sender=""))
    await answer(router, mail(HELP, "a@example.org", sender=sender))
    assert seen.names() == [name]
    assert seen[0][1]["rcpt_to"] == [HELP, "a@example.org"]
    assert seen[0][1]["url_route"]["kwargs"] == ({"site": "test"} if name == "test" else {})


async def test_a_router_by_sender_below_one_that_requires_a_verified_author() -> None:
    seen = Seen()
    staff = EmailFromRouter([domain("example.net", seen.by("staff"))])
    router = EmailToRouter([regex("^", staff, require={"dmarc": "pass"}), regex("^", seen.by("anybody"))])
    assert router.routable(mail(HELP, sender=""))
    await answer(router, mail(HELP, authentication={"dmarc": "pass"}))
    await answer(router, mail(HELP, authentication={"dmarc": "none"}))
    assert seen.names() == ["staff", "anybody"]
    assert await answer(router, mail(HELP, authentication={"dmarc": "pass"}, sender="x@y.org")) == [
        ("email.reject", None, 550)
    ]


async def test_a_message_that_names_nobody_has_conditions_too() -> None:
    seen = Seen()
    router = EmailToRouter([regex("^", seen.by("bounces"), kind="bounce"), default(seen.by("rest"))])
    for kind in ("bounce", "person"):
        await answer(router, mail(transport="imap", kind=kind))
    assert seen.names() == ["bounces", "rest"]


def test_what_is_no_condition_is_one_sentence() -> None:
    for options in ({"kind": "bouncy"}, {"require": {"dmark": "pass"}}, {"require": {"dmarc": "yes"}}):
        with pytest.raises(ValueError, match="is not one of"):
            address(HELP, Seen().by("x"), **options)
    with pytest.raises(ValueError, match="not a mail address"):
        address(HELP, Seen().by("x"), sender="ann")


def test_a_route_with_conditions_hides_only_what_has_the_same() -> None:
    bounces = When(Domain("example.org"), conditions_of({"kind": "bounce"}))
    reports = When(Domain("example.org"), conditions_of({"kind": "report"}))
    narrow = When(Address(HELP), conditions_of({"kind": "bounce"}))
    assert bounces.covers(narrow)
    assert not bounces.covers(reports)
    assert not bounces.covers(Address(HELP))
    assert Domain("example.org").covers(narrow)
    assert Default().covers(bounces)
    assert str(narrow) == "help@example.org (kind bounce)"


def test_explain_names_the_route_that_takes_any_message() -> None:
    seen = Seen()
    router = EmailToRouter([address(HELP, seen.by("some"), kind="bounce"), domain("example.org", seen.by("rest"))])
    found = router.explain(mail(HELP, sender=""))
    assert found is not None
    assert found.target.endswith("rest")
    alone = EmailToRouter([address(HELP, seen.by("some"), kind="bounce")]).explain(mail(HELP, sender=""))
    assert alone is not None
    assert alone.label.startswith("help@example.org (kind bounce) -> ")
