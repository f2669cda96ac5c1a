"""The page on consumers names every attribute of a mail that a handler gets, and no other."""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

from protocols.mail.message import Address, Attachment, Bounce, InboundEmail, Invitation, Kind, Spam

PAGE = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text()
MAIL = PAGE.partition("\n## Mail\n")[2].partition("\n## ")[0]


def public(kind: type) -> set[str]:
    own = {*kind.__dict__, *inspect.get_annotations(kind)}
    return {name for name in own if not name.startswith("_")}


def named(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)(?:\(\))?`", text))


def test_the_table_has_every_attribute() -> None:
    rows = [line for line in MAIL.partition("\nAn `Address`")[0].splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert listed == public(InboundEmail) - {"get", "get_all", "octets_to_read", "read", "safe_html", "walk"}


def test_the_methods_are_named() -> None:
    for call in ("message.get(", "message.get_all(", "message.walk()", "safe_html()", 'message["Subject"]'):
        assert call in MAIL


def test_every_attribute_of_what_it_holds_is_named() -> None:
    for kind in (Bounce, Spam, Invitation):
        assert {field.name for field in fields(kind)} <= named(MAIL), kind
    assert public(Address) <= named(MAIL)
    assert public(Attachment) <= named(MAIL)


def test_every_kind_is_explained() -> None:
    assert set(re.findall(r'^\| `"([a-z-]+)"` \|', MAIL, re.MULTILINE)) == set(get_args(Kind))
