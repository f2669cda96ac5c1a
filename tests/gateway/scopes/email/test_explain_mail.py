"""`gateway explain email:...` says of an address what the server does with it."""

from typing import Any

import pytest

from gateway import EmailToRouter, ProtocolTypeRouter, address, domain, regex
from gateway.cli.explain import explain


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
    found = explain(APP, f"email:{subject}")
    assert (found.pattern, found.captures) == (pattern, captures)


def test_what_is_no_address_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"'ann' is not a mail address; write email:ann@example.org"):
        explain(APP, "email:ann")
