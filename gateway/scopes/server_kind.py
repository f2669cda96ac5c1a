"""A protocol that ``servers:`` may name: its settings, and its server, which is imported when one is configured."""

from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gateway.scopes.persistence import StorePersistence
from gateway.store import Store
from protocols.asgi import Application
from protocols.lazy_names import imported
from protocols.server import Server
from protocols.setting_forms import members_of, names_in

if TYPE_CHECKING:
    from protocols.mail.submission import Submission


@dataclass(frozen=True)
class Given:
    """What all servers of a gateway share."""

    submission: "Submission | None" = None
    """Sends mail, if the file names a submission server."""
    store: Store | None = None
    """The store, if something needs one. It is open when the servers start."""


@dataclass(frozen=True)
class ServerKind:
    """A server class and its settings, a dataclass with ``protocol: Literal[...]``, or a union of such."""

    settings: Any
    home: str
    """``module:class``. The module is imported when a server is configured: it may import large libraries."""
    carries: bool = False
    """Whether it can carry other servers, which are ``on`` it."""
    library: str = ""
    """A package that it needs and that is not installed with us."""
    install: str = ""
    """What installs ``library``: ``asgi-gateway[imap]``."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Keys of the settings that had another name: the old name and the new one."""
    extras: tuple[tuple[str, str, str], ...] = ()
    """Settings that need a package that is not installed with us: each with the package, and what installs it."""

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        """The values of ``protocol:`` in its settings."""
        return names_in(self.settings, "protocol")

    @property
    def needs_only_bind(self) -> bool:
        """Whether its settings need nothing but an address."""
        return all(_has_bind(member) and not _has_required(member) for member in members_of(self.settings))

    def server_class(self) -> type[Server]:
        """Import the server class. Raises ValueError, with one sentence, if ``home`` is not a complete server class."""
        try:
            found: Any = imported(self.home)
        except Exception as error:  # whatever the module does
            raise ValueError(f"{self.home} cannot be imported: {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, Server)):
            raise ValueError(f"{self.home} is {found!r}, not a subclass of protocols.server.Server")
        if missing := sorted(found.__abstractmethods__):
            raise ValueError(f"{self.home} has no {', '.join(missing)}, which every server needs")
        server_class: type[Server] = found
        return server_class

    def needs_store(self, settings: Any) -> bool:
        """Return whether a server with these settings keeps state. By default: if it has ``persistence``."""
        return bool(getattr(settings, "persistence", False))

    def make(self, app: Application, settings: Any, name: str, state: dict[str, Any], given: Given) -> Server:
        """Make a server. Raises ValueError, with one sentence, if settings contradict each other or the class fails."""
        factory: Any = self.server_class()
        options = self.options(settings, name, given)
        try:
            made: Server = factory(app, settings, name=name, state=state, **options)
        except ValueError:  # its own sentence
            raise
        except Exception as error:  # whatever a class of others does
            raise ValueError(f"servers.{name}: {self.home} cannot be made: {type(error).__name__}: {error}") from error
        return made

    def options(self, settings: Any, name: str, given: Given) -> dict[str, Any]:
        """Return more arguments for the server class."""
        if given.store is None or not self.needs_store(settings):
            return {}
        return {"persistence": StorePersistence(given.store, f"{settings.protocol} {self.identity(settings, name)}")}

    def identity(self, settings: Any, name: str) -> str:
        """Return the words by which all processes with one store know the server: one process at a time has its state.
        By default: its name."""
        return name


def is_configured(settings: Any) -> bool:
    """Return whether a server with these settings is to be made. A file may leave that to its environment."""
    return bool(getattr(settings, "configured", True))


def _has_bind(settings: Any) -> bool:
    return any(field.name == "bind" for field in fields(settings))


def _has_required(settings: Any) -> bool:
    """Return whether there are fields without a default, besides the address."""
    needed = [field for field in fields(settings) if field.default is MISSING and field.default_factory is MISSING]
    return any(field.name != "bind" for field in needed)
