"""Accounts of Google: of a service account, and of a person.

Source: developers.google.com/identity/protocols/oauth2/service-account and .../native-app.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.mail.oauth.assertion import private_key, sign
from protocols.mail.oauth.cached import CachedSource
from protocols.mail.oauth.endpoint import Granted, OAuthError, ask
from protocols.mail.oauth.https_url import check_url
from protocols.mail.oauth.login import login_stamp, refresh
from protocols.mail.oauth.source import TokenRefused
from protocols.mail.oauth.token_file import file_stamp

SCOPE = "https://mail.google.com/"
"""IMAP and SMTP. (``gmail.imap_admin`` would show other folders than the user sees.)"""
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address
AUTHORIZE_URL = "https://accounts.google.com/o/oauth2/v2/auth"


@dataclass(frozen=True)
class DesktopClient:
    """The client of a desktop app, by which a person logs in. Its secret is none, says Google."""

    client_id: str
    client_secret: str
    authorize_url: str
    token_url: str

    def form(self) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.client_secret}


def desktop_client(path: str, read: dict[str, Any]) -> DesktopClient:
    """Return the client in the file at ``path``, whose JSON is ``read``. Raises TokenRefused."""
    installed = read.get("installed")
    if not isinstance(installed, dict):
        said = "it is neither a service account's key nor the client of a desktop app, as Google's console gives them"
        raise TokenRefused(f"{path}: {said}")
    return DesktopClient(
        _text(installed, "client_id", path),
        _text(installed, "client_secret", path),
        _url(installed.get("auth_uri", AUTHORIZE_URL), path),
        _url(installed.get("token_uri", TOKEN_URL), path),
    )


class GoogleSource(CachedSource):
    """The tokens of one mailbox. The file decides whose: a service account acts for a mailbox of the organisation,
    which has allowed that (domain-wide delegation); by the client of a desktop app a person has logged in."""

    def __init__(self, path: str, mailbox: str, login: Path) -> None:
        """``path``: the file that Google's console gives; ``login``: the file of ``gateway login``."""
        super().__init__()
        self._path = path
        self._mailbox = mailbox
        self._login = login

    async def grant(self) -> Granted:
        read = await asyncio.to_thread(read_json, self._path)
        if is_service_account(read):
            return await self._as_service_account(read)
        client = desktop_client(self._path, read)
        return await refresh(self._login, client.token_url, client.form())

    async def _as_service_account(self, read: dict[str, Any]) -> Granted:
        url = _url(read.get("token_uri", TOKEN_URL), self._path)
        assertion = await asyncio.to_thread(self._signed, read, url)
        try:
            return await ask(url, {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})
        except OAuthError as error:
            if error.code != "unauthorized_client":
                raise
            said = f"the administrator must allow the service account the scope {SCOPE} (domain-wide delegation)"
            raise TokenRefused(f"{error}; {said}") from error

    def _signed(self, read: dict[str, Any], url: str) -> str:
        claims = {"iss": _text(read, "client_email", self._path), "sub": self._mailbox, "scope": SCOPE, "aud": url}
        key = private_key(_text(read, "private_key", self._path).encode(), self._path)
        header = {"kid": read["private_key_id"]} if isinstance(read.get("private_key_id"), str) else {}
        return sign(key, header, claims)

    def stamp(self) -> object:
        return file_stamp(self._path), login_stamp(self._login)


def is_service_account(read: dict[str, Any]) -> bool:
    return read.get("type") == "service_account"


def check_file(path: str) -> None:
    """Check the file that Google's console gives. Raises TokenRefused if it is missing or wrong."""
    read = read_json(path)
    if is_service_account(read):
        _text(read, "client_email", path)
        private_key(_text(read, "private_key", path).encode(), path)
    else:
        desktop_client(path, read)


def read_json(path: str) -> dict[str, Any]:
    """Return the JSON object in the file. Raises TokenRefused."""
    try:
        found = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise TokenRefused(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise TokenRefused(f"{path}: it is not JSON") from error
    return found if isinstance(found, dict) else {}


def _text(read: dict[str, Any], key: str, path: str) -> str:
    value = read.get(key)
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"{path}: it has no {key}")
    return value


def _url(value: object, path: str) -> str:
    try:
        return check_url(str(value))
    except ValueError as error:
        raise TokenRefused(f"{path}: {error}") from error
