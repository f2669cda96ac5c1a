"""``auth: {microsoft: ...}``: an application of Microsoft 365."""

from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from protocols.mail.oauth.https_url import check_url
from protocols.secret import Secret
from protocols.settings_config import SETTINGS_CONFIG


@dataclass(frozen=True, kw_only=True)
class MicrosoftAuth:
    """An application that is registered with Microsoft Entra."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    client_id: str
    """The application's id (a UUID)."""
    tenant: str = "common"
    """The organisation: its domain or id. An application of its own (with a secret or a certificate) needs it."""
    client_secret: Secret | None = None
    """The application's secret. Without this and without `certificate` a person logs in: `gateway login`."""
    certificate: str | None = None
    """Path of a PEM file with the application's certificate and its private key, instead of a secret."""
    authority: str = "https://login.microsoftonline.com"
    """The login server; national clouds have others."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if self.client_secret is not None and self.certificate is not None:
            raise ValueError("write client_secret or certificate, one of them")
        if self.is_application and self.tenant in ("common", "organizations", "consumers"):
            raise ValueError("tenant is missing: an application logs in to one organisation, such as example.com")
        check_url(self.authority)

    @property
    def is_application(self) -> bool:
        """Whether the application logs in by itself, and not a person."""
        return bool(self.client_secret) or self.certificate is not None

    def url(self, what: str) -> str:
        """Return the address of an endpoint: ``token`` or ``devicecode``."""
        return f"{self.authority.rstrip('/')}/{quote(self.tenant, safe='')}/oauth2/v2.0/{what}"
