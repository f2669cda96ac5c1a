"""A server verifies what swaks delivers, before the handler runs."""

import asyncio
from pathlib import Path
from typing import Any

from servers.dns_server import DNSServer
from servers.programs import program
from signed_mail import MAIL, signed, zone

from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.mail.smtp.server import SMTPServer, SMTPSettings

__all__ = ["zone"]


async def delivered(mail: bytes, authentication: AuthenticationSettings | None, folder: Path, **given: Any) -> Any:
    """The scope's ``authentication`` of ``mail``."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        while (event := await receive())["type"] != "email.disconnect":
            scopes.append(event["body"])

    swaks = program("swaks")
    settings = SMTPSettings(bind="127.0.0.1:0", authentication=authentication, **given)
    async with SMTPServer(application, settings, state={}) as server:
        (folder / "mail.eml").write_bytes(mail)
        sending = await asyncio.create_subprocess_exec(
            *(swaks, "--server", server.address, "--protocol", settings.protocol, "--from", "ann@example.org"),
            *("--to", "support@example.net", "--data", str(folder / "mail.eml"), "--hide-all"),
        )
        assert await asyncio.wait_for(sending.wait(), 20) == 0
    assert b"".join(scopes[1:]).rstrip().endswith(b"works.")  # swaks ends the file with a line of its own
    return scopes[0]["authentication"]


async def test_a_signed_mail_is_verified(zone: DNSServer, tmp_path: Path) -> None:
    settings = AuthenticationSettings(verify=True, resolvers=(zone.address,))
    results = await delivered(signed(), settings, tmp_path)
    assert (results["dkim"], results["dmarc"], results["spf"]) == ("pass", "pass", "fail")  # it comes from loopback
    assert "spf" not in await delivered(signed(), settings, tmp_path, protocol="lmtp")


async def test_the_header_of_a_trusted_server_counts_and_no_other(tmp_path: Path) -> None:
    mail = b"Authentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n" + MAIL
    trusting = AuthenticationSettings(trust="mx.example.net")
    assert (await delivered(mail, trusting, tmp_path))["dmarc"] == "pass"
    assert await delivered(mail, AuthenticationSettings(trust="mx.example.com"), tmp_path) is None
    assert await delivered(mail, None, tmp_path) is None
