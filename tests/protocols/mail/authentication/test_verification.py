"""SPF, DKIM, DMARC and ARC, verified by DNS; the signatures are made by dkimpy."""

import asyncio
import time
from typing import Any

import dkim
import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st
from servers.dns_server import DNSServer
from signed_mail import MAIL, PEM, signed, zone
from waiting import until

from gateway import InboundEmail
from gateway.scopes.email.conditions import author
from protocols.asgi import EmailScope
from protocols.mail import dkim_library
from protocols.mail.authentication import lookups
from protocols.mail.authentication.authenticator import THREADS, Authenticator
from protocols.mail.authentication.lookups import Resolver
from protocols.mail.authentication.settings import AuthenticationSettings, resolver_address
from protocols.mail.scope import email_scope

__all__ = ["zone"]
CLIENT = "192.0.2.7"
ED25519 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


def scope_of(mail: bytes, **given: Any) -> EmailScope:
    whole = {"transport": "imap", "mail_from": "", "listener": "mail", "rcpt_to": ["support@example.net"], **given}
    return email_scope(mail, received_at=time.time(), state={}, **whole)


async def found(
    zone: DNSServer,
    mail: bytes = MAIL,
    *,
    client: str | None = CLIENT,
    mail_from: str = "ann@example.org",
    transport: Any = "smtp",
    timeout: float = 20.0,
) -> dict[str, str]:
    settings = AuthenticationSettings(verify=True, resolvers=(zone.address,), timeout=timeout)
    given = None if client is None else (client, 25)
    scope = scope_of(mail, transport=transport, mail_from=mail_from, client=given, helo="mx.example.org")
    authenticator = Authenticator(settings)
    try:
        results = await authenticator.results(scope, mail)
    finally:
        authenticator.close()
    assert results is not None
    return results


async def test_a_signed_mail_of_the_right_server_passes_all(zone: DNSServer) -> None:
    assert await found(zone, signed()) == {
        "source": "verified",
        "spf": "pass",
        "spf_domain": "example.org",
        "dkim": "pass",
        "dkim_domain": "example.org",
        "arc": "none",
        "dmarc": "pass",
        "dmarc_domain": "example.org",
        "dmarc_policy": "reject",
    }


