"""``auth:`` of a mailbox and of the submission server."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from protocols.mail.oauth.google import GoogleSource, check_file, is_service_account, read_json
from protocols.mail.oauth.microsoft import MicrosoftAuth, MicrosoftSource, proof
from protocols.mail.oauth.source import TokenSource
from protocols.settings_config import SETTINGS_CONFIG

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
            check_file(self.google)
        elif self.microsoft is not None and self.microsoft.certificate is not None:
            proof(self.microsoft)

    def waits_for(self, username: str) -> bool:
        """Return whether a person has to log in first. Raises TokenRefused."""
        if self.microsoft is not None:
            by_itself = self.microsoft.is_application
        else:
            by_itself = is_service_account(read_json(self.google or ""))
        return not by_itself and not self.login_file(username).exists()

    def login_file(self, username: str) -> Path:
        """Return where the login of ``username`` is kept."""
        return Path(self.login or f"var/logins/{_NOT_IN_NAMES.sub('_', username)}")

    def source(self, username: str) -> TokenSource:
        """Return the source of tokens for the mailbox ``username``. Its files are read when a token is needed."""
        login = self.login_file(username)
        if self.microsoft is not None:
            return MicrosoftSource(self.microsoft, login)
        return GoogleSource(self.google or "", username, login)
