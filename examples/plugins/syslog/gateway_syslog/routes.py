"""The router of the syslog scope: by app name, host name, facility or severity."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.routing.patterns import NO_CAPTURES, Captures, Default, Pattern
from gateway.routing.router import Router
from gateway_syslog.message import FACILITIES, SEVERITIES


@dataclass(frozen=True)
class _Name(Pattern):
    """One value of a key, without regard to case."""

    text: str
    key: ClassVar[str]

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.lower() == self.text.lower() else None

    def __str__(self) -> str:
        return f"{self.key} {self.text}"


class AppName(_Name):
    key = "app_name"


class HostName(_Name):
    key = "hostname"


class Facility(_Name):
    key = "facility"

    def __post_init__(self) -> None:
        if self.text not in FACILITIES:
            raise ValueError(f"{self.text!r} is not a facility; write one of {', '.join(FACILITIES)}")


class Severity(_Name):
    """This severity and all that are worse."""

    key = "severity"

    def __post_init__(self) -> None:
        if self.text not in SEVERITIES:
            raise ValueError(f"{self.text!r} is not a severity; write one of {', '.join(SEVERITIES)}")

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if SEVERITIES.index(key) <= SEVERITIES.index(self.text) else None


PATTERNS: dict[str, type[_Name]] = {each.key: each for each in (AppName, HostName, Facility, Severity)}


class SyslogRouter(Router):
    scope_types = ("syslog",)
    patterns = (*PATTERNS.values(), Default)

    def key(self, pattern: Pattern, scope: Any) -> str:
        found: str = scope[pattern.key] if isinstance(pattern, _Name) else scope["app_name"]
        return found
