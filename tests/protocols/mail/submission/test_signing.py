"""DKIM: what we sign is verified by dkimpy, and by Perl's Mail::DKIM, which somebody else wrote."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dkim
import pytest
from servers.dns_server import DNSServer, dns_server
from servers.programs import program
from servers.submission import EHLO, peer, sending

from protocols.errors import PermanentFailure
from protocols.mail.submission import MaildirSubmission, SubmissionSettings, open_submission
from protocols.mail.submission.settings import DKIMSettings
from protocols.mail.submission.signing import SignedSubmission

ASCII = (
    b"From: Desk <desk@example.org>\r\nTo: ann@example.net\r\nSubject: hi\r\n there\r\n"
    b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n\r\n  body  text \r\n.\r\n\r\n\r\n"
)
TEXT = (
    "From: Jörg <desk@example.org>\r\nSubject: Grüße\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSchöne Grüße\r\n"
).encode()
PERL = """
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
my ($host, $port) = split /:/, $ARGV[0];
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$host], port => $port));
my $verifier = Mail::DKIM::Verifier->new();
binmode STDIN; local $/; $verifier->PRINT(<STDIN>); $verifier->CLOSE();
print $verifier->result_detail, " ", join(",", map { $_->domain } $verifier->signatures);
"""


class Domain:
    """A key in a folder, and its public half in the DNS."""

    def __init__(self, folder: Path, name: str, dns: DNSServer) -> None:
        self.key = folder / f"{name}.pem"
        openssl = program("openssl")
        subprocess.run([openssl, "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        public = subprocess.run([openssl, "rsa", "-in", self.key, "-pubout"], check=True, capture_output=True).stdout
        value = b"".join(line for line in public.split(b"\n") if b"-" not in line).decode()
        self.record = f"v=DKIM1; k=rsa; p={value}"
        self.settings = DKIMSettings(name, "mail", str(self.key))
        dns.txt(f"mail._domainkey.{name}", self.record)


@pytest.fixture(scope="module")
def dns() -> Iterator[DNSServer]:
    with dns_server() as server:
        yield server


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, dns: DNSServer) -> Domain:
    return Domain(tmp_path_factory.mktemp("keys"), "example.org", dns)


async def signed(message: bytes, *domains: Domain, ehlo: str = EHLO) -> bytes:
    """As the server got it."""
    async with (
        peer({"EHLO": ehlo}) as there,
        sending(f"smtp://{there.address}", dkim=tuple(each.settings for each in domains)) as submission,
    ):
        await submission.submit("desk@example.org", ["ann@example.net"], message)
    ((_, content),) = there.taken
    return content


def verified(message: bytes, example: Domain) -> bool:
    """By dkimpy."""
    return bool(dkim.verify(message, dnsfunc=lambda name, **_: example.record.encode()))


def verified_by_perl(message: bytes, dns: DNSServer) -> str:
    command = [program("dkimproxy-verify").removesuffix("dkimproxy-verify") + "perl", "-e", PERL, dns.address]
    return subprocess.run(command, input=message, capture_output=True, check=True, timeout=30).stdout.decode()


@pytest.mark.parametrize("message", [ASCII, TEXT, ASCII[: ASCII.index(b"\r\n\r\n") + 4]])
async def test_what_is_signed_is_verified_by_two_programs(message: bytes, example: Domain, dns: DNSServer) -> None:
    content = await signed(message, example)
    assert content.startswith(b"DKIM-Signature: ")
    assert verified(content, example)
    assert await asyncio.to_thread(verified_by_perl, content, dns) == "pass example.org"
    assert not verified(content.replace(b"Subject: ", b"Subject: x"), example)
    assert not verified(content.replace(b"\r\n\r\n", b"\r\nFrom: evil@example.net\r\n\r\n", 1), example)


async def test_it_is_7_bit_before_it_is_signed(example: Domain) -> None:
    assert (await signed(TEXT, example)).isascii()


async def test_the_domain_of_from_decides(tmp_path: Path, example: Domain, dns: DNSServer) -> None:
    below = Domain(tmp_path, "mail.example.org", dns)
    for sender, domain in [
        (b"desk@example.org", b"example.org"),
        (b"desk@shop.EXAMPLE.org", b"example.org"),
        (b"Desk <desk@eu.mail.example.org>, other@example.net", b"mail.example.org"),
        (b"desk@notexample.org", None),
        (b"desk@example.org.evil.example", None),
        (b"", None),
    ]:
        content = await signed(ASCII.replace(b"Desk <desk@example.org>", sender), example, below)
        if domain is None:
            assert not content.startswith(b"DKIM-Signature")
        else:
            assert b"; d=" + domain + b"; " in content.replace(b"\r\n ", b" ").partition(b"From:")[0]


async def test_a_maildir_gets_it_signed_too(tmp_path: Path, example: Domain) -> None:
    async with sending(f"file:{tmp_path}/box", dkim=(example.settings,)) as submission:
        await submission.submit("", ["ann@example.net"], ASCII)
    (path,) = (tmp_path / "box" / "new").iterdir()
    assert verified(path.read_bytes().split(b"\r\n", 2)[2], example)


async def test_fields_that_are_none_are_refused_and_not_sent_unsigned(example: Domain) -> None:
    with pytest.raises(PermanentFailure, match=r"DKIM, example\.org"):
        await signed(b"From: desk@example.org\r\nno field\r\n\r\nbody\r\n", example)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_text("no key"), "DKIM, example.org"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_a_key_that_cannot_sign_is_found_before_the_start(tmp_path: Path, make: Any, fault: str) -> None:
    make(path := tmp_path / "key.pem")
    if path.is_file():
        path.chmod(0o600)
    settings = SubmissionSettings("smtp://mail.example", dkim=(DKIMSettings("example.org", "mail", str(path)),))
    with pytest.raises(ValueError, match=fault):
        open_submission(settings)


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path, dns: DNSServer) -> None:
    domain = Domain(tmp_path, "open.example", dns)
    domain.key.chmod(0o644)
    with pytest.raises(ValueError, match="every user of this machine can read the key; chmod o="):
        open_submission(SubmissionSettings("smtp://mail.example", dkim=(domain.settings,)))
    domain.key.chmod(0o640)
    open_submission(SubmissionSettings("smtp://mail.example", dkim=(domain.settings,)))


@pytest.mark.parametrize("author", ["straße.example", "xn--strae-oqa.example", "Mail.STRAẞE.example"])
def test_a_domain_has_one_form_in_dns(example: Domain, author: str) -> None:
    """``ß`` was ``ss``, as in 2003: another domain, whose owner would have signed our mail."""
    settings = DKIMSettings("straße.example", "mail", str(example.key))
    submission = SignedSubmission(MaildirSubmission("unused"), [settings])
    key = submission._key(f"From: desk@{author}\r\n\r\n".encode())
    assert key is not None
    assert key.domain == b"xn--strae-oqa.example"
    assert submission._key(b"From: desk@strasse.example\r\n\r\n") is None
