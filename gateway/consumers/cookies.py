"""Cookies (RFC 6265): those of a request, and those that its response sets."""

import re
from collections.abc import Iterable
from typing import Literal, get_args

from gateway.consumers import arguments
from protocols.errors import LocalProtocolError

SameSite = Literal["Lax", "Strict", "None"]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
"""RFC 6265, 4.1.1: cookie-octets."""
_ATTRIBUTE = re.compile(r"[ -:<-~]*")
"""The same: any character but controls and the semicolon."""


def parsed(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the cookies of a request. Of two with one name the first counts, which has the longer path (5.4)."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, equals, given = pair.partition("=")
                if equals:
                    found.setdefault(key.strip(), _unquoted(given.strip()))
    return found


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None,
    path: str,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: SameSite,
) -> tuple[bytes, bytes]:
    """Return the field that sets a cookie. Raises ValueError for what no cookie can have."""
    _check("name", arguments.name("set_cookie", "name", name, "text"), _NAME, "letters, digits and - _ .")
    _check("value", arguments.name("set_cookie", "value", value, "text"), _VALUE, 'ASCII without spaces and ,;"\\')
    if samesite not in get_args(SameSite):
        raise ValueError(f"set_cookie: samesite is {samesite!r}; write 'Lax', 'Strict' or 'None'")
    words = [f"{name}={value}", f"Path={_attribute('path', path)}", f"SameSite={samesite}"]
    if max_age is not None:
        words.append(f"Max-Age={arguments.integer('set_cookie', 'max_age', max_age, 'a number of seconds')}")
    if domain is not None:
        words.append(f"Domain={_attribute('domain', domain)}")
    words += ["Secure"] * secure + ["HttpOnly"] * httponly
    return b"set-cookie", "; ".join(words).encode()


def _attribute(argument: str, given: str) -> str:
    return _check(argument, arguments.name("set_cookie", argument, given, "text"), _ATTRIBUTE, "ASCII without ;")


def _check(argument: str, given: str, pattern: re.Pattern[str], allowed: str) -> str:
    if not pattern.fullmatch(given):
        raise ValueError(
            f"set_cookie: {argument} may have {allowed}; encode the rest, by urllib.parse.quote for example"
        )
    return given


class Cookies:
    """The cookies of a consumer's request, and of its response."""

    scope: object
    _cookies: dict[str, str] | None = None
    _set_cookies: tuple[tuple[bytes, bytes], ...] = ()
    _headers_sent = False

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request, by name."""
        if self._cookies is None:
            self._cookies = parsed(self.scope["headers"])  # type: ignore[index]  # the scope of a subclass
        return self._cookies

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: SameSite = "Lax",
    ) -> None:
        """Set a cookie with the response, which has not begun. ``max_age`` is in seconds; None: until the browser ends.
        ``secure`` is None for True where the request came by TLS. Raises ValueError for what no cookie can have."""
        if self._headers_sent:
            raise LocalProtocolError("set_cookie: the response has begun, and its headers are sent")
        if secure is None:
            secure = self.scope.get("scheme") in ("https", "wss")  # type: ignore[attr-defined]  # as above
        field = set_cookie(
            name,
            value,
            max_age=max_age,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
        self._set_cookies = (*self._set_cookies, field)

    def delete_cookie(self, name: str, *, path: str = "/", domain: str | None = None) -> None:
        """Delete a cookie that was set with this path and this domain."""
        self.set_cookie(name, "", max_age=0, path=path, domain=domain)
