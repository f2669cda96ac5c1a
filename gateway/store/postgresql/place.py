"""The place of a database: the parts of its URL, its name for people, and the parameters of a session."""

import re
from collections.abc import Mapping
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

CONNECT_TIMEOUT = 5
"""Seconds until a connection is refused or accepted."""
_ALWAYS: Mapping[str, Any] = {
    "client_encoding": "UTF8",
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A host that vanishes is noticed after about ten seconds, not after two hours as by the system's own settings."""
_BY_DEFAULT: Mapping[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "target_session_attrs": "read-write",
    "application_name": "gateway",
}
ESCAPES = "; a % of its password has to be written as %25"
_QUOTED = re.compile(r'".*"', re.DOTALL)
"""libpq may quote a part of the password, which may contain quotes."""


class Place:
    """A database, as a URL names it. ``str()`` is the URL without passwords."""

    def __init__(self, url: str) -> None:
        """Raises ValueError, without any part of the URL that may be a password."""
        try:
            given = conninfo_to_dict(url)
        except ProgrammingError as error:
            said = _unquoted(str(error).strip())
            raise ValueError(f"{said}{ESCAPES * ('percent' in said)}") from None
        database, port = str(given.get("dbname") or ""), str(given.get("port") or "")
        if not database and not given.get("service"):  # a service file of libpq may name it
            raise ValueError("it names no database")
        hosts = str(given.get("host") or "").split(",")
        if "@" in database or any("@" in host[1:] for host in hosts if not host.startswith("/")):
            raise ValueError("a / or @ of its password has to be written as %2F or %40")
        if not all(each.isdigit() and int(each) < 65536 for each in port.split(",") if each):
            raise ValueError("its port is no number below 65536")
        self.parameters: dict[str, Any] = {**_BY_DEFAULT, **given, **_ALWAYS}
        self._name = _name(database, port, given)

    def __str__(self) -> str:
        return self._name


def _unquoted(said: str) -> str:
    return said if "query parameter" in said and "@" not in said else _QUOTED.sub("...", said)


def _name(database: str, port: str, given: Mapping[str, Any]) -> str:
    host, user = str(given.get("host") or ""), str(given.get("user") or "")
    host = f"[{host}]" if ":" in host else host.replace("/", "%2F")
    password = ":***" if given.get("password") else ""
    return f"postgresql://{f'{user}{password}@' if user else ''}{host}{f':{port}' if port else ''}/{database}"