@pytest.mark.parametrize(
    ("record", "client", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.7", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "198.51.100.1", "fail"),
        ("v=spf1 ip4:192.0.2.0/24 ~all", "198.51.100.1", "softfail"),
        ("v=spf1 ?all", "198.51.100.1", "neutral"),
        ("v=spf1 a:host.example.org mx -all", "203.0.113.9", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 include:other.example -all", "203.0.113.10", "pass"),
        ("v=spf1 include:example.org -all", "192.0.2.7", "permerror"),  # without end
        ("v=spf1 nonsense:x -all", "192.0.2.7", "permerror"),
        ("v=spf1 a:no1.example a:no2.example a:no3.example -all", "192.0.2.7", "permerror"),  # finds nothing too often
        ("v=spf1 include:slow.example -all", "192.0.2.7", "temperror"),
        ("something else", "192.0.2.7", "none"),
    ],
)
async def test_spf(zone: DNSServer, record: str, client: str, result: str) -> None:
    zone.txt("example.org", record)
    zone.txt("other.example", "v=spf1 ip4:203.0.113.10 -all")
    zone.records["host.example.org", "A"] = ["203.0.113.9"]
    zone.records["example.org", "MX"] = ["10 host.example.org."]
    zone.broken.add("slow.example")
    results = await found(zone, client=client)
    assert (results["spf"], results["spf_domain"]) == (result, "example.org")


async def test_spf_of_a_bounce_is_that_of_the_servers_own_name(zone: DNSServer) -> None:
    zone.txt("mx.example.org", "v=spf1 ip4:192.0.2.7 -all")
    results = await found(zone, mail_from="")
    assert (results["spf"], results["spf_domain"]) == ("pass", "mx.example.org")


@pytest.mark.parametrize("transport", ["lmtp", "imap"])
async def test_spf_is_not_known_behind_another_server(zone: DNSServer, transport: str) -> None:
    results = await found(zone, signed(), transport=transport, client=None)
    assert "spf" not in results
    assert (results["dkim"], results["dmarc"]) == ("pass", "pass")


async def test_a_changed_mail_is_not_what_was_signed(zone: DNSServer) -> None:
    results = await found(zone, signed().replace(b"works", b"broke"), client="198.51.100.1")
    assert (results["dkim"], results["dkim_domain"], results["dmarc"]) == ("fail", "", "fail")
    results = await found(zone, signed().replace(b"Subject: Hello", b"Subject: Money"), client="198.51.100.1")
    assert (results["dkim"], results["dkim_domain"], results["dmarc"]) == ("fail", "", "fail")


async def test_an_ed25519_signature(zone: DNSServer) -> None:
    """The example of RFC 8463 (appendix A)."""
    zone.txt(
        "brisbane._domainkey.football.example.com",
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    )
    results = await found(zone, ED25519.replace(b"\n", b"\r\n"), mail_from="joe@football.example.com")
    assert (results["dkim"], results["dkim_domain"]) == ("pass", "football.example.com")
    results = await found(zone, ED25519.replace(b"\n", b"\r\n").replace(b"lost", b"won"))
    assert results["dkim"] == "fail"


async def test_every_signature_counts(zone: DNSServer) -> None:
    twice = signed(signed(), "other.example")
    assert (await found(zone, twice))["dkim_domain"] == "other.example example.org"
    spoiled = twice.replace(b"d=other.example", b"d=third.example", 1)
    results = await found(zone, spoiled, client="198.51.100.1")
    assert (results["dkim"], results["dkim_domain"], results["dmarc"]) == ("pass", "example.org", "pass")


async def test_only_a_few_signatures_are_looked_at(zone: DNSServer) -> None:
    many = b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=key; h=from; bh=AA==; b=AA==\r\n" * 500 + MAIL
    assert (await found(zone, many))["dkim"] == "fail"
    assert len(zone.asked) < 20


async def test_dns_in_trouble_is_told_as_such(zone: DNSServer) -> None:
    zone.broken |= {"example.org", "key._domainkey.example.org", "_dmarc.example.org"}
    results = await found(zone, signed())
    assert (results["spf"], results["dkim"], results["dmarc"]) == ("temperror", "temperror", "temperror")


async def test_a_mail_has_only_so_much_time(zone: DNSServer) -> None:
    zone.silent |= {"example.org", "key._domainkey.example.org", "_dmarc.example.org"}
    began = time.monotonic()
    results = await found(zone, signed(), timeout=0.3)
    assert (results["spf"], results["dkim"], results["dmarc"]) == ("temperror", "temperror", "temperror")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("author", "signer", "record", "result", "policy"),
    [
        ("example.org", "lists.example.org", "v=DMARC1; p=reject", "pass", "reject"),
        ("example.org", "lists.example.org", "v=DMARC1; p=reject; adkim=s", "fail", "reject"),
        ("mail.example.org", "example.org", "v=DMARC1; p=none; sp=quarantine", "pass", "quarantine"),
        ("mail.example.org", "lists.example.org", "v=DMARC1; p=reject", "pass", "reject"),
        ("mail.example.org", "lists.example.org", "v=DMARC1; p=reject; psd=y", "fail", "reject"),  # a public suffix
        ("example.org", "other.example", "v=DMARC1; p=reject", "fail", "reject"),
        ("example.org", "other.example", "v=DMARC1", "fail", "none"),
        ("example.org", "other.example", "v=DMARC2; p=reject", "none", "none"),
        ("example.org", "other.example", "p=reject; v=DMARC1", "none", "none"),
    ],
)
async def test_dmarc_compares_organisations(
    zone: DNSServer, author: str, signer: str, record: str, result: str, policy: str
) -> None:
    zone.txt("_dmarc.example.org", record)
    mail = MAIL.replace(b"ann@example.org", f"ann@{author}".encode())
    results = await found(zone, signed(mail, signer), mail_from="bounce@other.example")
    assert (results["dmarc"], results["dmarc_policy"]) == (result, policy)


