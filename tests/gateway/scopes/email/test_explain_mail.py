"""`gateway explain email:...` says of an address what the server does with it."""

from typing import Any

import pytest
from conversation import Conversation
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import EmailFromRouter, EmailToRouter, ProtocolTypeRouter, address, default, domain, regex, relay
from gateway.cli.explain import explain
from gateway.delivery.current_route import current_route
from protocols.mail.addresses import check_address
from protocols.mail.scope import email_scope
from protocols.mail.smtp.settings import SMTPSettings


async def on_mail(scope: Any, receive: Any, send: Any) -> None: ...


APP = ProtocolTypeRouter(
    {
        "email": EmailToRouter(
            [
                address("help@example.org", on_mail, kind="bounce"),
                regex(r"^help\+(?P<ticket>\d+)@example\.org$", on_mail),
                address("help@example.org", on_mail),
                domain("bücher.example", on_mail),
                address("robots@example.org", on_mail, kind="auto-reply"),
            ]
        )
    }
)


@pytest.mark.parametrize(
    ("subject", "pattern", "captures"),
    [
        ("help@example.org", "help@example.org", None),
        ("help+x@example.org", "help@example.org", None),
        ("help+7@example.org", r"^help\+(?P<ticket>\d+)@example\.org$", {"ticket": "7"}),
        ("ann@bücher.example", "@bücher.example", None),
        ("ann@xn--bcher-kva.example", "@bücher.example", None),
        ("ann@BÜCHER.example", "@bücher.example", None),
        ("robots@example.org", "robots@example.org (kind auto-reply)", None),
        ("postmaster@example.org", "postmaster, abuse", None),
        ("nobody@example.org", None, None),
    ],
)
def test_the_route_of_an_address(subject: str, pattern: str | None, captures: dict[str, str] | None) -> None:
    found = explain(APP, f"email:{subject}", {})
    assert (found.pattern, found.captures) == (pattern, captures)


def test_what_is_no_address_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"'ann' is not a mail address; write email:ann@example.org"):
        explain(APP, "email:ann", {})


def test_a_route_by_author_may_take_what_comes() -> None:
    router = EmailToRouter([domain("example.org", EmailFromRouter([domain("example.com", on_mail)]))])
    assert explain(router, "email:ann@example.org", {}).pattern == "@example.com"
    assert explain(router, "email:ann@example.net", {}).pattern is None
    by_author = EmailFromRouter([domain("example.com", on_mail), default(on_mail)])
    assert explain(EmailToRouter([domain("example.org", by_author)]), "email:a@example.org", {}).pattern == "default"


def test_a_relay_is_for_users() -> None:
    found = explain(EmailToRouter([default(relay)]), "email:ann@far.example", {})
    assert found.target == "gateway.relay"
    assert found.why.endswith("; it takes this only from users who have logged in")


NAMES = st.sampled_from(["help", "help+7", "help-7", "sales", "postmaster", "Abuse", "+7"])
DOMAINS = st.sampled_from(["example.org", "bücher.example", "xn--bcher-kva.example", "sub.example.org"])
ADDRESSES = st.builds(lambda name, at: f"{name}@{at}", NAMES, DOMAINS)
CONDITIONS = st.sampled_from(
    [{}, {}, {"kind": "bounce"}, {"kind": "person"}, {"sender": "bob@far.example"}, {"sender_domain": "x.org"}]
)
MESSAGE = b"From: bob@far.example\r\nSubject: hi\r\n\r\nhello\r\n"
EXPRESSIONS = st.sampled_from([r"^help", r"(?P<id>\d)@", r"@bücher\.example$", r"^sales@", r"[+-]7@"])
ROUTES = st.lists(
    st.builds(lambda text, more: (address, text, more), ADDRESSES, CONDITIONS)
    | st.builds(lambda text, more: (domain, text, more), DOMAINS, CONDITIONS)
    | st.builds(lambda text, more: (regex, text, more), EXPRESSIONS, CONDITIONS),
    max_size=16,
)


@settings(deadline=None, max_examples=150)
@given(ROUTES, ADDRESSES, st.sampled_from(["", "+", "-", "+-"]), st.booleans(), st.booleans())
async def test_what_is_explained_is_what_happens(
    lines: list[Any], to: str, delimiters: str, has_postmaster: bool, has_default: bool
) -> None:
    taken: list[str] = []

    async def desk(scope: Any, receive: Any, send: Any) -> None:
        taken.append(current_route.get())

    routes = [make(text, desk, **more) for make, text, more in lines] + [default(desk)] * has_default
    router = EmailToRouter(routes, postmaster=desk if has_postmaster else None)
    servers = {"mail": SMTPSettings(recipient_delimiter=delimiters)}
    said = explain(router, f"email:{to}", servers)
    scope = email_scope(
        MESSAGE,
        transport="smtp",
        listener="mail",
        mail_from="bob@far.example",
        rcpt_to=[check_address(to)],
        received_at=0.0,
        state={},
        delimiters=delimiters,
    )
    assert router.routable(scope) == (said.target is not None)
    async with Conversation(router, scope) as peer:
        peer.say({"type": "email.receive", "body": MESSAGE, "more_body": False})
        await peer.end()
        answers = [event["type"] for event in peer.heard()]
    if said.target is None:
        assert answers == ["email.reject"]
    elif "(" not in str(said.pattern).removeprefix("(?P<id>"):  # a route without conditions
        assert "email.reject" not in answers
        assert not taken or " (" in taken[0] or taken == [f"{said.pattern} -> {said.target}"]
