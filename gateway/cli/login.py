"""``gateway login``: a person logs in to a mailbox for the gateway."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from gateway.cli.completion import quiet, settings_of
from gateway.cli.options import File
from gateway.cli.terminal import fail, file_of, print_text
from gateway.config.loader import ParsedConfig, load
from gateway.config.settings import Settings
from protocols.mail.oauth.device import device_login
from protocols.mail.oauth.google import desktop_client, read_json
from protocols.mail.oauth.login import store_login
from protocols.mail.oauth.loopback import loopback_login
from protocols.mail.oauth.settings import Auth
from protocols.mail.oauth.source import NoTokenYet, TokenRefused
from protocols.queue import Queue

SUBMISSION = "submission"


@quiet
def _servers(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a person can log in to."""
    return [name for name, each in _holders(settings_of(ctx)).items() if logins(each)]


@quiet
def _usernames(ctx: typer.Context, incomplete: str) -> list[str]:
    """The accounts of the server that the command line names."""
    server = ctx.params["server"] or ctx.args[0]  # an option without its value yet leaves the argument unread
    return list(logins(_holders(settings_of(ctx))[server]))


def login(
    server: Annotated[
        str, typer.Argument(help="The mailbox's name in the file, or `submission`.", autocompletion=_servers)
    ],
    username: Annotated[
        str | None, typer.Option(help="Which of its accounts, if it has several.", autocompletion=_usernames)
    ] = None,
    config: File = None,
) -> None:
    """Log in to a mailbox at Google or Microsoft, in a browser, and keep the login for the gateway.

    The server needs `auth: {google: client.json}`, with the client of a desktop app, or `auth: {microsoft: {client_id:
    ...}}`. A gateway that runs uses the new login at once. Exit code 1 if the login was refused.

    Example: gateway login support
    """
    parsed = load(file_of(config))
    os.chdir(parsed.document.folder)
    name, auth = _chosen(parsed, server, username)
    try:
        token = asyncio.run(_logged_in(auth, name))
        store_login(path := auth.login_file(name), token)
    except (TokenRefused, NoTokenYet) as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 1)
    print_text(f"{name} is logged in. The login is in {path}, for this user only.")


def _chosen(parsed: ParsedConfig, server: str, username: str | None) -> tuple[str, Auth]:
    """Return the account's user name and how it logs in."""
    holders = _holders(parsed.settings)
    if server not in holders:
        fail(f"there is no server {server!r}; the file has {', '.join(holders)}", 2)
    found = logins(holders[server])
    if not found:
        fail(f"{server} logs in without a person: it has no auth: with google or microsoft", 2)
    if username is None and len(found) > 1:
        fail(f"{server} has several accounts; add --username with one of {', '.join(found)}", 2)
    name = username or next(iter(found))
    if name not in found:
        fail(f"{server} has no account {name!r} with auth:; it has {', '.join(found)}", 2)
    return name, found[name]


def _holders(settings: Settings) -> dict[str, object]:
    """Return what may have a login, by name."""
    return {**settings.servers, SUBMISSION: settings.submission}


def logins(settings: object) -> dict[str, Auth]:
    """Return user name -> how it logs in, for the accounts of a server that log in by OAuth."""
    holders = [settings, *(getattr(settings, "accounts", None) or ())]
    return {each.username: each.auth for each in holders if getattr(each, "auth", None) is not None}


async def _logged_in(auth: Auth, username: str) -> str:
    if auth.microsoft is not None:
        if auth.microsoft.is_application:
            raise TokenRefused("an application with a secret or a certificate logs in by itself")
        return await device_login(auth.microsoft, print_text)
    path = auth.google or ""
    read = read_json(path)
    if read.get("type") == "service_account":
        raise TokenRefused(f"{path} is the key of a service account, which logs in by itself")
    return await loopback_login(desktop_client(path, read), username, print_text, _typed())


async def _typed() -> AsyncIterator[str]:
    """Yield the lines that are typed. They are read on a thread that nobody waits for."""
    loop, lines = asyncio.get_running_loop(), Queue[str](1)

    def read() -> None:
        for line in sys.stdin.buffer:
            if loop.is_closed():
                return
            loop.call_soon_threadsafe(lines.put, line.decode("utf-8", "replace"))

    threading.Thread(target=read, name="typed", daemon=True).start()
    while True:
        while not lines:
            await lines.more()
        yield lines.popleft()