async def test_dmarc_needs_one_author_domain(zone: DNSServer) -> None:
    two = MAIL.replace(b"Ann <ann@example.org>", b"ann@example.org, eve@other.example")
    assert (await found(zone, signed(two)))["dmarc"] == "permerror"
    assert (await found(zone, MAIL.replace(b"From", b"Form")))["dmarc"] == "permerror"


@pytest.mark.parametrize(
    "field",
    [
        "=?utf-8?b?YmFua0BiYW5rLmV4YW1wbGU=?=, <eve@other.example>",
        "Bank <'bank@bank.example'>, <eve@other.example>",
        "bank @ bank.example, <eve@other.example>",
        "<bank@bank.example,eve@other.example>",
        '"bank@bank.example" <eve@other.example>',
        "x (a (b) <eve@other.example>) <bank@bank.example>",
        "bank@bank.example, eve@other.example",
        "Bank: bank@bank.example; eve@other.example",
        "=?utf-8?q?a?= <eve@other.example>, <bank@bank.example\x7f>",
    ],
)
async def test_what_is_verified_is_the_address_that_handlers_see(zone: DNSServer, field: str) -> None:
    """Also that of a route's ``sender:``. A field that is read in two ways gives one of them to a forger."""
    mail = MAIL.replace(b"Ann <ann@example.org>", field.encode())
    zone.txt("_dmarc.other.example", "v=DMARC1; p=reject")
    results = await found(zone, signed(mail, "other.example"), mail_from="eve@other.example")
    seen = {InboundEmail(mail).sender.domain, author(scope_of(mail)).rpartition("@")[2]}
    assert results["dmarc"] == "permerror" or seen == {results["dmarc_domain"]}


async def test_a_display_name_is_not_the_author(zone: DNSServer) -> None:
    mail = MAIL.replace(b"Ann <ann@example.org>", b'"ann@example.org" <eve@other.example>')
    assert (await found(zone, signed(mail, "other.example")))["dmarc_domain"] == "other.example"


async def test_answers_are_remembered(zone: DNSServer) -> None:
    settings = AuthenticationSettings(verify=True, resolvers=(zone.address,))
    authenticator = Authenticator(settings)
    mail = signed()
    scope = scope_of(mail)
    for _ in range(3):
        assert await authenticator.results(scope, mail)
    authenticator.close()
    assert len(zone.asked) == len(set(zone.asked))


async def test_a_forwarders_seal(zone: DNSServer) -> None:
    mail = b"Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=ann@example.org\r\n" + signed()
    seal = b"".join(dkim.arc_sign(mail, b"key", b"lists.example.org", PEM, b"mx.example.org"))
    assert (await found(zone, seal + mail))["arc"] == "pass"
    assert (await found(zone, (seal + mail).replace(b"works", b"broke")))["arc"] == "fail"
    assert (await found(zone, seal * 60 + mail))["arc"] == "fail"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"", b" " * 1_000_000 + b"x\r\n"),
        (b"", b"\t \r\n" * 1_000_000 + b"x"),
        (b"DKIM-Signature: v=1; a=rsa-sha256; b" + b"\r\n " * 60_000 + b"=x\r\n", b""),
        (b"DKIM-Signature: v=1; a=rsa-sha256; h=from" + b" " * 200_000 + b";b=x\r\n", b""),
        (b"X: a\r\n" + b" b\r\n" * 5_000_000, b""),
        (b"X: a\r\n" * 100_000, b""),
    ],
    ids=["spaces", "lines of spaces", "folds in b=", "spaces in h=", "a folded field", "many fields"],
)
async def test_a_hostile_mail_takes_no_time(zone: DNSServer, head: bytes, body: bytes) -> None:
    """Each of these kept the interpreter busy for minutes, and so stopped every server of the process."""
    forged = signed(canonicalize=(b"relaxed", b"relaxed")) + body
    began = time.process_time()
    assert (await found(zone, head + forged))["dkim"] != "pass"
    assert time.process_time() - began < 20


async def test_a_signature_of_a_part_of_the_body_is_not_valid(zone: DNSServer) -> None:
    """``l=`` lets anybody append a text (RFC 6376, 8.2)."""
    mail = signed(length=True)
    assert (await found(zone, mail))["dkim"] == "pass"
    results = await found(zone, mail + b"<html>Pay here.\r\n", client="198.51.100.1")
    assert (results["dkim"], results["dkim_domain"], results["dmarc"]) == ("fail", "", "fail")


