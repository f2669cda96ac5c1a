"""What ``layer:`` in gateway.yaml names: a layer of ours, Redis, Django's setting, or a target that is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORMS = "memory, ipc, redis://HOST, django, or module.attribute"
"""How a layer is written."""
PORT, SENTINEL_PORT = 6379, 26379
SCHEMES = (*("redis", "rediss", "redis+unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),)
_OPTIONS = ("layer", "prefix", "capacity", "expiry", "group_expiry")
_TLS = ("ca", "certificate", "key")
_SENTINEL = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class Memory:
    """Groups of this process."""


@dataclass(frozen=True)
class Ipc:
    """Groups of the processes of one machine."""

    path: Path | None
    """The socket. None: beside the store, or beside the file."""


@dataclass(frozen=True)
class Django:
    """A layer of the setting ``CHANNEL_LAYERS``."""

    alias: str


@dataclass(frozen=True)
class Imported:
    """``module.attribute``."""

    target: str


@dataclass(frozen=True)
class Redis:
    """Where Redis is, and how groups are kept in it. ``str()`` shows no password."""

    scheme: str
    nodes: tuple[tuple[str, int], ...] = ()
    """Hosts and ports: one, all Sentinels, or some nodes of a cluster."""
    path: str = ""
    """The Unix socket."""
    database: int = 0
    master: str = ""
    """The name under which the Sentinels know the server."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel: Mapping[str, str] = field(default_factory=dict, repr=False)
    """``username`` and ``password`` for the Sentinels themselves."""
    tls: Mapping[str, str] = field(default_factory=dict)
    """``ca``, ``certificate`` and ``key``: paths of PEM files."""
    core: bool = False
    """Whether messages wait in lists in Redis (``core`` of channels_redis), instead of pub/sub."""
    prefix: str = "asgi"
    """What the names in Redis begin with, as in channels_redis."""
    capacity: int = 100
    """Messages that a channel holds."""
    expiry: int = 60
    """Seconds after which an unread message is dropped."""
    group_expiry: int = 86400
    """Seconds after which ``core`` forgets a member that has not joined again."""

    @property
    def is_cluster(self) -> bool:
        return self.scheme.endswith("+cluster")

    def __str__(self) -> str:
        if self.path:
            return f"{self.scheme}://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        place = f"/{self.master}" if self.master else ""
        return f"{self.scheme}://{hosts}{place}{f'/{self.database}' if self.database else ''}"


Address = Memory | Ipc | Django | Imported | Redis


def parse_layer(text: str) -> Address:
    """Return what ``text`` names. Nothing is opened or imported. Raises ValueError, with a sentence without
    passwords."""
    scheme, colon, rest = text.partition(":")
    if text == "memory":
        return Memory()
    if scheme == "ipc" and (rest or not colon):
        return Ipc(Path(rest) if rest else None)
    if scheme == "django" and (rest or not colon):
        return Django(rest or "default")
    if "://" in text:
        return _redis(scheme, text)
    if not set(text) & set(".:") or (colon and not rest):
        raise ValueError(f"{text!r} is not a layer{_near(text)}; write {FORMS}")
    return Imported(text)


