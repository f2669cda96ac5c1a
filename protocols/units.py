"""Durations, sizes and addresses as people write them, for the settings of every server.

Each type below is an ordinary ``float``, ``int`` or ``str`` to the code that uses it. Where settings are read from a
file, pydantic finds the parser in the annotation; this module does not import pydantic.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)


def _quantity(text: str, units: dict[str, float] | dict[str, int], bare: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    unit = (match[2].lower() or bare) if match else ""
    if match is None or unit not in units:
        raise ValueError(f"{text!r} is not understood; write {example}")
    return float(match[1]) * units[unit]


def parse_duration(value: object) -> float:
    """Seconds of ``5``, ``"5s"``, ``"200ms"``, ``"10m"``, ``"1h"`` or ``"2d"``. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    return _quantity(str(value), _SECONDS, "s", "a duration such as 500ms, 5s, 10m, 1h or 2d")


def parse_size(value: object) -> int:
    """Bytes of ``65536``, ``"10MiB"``, ``"64kB"`` or ``"1GiB"``. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return int(_quantity(str(value), _BYTES, "b", "a size such as 512, 64KiB, 10MiB or 1GiB"))


@dataclass(frozen=True, slots=True)
class TCP:
    """A TCP address; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LONGEST_UNIX_PATH = 107
"""Bytes of a Unix socket's path (unix(7): 108 with the end)."""


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket's path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Inherited:
    """A listening socket that the parent process opened, by file descriptor, or by the name that systemd gives it."""

    fd: int | str

    def __str__(self) -> str:
        return f"fd:{self.fd}"


BindAddress = TCP | Unix | Inherited
_TCP = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\s:\[\]]*)):(?P<port>\d{1,9})", re.ASCII)
_INHERITED = re.compile(r"fd:(?:(\d{1,9})|([A-Za-z_][\w.@-]{0,254}))", re.ASCII)
LAST_PORT = 65535
_TOO_HIGH = f"{{!r}} is not an address: ports end at {LAST_PORT}"


def parse_address(value: object) -> BindAddress:
    """The address of ``"127.0.0.1:8000"``, ``"[::1]:8000"``, ``":8000"``, ``"unix:/run/g.sock"``, ``"fd:3"`` or
    ``"fd:web"``."""
    text = str(value)
    if text.startswith("unix:") and len(text) > 5:
        return Unix(text[5:])
    if match := _INHERITED.fullmatch(text):
        return Inherited(int(match[1]) if match[1] else match[2])
    match = _TCP.fullmatch(text)
    if match is None and re.fullmatch(r"\d{5,9}", text, re.ASCII) and int(text) > LAST_PORT:
        raise ValueError(_TOO_HIGH.format(text))
    if match is None:
        raise ValueError(f"{text!r} is not an address; write {_meant(text)}")
    if int(match["port"]) > LAST_PORT:
        raise ValueError(_TOO_HIGH.format(text))
    return TCP(match["six"] or match["host"] or "0.0.0.0", int(match["port"]))  # ':8000' says "any"


def _meant(text: str) -> str:
    """Return what to write instead of ``text``: the address that it seems to mean, or the forms that there are."""
    if re.fullmatch(r"\d{1,5}", text, re.ASCII):
        return f"127.0.0.1:{text}"
    if "://" in text:
        return "127.0.0.1:8000, without a scheme and a path"
    if _HOST.fullmatch(text) and not text.isdecimal():
        return f"{text}:8000, with the port"
    return "host:port, [::1]:8000, unix:/run/g.sock or fd:3"


UNIX_PEERS = "unix"
"""Stands for a network of all peers on a Unix socket."""


def is_local(address: BindAddress) -> bool:
    """Whether only this machine reaches it."""
    if not isinstance(address, TCP):
        return isinstance(address, Unix)
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host.lower() == "localhost"


def _network_text(value: object) -> str:
    text = str(value)
    try:
        return text if text == UNIX_PEERS else str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write 192.0.2.1, 10.0.0.0/8, 2001:db8::/64 or unix") from None