async def test_a_signature_by_sha_1_is_not_valid(zone: DNSServer) -> None:
    """RFC 8301, 3.1."""
    results = await found(zone, signed(signature_algorithm=b"rsa-sha1"), client="198.51.100.1")
    assert (results["dkim"], results["dkim_domain"], results["dmarc"]) == ("permerror", "", "fail")


@given(st.binary(max_size=300) | st.text(" \t\r\nab", max_size=300).map(str.encode))
def test_a_body_is_canonical_as_the_library_has_it(body: bytes) -> None:
    assert dkim_library._Relaxed.canonicalize_body(body) == Relaxed.canonicalize_body(body)


@pytest.mark.parametrize(("signer", "result"), [("example.org", "temperror"), ("other.example", "fail")])
async def test_a_mail_whose_key_dns_does_not_give_has_not_failed(zone: DNSServer, signer: str, result: str) -> None:
    """A handler that rejects what DMARC refuses would reject a good mail because of DNS."""
    zone.broken.add(f"key._domainkey.{signer}")
    results = await found(zone, signed(domain=signer), client="198.51.100.1")
    assert (results["dkim"], results["dmarc"], results["dmarc_policy"]) == ("temperror", result, "reject")


async def test_mails_that_hang_in_dns_hold_up_the_others_no_longer_than_their_time(zone: DNSServer) -> None:
    """A mail waited for a thread without end, and then had all of its time."""
    zone.silent.add("hanging.example")
    authenticator = Authenticator(AuthenticationSettings(verify=True, resolvers=(zone.address,), timeout=0.5))
    scope = scope_of(MAIL, transport="smtp", mail_from="a@hanging.example", client=(CLIENT, 25))
    began = time.monotonic()
    results = await asyncio.gather(*(authenticator.results(scope, MAIL) for _ in range(20 * THREADS)))
    assert time.monotonic() - began < 8  # it was 10
    assert {each["spf"] for each in results if each} == {"temperror"}
    authenticator.close()


async def test_no_lookup_begins_after_the_end(zone: DNSServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads would keep the process alive."""
    monkeypatch.setattr(lookups, "LONGEST", 0.4)
    zone.silent |= {f"{number}.hanging.example" for number in range(9)}
    zone.txt("example.org", f"v=spf1 {' '.join(f'include:{number}.hanging.example' for number in range(9))} -all")
    authenticator = Authenticator(AuthenticationSettings(verify=True, resolvers=(zone.address,)))
    scope = scope_of(MAIL, transport="smtp", mail_from="a@example.org", client=(CLIENT, 25))
    running = asyncio.ensure_future(authenticator.results(scope, MAIL))
    await until(lambda: ("0.hanging.example", "TXT") in zone.asked)
    authenticator.close()
    results = await running
    assert results
    assert results["spf"] == "temperror"
    assert ("1.hanging.example", "TXT") not in zone.asked


async def test_large_answers_are_not_remembered(zone: DNSServer) -> None:
    zone.txt("_dmarc.example.org", "v=DMARC1; p=reject", "x" * 5000)
    resolver = Resolver([resolver_address(zone.address)])
    for _ in range(2):
        assert len(resolver.query("_dmarc.example.org", "TXT", 5.0)) == 2
        assert len(resolver.query("example.org", "TXT", 5.0)) == 1
    assert [zone.asked.count((name, "TXT")) for name in ("_dmarc.example.org", "example.org")] == [2, 1]


@pytest.mark.parametrize("address", ["dns.example", "127.0.0.1:99999", "8.8.8.8:x", "", "https://dns.example/q"])
def test_a_resolver_that_is_no_address_is_told_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address; write 127\.0\.0\.1"):
        AuthenticationSettings(verify=True, resolvers=(address,))


def test_the_address_of_a_resolver() -> None:
    given = ("127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:5353")
    found = [("127.0.0.1", 53), ("127.0.0.1", 5353), ("::1", 53), ("::1", 53), ("::1", 5353)]
    assert list(map(resolver_address, given)) == found
