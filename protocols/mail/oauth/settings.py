"""``auth:`` of a mailbox and of the submission server. What asks for tokens is imported where there is an ``auth:``."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from protocols.lazy_names import imported
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.source import TokenSource
from protocols.settings_config import SETTINGS_CONFIG

_GOOGLE, _MICROSOFT = (f"protocols.mail.oauth.{name}" for name in ("google", "microsoft"))
_NOT_IN_NAMES = re.compile(r"^\.|[^\w@.+-]")


@dataclass(frozen=True, kw_only=True)
class Auth:
    """A login by OAuth, which Google and Microsoft ask for."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    google: str | None = None
    """Path of a JSON file from Google's console: the key of a service account with domain-wide delegation, or the
    client of a desktop app, by which a person logs in (`gateway login`)."""
    microsoft: MicrosoftAuth | None = None
    """An application of Microsoft 365."""
    login: str | None = None
    """Path of the file in which `gateway login` keeps a person's login; default: `var/logins/USERNAME`."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if (self.google is None) == (self.microsoft is None):
            raise ValueError("write google or microsoft, one of them")

    def check_files(self) -> None:
        """Check the file of the key, the certificate or the client. Raises TokenRefused if it is missing or wrong."""
        if self.google is not None:
            imported(f"{_GOOGLE}:check_file")(self.google)
        elif self.microsoft is not None:
            proof = imported(f"{_MICROSOFT}:proof")  # here, and not when the first token is needed
            if self.microsoft.certificate is not None:
                proof(self.microsoft)

    def waits_for(self, username: str) -> bool:
        """Return whether a person has to log in first. Raises TokenRefused."""
        if self.microsoft is not None:
            by_itself = self.microsoft.is_application
        else:
            key = imported(f"{_GOOGLE}:read_json")(self.google or "")
            by_itself = imported(f"{_GOOGLE}:is_service_account")(key)
        return not by_itself and not self.login_file(username).exists()

    def login_file(self, username: str) -> Path:
        """Return where the login of ``username`` is kept."""
        return Path(self.login or f"var/logins/{_NOT_IN_NAMES.sub('_', username)}")

    def source(self, username: str) -> TokenSource:
        """Return the source of tokens for the mailbox ``username``. Its files are read when a token is needed."""
        login = self.login_file(username)
        if self.microsoft is not None:
            source: TokenSource = imported(f"{_MICROSOFT}:MicrosoftSource")(self.microsoft, login)
        else:
            source = imported(f"{_GOOGLE}:GoogleSource")(self.google or "", username, login)
        return source
