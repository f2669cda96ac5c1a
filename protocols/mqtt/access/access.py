"""Decides which clients may connect and what they may do, by the users, certificates and rules of the settings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from protocols.access.logins import Logins, Outcome, Save
from protocols.mqtt.access.acl import Rule, Rules
from protocols.mqtt.wire import reasons
from protocols.secret import Secret

_CODES = {
    Outcome.RIGHT: reasons.SUCCESS,
    Outcome.WRONG: reasons.BAD_CREDENTIALS,
    Outcome.BUSY: reasons.SERVER_BUSY,
    Outcome.UNAVAILABLE: reasons.SERVER_UNAVAILABLE,
}


def _forget(username: str, record: str | None) -> None:
    """Save nothing: without persistence, records do not outlive the process."""


Stays = Callable[[str | None, dict[str, Any] | None], bool]
"""Whether a client may stay that was let in: by its user name and its verified certificate."""


class AccessSettings(Protocol):
    """The settings of a server for access control; see :class:`protocols.mqtt.settings.MQTTSettings`."""

    @property
    def users(self) -> Mapping[str, Secret] | None: ...
    @property
    def password_file(self) -> str | None: ...
    @property
    def certificate_user(self) -> bool: ...
    @property
    def anonymous(self) -> bool | None: ...
    @property
    def acl(self) -> Sequence[Rule] | None: ...
    @property
    def persistence(self) -> bool: ...
    @property
    def remember_logins(self) -> str: ...
    @property
    def knows_users(self) -> bool: ...


class Verdict(NamedTuple):
    """The outcome of authentication: CONNACK's reason code, and the authenticated user name."""

    reason_code: int
    username: str | None


class Access:
    """Authenticates clients before the application gets them."""

    def __init__(self, settings: AccessSettings, name: str, save: Save = _forget) -> None:
        """``name`` is the server's; ``save`` keeps records of right logins beyond this process. Raises ValueError with
        one sentence if the password file cannot be used."""
        self.needed = settings.knows_users
        """Whether the settings name users. If they do not, the application alone decides about connections."""
        saves = settings.persistence and settings.remember_logins == "disk"
        self.logins = Logins(settings.users, settings.password_file, owner=name, save=save if saves else None)
        self._settings = settings
        self._save = save

    def follow(self, before: "Access", save: Save) -> "Stays":
        """Go on in the place of ``before``. Return who may stay of those that it has let in."""
        saves = self._settings.persistence and self._settings.remember_logins == "disk"
        self._save = save
        has_password = self.logins.follow(before.logins, save if saves else None)
        proved = before.needed

        def stays(username: str | None, certificate: dict[str, Any] | None) -> bool:
            if not self.needed:  # the application decides, and has
                return True
            if self._settings.certificate_user and username is not None and common_name(certificate) == username:
                return True
            return bool(self._settings.anonymous) if username is None else proved and has_password(username)

        return stays

    def restore(self, saved: Mapping[str, str]) -> None:
        """Take over the records that an earlier process gave to ``save``, by user name."""
        for name in self.logins.restore(saved):
            self._save(name, None)

    async def authenticate(
        self,
        username: str | None,
        password: bytes | None,
        certificate: dict[str, Any] | None,
        host: str = "",
    ) -> Verdict:
        """Authenticate a client. ``certificate`` is its verified certificate, as ``SSLObject.getpeercert()`` returns
        it; ``host`` is its address."""
        if self._settings.certificate_user and (name := common_name(certificate)) is not None:
            return Verdict(reasons.SUCCESS, name)
        if username is None:
            return Verdict(reasons.SUCCESS if self._settings.anonymous else reasons.NOT_AUTHORIZED, None)
        outcome = Outcome.WRONG if password is None else await self.logins.check(username, password, host)
        return Verdict(_CODES[outcome], username if outcome is Outcome.RIGHT else None)

    def rules_for(self, client_id: str, username: str | None) -> Rules | None:
        """The rules for this client; None if there is no acl, so that every client may do everything."""
        return None if self._settings.acl is None else Rules(self._settings.acl, client_id, username)


def common_name(certificate: dict[str, Any] | None) -> str | None:
    """The subject's only common name; None if it has none, several, or one that is not printable."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    return names[0] if len(names) == 1 and names[0] and names[0].isprintable() else None