def _near(text: str) -> str:
    if text.rstrip(":") == "redis":
        return ": Redis needs a host, such as redis://127.0.0.1:6379"
    near = get_close_matches(text, ("memory", "ipc", "django"), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _redis(scheme: str, text: str) -> Redis:
    if scheme not in SCHEMES:
        near = get_close_matches(scheme, SCHEMES, 1)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(f"{scheme}:// is not a layer{hint}; write {FORMS}")
    try:
        url = urlsplit(text)
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError as error:
        raise ValueError(f"{scheme}://...: the URL cannot be read: {error}") from error
    _check_names(scheme, options)
    login, _, hosts = url.netloc.rpartition("@")
    username, _, password = login.partition(":")
    given: dict[str, Any] = {
        "scheme": scheme,
        "username": unquote(username) or None,
        "password": unquote(password) or None,
        "tls": {name: options[name] for name in _TLS if name in options},
        "sentinel": {name.partition("_")[2]: options[name] for name in _SENTINEL if name in options},
        **_place(scheme, url, hosts),
        **_kept(options),
    }
    made = Redis(**given)
    if made.is_cluster and made.core:
        raise ValueError(
            "layer=core cannot use a Redis Cluster: one call needs keys of several nodes there; take layer=core away "
            "(pub/sub works on a cluster), or write redis+sentinel://"
        )
    if made.is_cluster and made.database:
        raise ValueError(f"a Redis Cluster has one database, 0, and not {made.database}")
    return made


def _check_names(scheme: str, options: Mapping[str, str]) -> None:
    known = [*_OPTIONS, *(_TLS if scheme.startswith("rediss") else ())]
    known += _SENTINEL if scheme.endswith("sentinel") else ()
    known += ("db",) if scheme == "redis+unix" else ()
    for name in options:
        if name in _TLS and name not in known:
            raise ValueError(f"{name}= is for TLS; write rediss://")
        if name not in known:
            raise ValueError(f"{name}= is not an option of {scheme}://; it takes {', '.join(known)}")
    if ("certificate" in options) != ("key" in options):
        raise ValueError("certificate= and key= belong together; write both")


def _place(scheme: str, url: SplitResult, hosts: str) -> dict[str, Any]:
    """Return where the server is, as fields of :class:`Redis`."""
    if scheme == "redis+unix":
        if hosts or not url.path.strip("/"):
            raise ValueError("redis+unix:// needs an absolute path, such as redis+unix:///run/redis/redis.sock")
        database = dict(parse_qsl(url.query)).get("db", "0")
        return {"path": unquote(url.path), "database": _number("db", database, 0)}
    several = scheme.endswith(("sentinel", "cluster"))
    nodes = tuple(_node(scheme, host) for host in hosts.split(","))
    if len(nodes) > 1 and not several:
        raise ValueError(f"{scheme}:// has one host; for several write {scheme}+sentinel:// or {scheme}+cluster://")
    parts = [unquote(part) for part in url.path.split("/") if part]
    master = parts.pop(0) if scheme.endswith("sentinel") and parts else ""
    if scheme.endswith("sentinel") and not master:
        raise ValueError(
            f"{scheme}:// needs the name of the master after the Sentinels: {scheme}://HOST:26379/mymaster"
        )
    if len(parts) > 1:
        raise ValueError(f"the path of {scheme}:// is the number of a database, and not {'/'.join(parts)!r}")
    return {"nodes": nodes, "master": master, "database": _number("the database", parts[0], 0) if parts else 0}


def _node(scheme: str, text: str) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{text}")
        host, port = split.hostname, split.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not HOST or HOST:PORT: {error}") from error
    if not host or port == 0:
        example = "127.0.0.1:26379/mymaster" if scheme.endswith("sentinel") else "127.0.0.1:6379"
        raise ValueError(f"{scheme}:// needs a host, such as {scheme}://{example}")
    return host, port or (SENTINEL_PORT if scheme.endswith("sentinel") else PORT)


def _kept(options: Mapping[str, str]) -> dict[str, Any]:
    """Return how messages are kept, as fields of :class:`Redis`."""
    kept: dict[str, Any] = {"core": _choice(options.get("layer", "pubsub"))}
    if "prefix" in options:
        if not options["prefix"]:
            raise ValueError("prefix= must not be empty")
        kept["prefix"] = options["prefix"]
    for name in ("capacity", "expiry", "group_expiry"):
        if name in options:
            kept[name] = _number(f"{name}=", options[name], 1)
    return kept


def _choice(layer: str) -> bool:
    if layer not in ("core", "pubsub"):
        raise ValueError(f"layer={layer} is not one of channels_redis; write layer=pubsub or layer=core")
    return layer == "core"


def _number(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text) < 2**31:
        raise ValueError(f"{name} must be a whole number, {least} or more, and not {text!r}")
    return int(text)
