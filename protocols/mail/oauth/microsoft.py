"""Accounts of Microsoft 365: of an application, and of a person.

Source: learn.microsoft.com/entra/identity-platform: client credentials, certificate credentials, device authorization.
"""

import asyncio
from pathlib import Path

from protocols.mail.oauth.assertion import private_key, sign, thumbprint
from protocols.mail.oauth.cached import CachedSource
from protocols.mail.oauth.endpoint import Granted, ask
from protocols.mail.oauth.login import login_stamp, refresh
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.source import TokenRefused
from protocols.mail.oauth.token_file import file_stamp

APPLICATION_SCOPE = "https://outlook.office365.com/.default"
PERSON_SCOPE = "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access"


class MicrosoftSource(CachedSource):
    """The tokens of an application (RFC 6749, 4.4), or of a person who has logged in."""

    def __init__(self, auth: MicrosoftAuth, login: Path) -> None:
        """``login``: the file of ``gateway login``."""
        super().__init__()
        self._auth = auth
        self._login = login

    async def grant(self) -> Granted:
        auth = self._auth
        if not auth.is_application:
            return await refresh(self._login, auth.url("token"), {"client_id": auth.client_id, "scope": PERSON_SCOPE})
        proven = await asyncio.to_thread(proof, auth)
        form = {"grant_type": "client_credentials", "client_id": auth.client_id, "scope": APPLICATION_SCOPE}
        return await ask(auth.url("token"), form | proven)

    def stamp(self) -> object:
        return file_stamp(self._auth.certificate) if self._auth.certificate else login_stamp(self._login)


def proof(auth: MicrosoftAuth) -> dict[str, str]:
    """Return what shows that it is the application: its secret, or what its certificate's key has signed."""
    if auth.certificate is None:
        return {"client_secret": auth.client_secret.reveal() if auth.client_secret else ""}
    try:
        pem = Path(auth.certificate).read_bytes()
    except OSError as error:
        raise TokenRefused(f"{auth.certificate}: {error.strerror}") from error
    key = private_key(pem, auth.certificate)
    claims = {"iss": auth.client_id, "sub": auth.client_id, "aud": auth.url("token")}
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": sign(key, {"x5t#S256": thumbprint(pem, auth.certificate)}, claims),
    }
