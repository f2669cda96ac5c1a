"""For whom a message in a mailbox is."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.headers import parse_headers
from protocols.mail.recipients import MAX_CANDIDATES, Tier, addresses, choose, evidence, sender


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"ann@example.org", ["ann@example.org"]),
        (b"Ann <ann@Example.ORG>, <bob@example.org>", ["ann@example.org", "bob@example.org"]),
        (b'"Doe, John (x@y.org)" <john@example.org>', ["john@example.org"]),
        (b"ann@example.org (home; not z@z.org)", ["ann@example.org"]),
        (b"team: ann@example.org, bob@example.org;", ["ann@example.org", "bob@example.org"]),
        (b"undisclosed-recipients:;", []),
        (b"=?utf-8?b?w4RubmE=?= <anna@example.org>", ["anna@example.org"]),
        ("jörg@müller.example".encode(), ["jörg@xn--mller-kva.example"]),
        (b"not an address, @, a@, @b, a@b@c", []),
        (b"<ticket+42@example.org>", ["ticket+42@example.org"]),
        (b"ann@example.org, ann@example.org", ["ann@example.org"]),
        (b"", []),
        (b"ann@example.net <bob@x.org>", ["bob@x.org"]),
        (b"a@x.org, help@x.org <b@x.org>; ann@example.net<d@x.org>", ["a@x.org", "b@x.org", "d@x.org"]),
        (b"team: ann@x.org <b@x.org>, c@x.org;", ["b@x.org", "c@x.org"]),
        (b"a@x.org <>", ["a@x.org"]),
        (b"<@a.org,@b.org:user@c.org>", ["user@c.org"]),
    ],
)
def test_addresses_in_a_field(value: bytes, found: list[str]) -> None:
    assert addresses(value) == found


@given(st.binary(max_size=300))
def test_any_bytes_give_addresses_or_none(value: bytes) -> None:
    assert all("@" in address for address in addresses(value))


@pytest.mark.parametrize(
    "value",
    [
        b'"' * 200_000,
        b"a" * 200_000,
        b"<a@" * 70_000,
        b"a<" * 100_000,
        b'"\\' * 100_000,
        b"(" * 200_000,
        b"a@" * 100_000,
        b"a" * 250_000,
        b"<" * 200_000,
        b"a@b.c," * 40_000,
    ],
)
def test_hostile_fields_cost_little(value: bytes) -> None:
    before = time.process_time()
    assert len(addresses(value)) <= MAX_CANDIDATES
    list(evidence([(b"received", b" for " + value), (b"to", value)]))
    assert time.process_time() - before < 5  # quadratic behaviour takes minutes


HEADERS = parse_headers(
    b"Return-Path: <bounce+7@list.example>\r\n"
    b"Delivered-To: inbox@host.example\r\n"
    b"Delivered-To: support@example.org\r\n"
    b"Received: from a by b for <support@example.org>; Sun, 22 Nov 2026\r\n"
    b"X-Original-To: help@example.org\r\n"
    b"From: Ann <ann@example.net>\r\n"
    b"To: sales@example.org\r\n"
    b"Cc: =?utf-8?q?Bob?= <bob@example.net>\r\n\r\n"
)


def named(tiers: list[Tier]) -> list[list[str]]:
    return [[each["address"] for each in tier] for tier in tiers]


def test_evidence_comes_best_first() -> None:
    assert named(evidence(HEADERS, username="inbox@host.example")) == [
        ["help@example.org"],
        ["inbox@host.example", "support@example.org"],
        ["support@example.org"],
        ["sales@example.org", "bob@example.net"],
        ["inbox@host.example"],
    ]


def test_each_recipient_says_where_it_comes_from() -> None:
    sources = [each["source"] for tier in evidence(HEADERS, username="me@host.example") for each in tier]
    assert sources == ["x-original-to", "delivered-to", "delivered-to", "received", "to", "cc", "login"]


def test_a_recipients_tag_is_split_off() -> None:
    headers = parse_headers(b"Delivered-To: help+bill7@example.org\r\n\r\n")
    [[found]] = evidence(headers)
    assert found == {"address": "help+bill7@example.org", "source": "delivered-to", "tag": "bill7"}
    assert next(evidence(headers, delimiters=""))[0]["tag"] is None


@pytest.mark.parametrize(
    ("field", "source"), [(b"Delivered-To: %s", "delivered-to"), (b"Received: from a by b for <%s>; now", "received")]
)
def test_a_long_local_part_is_evidence(field: bytes, source: str) -> None:
    token = b"reply+" + b"t" * 300 + b"@example.org"
    [found] = next(evidence(parse_headers(field % token + b"\r\n\r\n"), username="me@example.org"))
    assert (found["address"], found["source"]) == (token.decode(), source)


def test_a_configured_header_is_the_only_evidence() -> None:
    assert named(evidence(HEADERS, recipient_header="Delivered-To")) == [["inbox@host.example", "support@example.org"]]
    assert named(evidence(HEADERS, recipient_header="X-Mine", username="box@example.org")) == [["box@example.org"]]
    assert list(evidence(HEADERS, recipient_header="X-Mine", username="box")) == []


def test_the_best_evidence_that_a_route_knows_decides_alone() -> None:
    tiers = list(evidence(HEADERS))

    def chosen(takes: Callable[[str], bool]) -> list[str]:
        return [each["address"] for each in choose(tiers, lambda candidate: takes(candidate["address"]))]

    assert chosen(lambda address: address == "support@example.org") == ["support@example.org"]
    assert chosen(lambda address: address.endswith("@example.net")) == ["bob@example.net"]
    assert chosen(lambda address: True) == ["help@example.org"]
    assert chosen(lambda address: False) == []


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"Return-Path: <b@x.org>\r\nFrom: a@x.org", "b@x.org"),
        (b"Return-Path: <>\r\nFrom: a@x.org", ""),
        (b"From: A <a@x.org>", "a@x.org"),
        (b"From: ann@example.net <a@x.org>", "a@x.org"),  # an answer goes to no stranger
        (b"From: a@x.org, b@x.org\r\nSender: s@x.org", "s@x.org"),
        (b"From: nobody", ""),
        (b"Subject: x", ""),
    ],
)
def test_the_sender(header: bytes, address: str) -> None:
    assert sender(parse_headers(header + b"\r\n\r\n")) == address
