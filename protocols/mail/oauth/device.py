"""The device flow (RFC 8628): a person types a code in any browser. Microsoft offers it for mail, Google does not."""

import asyncio
from collections.abc import Callable

from protocols.mail.oauth.endpoint import OAuthError, ask, plain, post
from protocols.mail.oauth.microsoft import PERSON_SCOPE
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.source import NoTokenYet, TokenRefused

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL, SLOWER = 5.0, 5.0
"""Seconds between two questions, if the server does not say; and how many more it means by ``slow_down``."""
SHORTEST_INTERVAL = 0.01
"""Seconds between two questions, at least, whatever the server says."""
LONGEST = 1800.0
"""Seconds that the person has, at most."""


async def device_login(auth: MicrosoftAuth, show: Callable[[str], object]) -> str:
    """Let a person log in, and return the refresh token. Raises TokenRefused and NoTokenYet."""
    begun = await post(auth.url("devicecode"), {"client_id": auth.client_id, "scope": PERSON_SCOPE})
    try:
        code, device = str(begun["user_code"]), str(begun["device_code"])
        where, seconds = str(begun["verification_uri"]), min(LONGEST, float(begun["expires_in"]))
        interval = max(SHORTEST_INTERVAL, float(begun.get("interval", INTERVAL)))  # also of NaN
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TokenRefused("the login server began no login by code") from error
    show(plain(f"Open {where} in a browser, on any machine, and type the code {code}"))
    try:
        async with asyncio.timeout(seconds):
            return await _asked(auth, device, interval)
    except TimeoutError as error:
        raise TokenRefused("the code has expired: begin again") from error


async def _asked(auth: MicrosoftAuth, device: str, interval: float) -> str:
    form = {"grant_type": GRANT, "client_id": auth.client_id, "device_code": device}
    while True:
        await asyncio.sleep(interval)
        try:
            granted = await ask(auth.url("token"), form)
        except OAuthError as error:
            if error.code not in ("authorization_pending", "slow_down"):
                raise
            interval += SLOWER if error.code == "slow_down" else 0.0
        except NoTokenYet:
            continue
        else:
            return refresh_token_of(granted.refresh_token)


def refresh_token_of(token: str) -> str:
    """Return ``token``. Raises TokenRefused if there is none: it would be a login for an hour."""
    if not token:
        raise TokenRefused("the login server gave no refresh token; allow the application offline access")
    return token
