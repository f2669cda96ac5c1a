"""Tokens in reply addresses: what we signed comes back, whatever servers do to it, and nothing else does."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.addresses import check_address
from protocols.mail.compose.reply_token import ReplyTokens
from protocols.secret import Secret

KEY, OLD = Secret("a key that nobody knows"), Secret("the key of last year")
OWN, ANN = "reply@example.org", "Ann@example.net"


def test_a_token_comes_back_with_its_id_and_whom_it_was_made_for() -> None:
    tokens = ReplyTokens([KEY])
    address = tokens.address(OWN, "ticket-17", ANN)
    assert check_address(address) == address  # 64 octets in front of the @
    token = tokens.read(address)
    assert token is not None
    assert token.id == str(token) == "ticket-17"
    assert token.is_for("ann@EXAMPLE.net")
    assert not token.is_for("bob@example.net")


def test_servers_change_the_case_and_put_a_user_in_front() -> None:
    tokens = ReplyTokens([KEY])
    local, _, domain = tokens.address(OWN, "17", ANN).partition("@")
    for changed in (f"{local.upper()}@{domain}", f"user+{local}@{domain}", f"{local}@other.example"):
        token = tokens.read(changed)
        assert token is not None
        assert token.id == "17"


def test_while_the_secret_changes_old_tokens_are_read() -> None:
    old = ReplyTokens([OLD]).address(OWN, "17", ANN)
    new = ReplyTokens([KEY, OLD])
    token = new.read(old)
    assert token is not None
    assert token.is_for(ANN)
    assert ReplyTokens([KEY]).read(old) is None
    assert ReplyTokens([KEY]).read(new.address(OWN, "17", ANN)) is not None


@pytest.mark.parametrize("at", range(6, 40))
def test_a_token_with_another_letter_is_none(at: int) -> None:
    tokens = ReplyTokens([KEY])
    address = tokens.address(OWN, "ticket", ANN)
    changed = address[:at] + ("a" if address[at] != "a" else "b") + address[at + 1 :]
    assert tokens.read(changed) is None


@given(st.text(max_size=80))
def test_no_address_raises(address: str) -> None:
    assert ReplyTokens([KEY]).read(address) is None
    assert ReplyTokens([KEY]).read(f"reply+{address}@example.org") is None


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5))
def test_any_short_id_comes_back(id: str) -> None:
    token = ReplyTokens([KEY]).read(ReplyTokens([KEY]).address("support@example.org", id, ANN))
    assert token is not None
    assert token.id == id


def test_a_uuid_fits() -> None:
    id = str(uuid4())
    token = ReplyTokens([KEY]).read(ReplyTokens([KEY]).address("support@example.org", id, ANN))
    assert token is not None
    assert token.id == id


def test_an_id_that_is_too_long_is_refused_with_the_room_that_there_is() -> None:
    tokens = ReplyTokens([KEY])
    assert tokens.address("support@example.org", "x" * 19, ANN)
    for own, id, most in [
        ("support@example.org", "x" * 60, "1 to 19 bytes"),
        (OWN, "", "1 to 20"),
        ("a" * 64 + "@x.org", "1", "write a shorter from_="),
    ]:
        with pytest.raises(ValueError, match=most):
            tokens.address(own, id, ANN)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 16 characters"):
        ReplyTokens([Secret("hunter2")])
    with pytest.raises(ValueError, match="there is no secret"):
        ReplyTokens([])


def test_another_delimiter() -> None:
    tokens = ReplyTokens([KEY], "-")
    address = tokens.address("support-desk@example.org", "17", ANN)
    assert address.startswith("support-desk-")
    assert str(tokens.read(address)) == "17"
    assert tokens.without(address) == "support-desk@example.org"
    assert tokens.without("support-desk@example.org") == "support-desk@example.org"