def _address_text(value: object) -> str:
    parse_address(value)
    return str(value)


def _more_than_nothing(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    def parsed(value: object) -> Any:
        if not (found := parse(value)):
            raise ValueError("must be more than 0")
        return found

    return parsed


_HOST = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}")


def _host_text(text: str) -> str:
    if text and not _HOST.fullmatch(text):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a host; write mail.example.org or an address, without a port") from None
    return text


_ROOT_PATH = re.compile(r"(?:/[\w\-.~!$&'()*+,;=:@]+)+", re.ASCII)


def _root_path_text(text: str) -> str:
    if text and not _ROOT_PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not a path such as /app: a slash before each segment, none at the end")
    return text


def _field_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} cannot be the value of a header field")
    return text


@dataclass(frozen=True)
class Unit:
    """How a setting is written: its parser and its JSON Schema, which pydantic finds in ``Annotated``."""

    parse: Callable[[Any], Any]
    schema: dict[str, Any] = field(hash=False)  # hashable, for `Seconds | None`

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {
            "type": "function-plain",
            "function": {"type": "no-info", "function": self.parse},
            "serialization": {"type": "to-string", "when_used": "json"},
        }

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return dict(self.schema)


@dataclass(frozen=True)
class TextUnit(Unit):
    """A unit whose values are never numbers: ``1.10`` is text."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": self.parse},
            "schema": {"type": "str"},
        }


@dataclass(frozen=True)
class Between:
    """The smallest and the largest value of an integer, which pydantic finds as it finds a :class:`Unit`."""

    least: int
    greatest: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        most = {} if self.greatest is None else {"le": self.greatest}
        return {"type": "int", "ge": self.least, **most}


Count = Annotated[int, Between(1)]
Bound = Annotated[int, Between(0)]
"""A count for which 0 means no limit, or none."""
Port = Annotated[int, Between(1, LAST_PORT)]

_DURATION: dict[str, Any] = {"type": ["number", "string"], "minimum": 0, "examples": ["500ms", "10s", "5m"]}
_SIZE: dict[str, Any] = {"type": ["integer", "string"], "minimum": 0, "examples": ["64KiB", "10MiB"]}
_POSITIVE = {"exclusiveMinimum": 0}
Seconds = Annotated[float, Unit(parse_duration, _DURATION)]
Timeout = Annotated[float, Unit(_more_than_nothing(parse_duration), _DURATION | _POSITIVE)]
Bytes = Annotated[int, Unit(parse_size, _SIZE)]
Length = Annotated[int, Unit(_more_than_nothing(parse_size), _SIZE | _POSITIVE)]
Host = Annotated[str, TextUnit(_host_text, {"type": "string"})]
RootPath = Annotated[str, TextUnit(_root_path_text, {"type": "string"})]
FieldValue = Annotated[str, TextUnit(_field_text, {"type": "string"})]
_ADDRESSES = ["127.0.0.1:8000", "[::1]:8000", "unix:/run/g.sock", "fd:3"]
Address = Annotated[str, Unit(_address_text, {"type": "string", "examples": _ADDRESSES})]
_NETWORKS = ["192.0.2.1", "10.0.0.0/8", "2001:db8::/64", "unix"]
Network = Annotated[str, Unit(_network_text, {"type": "string", "examples": _NETWORKS})]


def _before(function: Callable[[Any], Any], schema: Any) -> dict[str, Any]:
    return {"type": "function-before", "function": {"type": "no-info", "function": function}, "schema": schema}


@dataclass(frozen=True)
class OneOrMore:
    """A list, for which its only member may be written."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        def members(value: Any) -> Any:
            """Return a tuple, which pydantic wants here: it is strict."""
            return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, dict) else value

        return _before(members, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


@dataclass(frozen=True)
class TextFor:
    """Settings for which a text alone may be written, in place of a mapping with one key."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        def mapping(value: Any) -> Any:
            return {self.key: value} if isinstance(value, str) else value

        return _before(mapping, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}
