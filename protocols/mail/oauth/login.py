"""The login of a person: a refresh token in a file that only its owner may read."""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from protocols import private_files
from protocols.mail.oauth.endpoint import Granted, OAuthError, ask
from protocols.mail.oauth.source import TokenRefused

logger = logging.getLogger(__name__)

AGAIN = frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required"})
"""Errors after which only the person can go on: the login has expired, or was withdrawn."""


def store_login(path: Path, refresh_token: str, *, written: int | None = None) -> None:
    """Write the file at ``path`` as a whole, readable for its owner alone. ``written``: the time that it shows, in
    nanoseconds, if not the present. Raises OSError."""
    private_files.make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")  # several writers at once are possible
    try:
        private_files.write(unfinished, json.dumps({"refresh_token": refresh_token}).encode() + b"\n")
        if written is not None:
            os.utime(unfinished, ns=(written, written))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def login_stamp(path: Path) -> object:
    """Return a value that changes when a person logs in, and not when a refresh token is kept: of two servers with one
    login, each would otherwise take the other's new token for the person's repair, and try again at once."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _stored(path: Path) -> str:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise TokenRefused(f"{path}: {error.strerror}") from error
    except ValueError:
        found = {}
    if found is None:
        raise TokenRefused("nobody has logged in yet: run `gateway login` with this server's name")
    token = found.get("refresh_token") if isinstance(found, dict) else None
    if not isinstance(token, str) or not token:
        raise TokenRefused(f"{path}: it holds no login; run `gateway login` again")
    return token


async def refresh(path: Path, url: str, form: Mapping[str, str]) -> Granted:
    """Renew the token of the person whose login is at ``path`` (RFC 6749, 6). ``form``: the client, as the endpoint at
    ``url`` wants it. Raises NoTokenYet and TokenRefused."""
    used = await asyncio.to_thread(_stored, path)
    try:
        granted = await ask(url, {**form, "grant_type": "refresh_token", "refresh_token": used})
    except OAuthError as error:
        if error.code in AGAIN:
            raise TokenRefused(f"{error}; run `gateway login` again") from error
        raise
    if granted.refresh_token not in ("", used):  # Microsoft gives a new one each time
        await asyncio.to_thread(_keep, path, used, granted.refresh_token)
    return granted


def _keep(path: Path, used: str, new: str) -> None:
    """Keep the new refresh token, unless somebody has logged in anew meanwhile."""
    try:
        if _stored(path) == used:
            store_login(path, new, written=path.stat().st_mtime_ns)
    except (OSError, TokenRefused) as error:
        logger.warning("the new login is not kept, the old one expires after some months: %s", error)
