"""Reads gateway.yaml as settings, and reports every mistake at its file:line:column.

A file with mistakes is read as far as possible: :class:`ParsedConfig` has the settings without the wrong parts. So the
later checks (imports, patterns, addresses) report their mistakes in the same run.
"""

import codecs
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config import yaml_file
from gateway.config.diagnostics import MOST, ConfigErrors, Diagnostic, nearest, suggestion
from gateway.config.document import Document, Loc, label
from gateway.config.settings import NAME_RULE, Settings
from gateway.config.unknown import unknown
from gateway.config.validation import ValidationError, validated
from gateway.config_file import looked_at
from gateway.delivery.policy import Policy
from gateway.garbage_collection import uncollected
from gateway.scopes.installed import KINDS, SERVERS
from protocols.http.settings import HTTPSettings
from protocols.lazy_names import imported
from protocols.units import LAST_PORT

if TYPE_CHECKING:
    from gateway.config.schema import Keys


@dataclass(frozen=True)
class ParsedConfig:
    """A file that was read: the settings without the parts that are wrong, and what is wrong with those."""

    settings: Settings
    document: Document
    diagnostics: list[Diagnostic]
    removed: set[Loc]
    """The parts that are wrong."""

    @property
    def folder(self) -> Path:
        """The folder from which targets are imported."""
        return (self.document.folder / self.settings.path).resolve()

    @property
    def names_store(self) -> bool:
        """Whether the file has the key ``store``: then there is one, whatever the routes are."""
        return isinstance(self.document.data, dict) and "store" in self.document.data

    def items(self, *loc: str | int) -> list[Loc]:
        """The places of the items of the list at ``loc`` in the file. Items that are wrong are left out."""
        return [*_kept_items(self.document.data, loc, self.removed)]

    def spoiled(self, *loc: str | int) -> bool:
        """Return whether ``settings`` lacks ``loc``, or a part of it, because that is wrong."""
        return loc in self._around or any(loc[:length] in self.removed for length in range(len(loc)))

    @cached_property
    def _around(self) -> Set[Loc]:
        return _around(self.removed)

    def finish(self, more: Iterable[Diagnostic] = ()) -> Settings:
        """Return the settings. Raises ConfigErrors if there are diagnostics, in ``more`` or from reading."""
        if diagnostics := [*self.diagnostics, *more]:
            raise ConfigErrors(diagnostics)
        return self.settings


def load(
    file: str | os.PathLike[str], environ: Mapping[str, str] | None = None, *, name: str | None = None
) -> ParsedConfig:
    """Read a file, which messages call ``name``. Raises ConfigErrors if nothing of it can be used."""
    path, name = Path(file), str(file) if name is None else name
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigErrors([_not_text(name, error)]) from error
    except (OSError, ValueError) as error:
        raise ConfigErrors([Diagnostic(name, 1, 1, _unreadable(error))]) from error
    return parse(text, name=name, folder=path.resolve().parent, environ=environ)


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no such file; looked at in this order: -c FILE, {looked_at()}; `gateway init` makes one"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"


def _not_text(name: str, error: UnicodeDecodeError) -> Diagnostic:
    if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Diagnostic(name, 1, 1, "the file is UTF-16; save it as UTF-8")
    before = error.object[: error.start].decode("utf-8-sig").split("\n")
    what = f"the file is not UTF-8 text here (byte 0x{error.object[error.start]:02x}); save it as UTF-8"
    return Diagnostic(name, len(before), len(before[-1]) + 1, what)


def parse(text: str, *, name: str, folder: Path, environ: Mapping[str, str] | None = None) -> ParsedConfig:
    """Read ``text``; messages call it ``name``, relative paths start in ``folder``. Raises ConfigErrors."""
    with uncollected():
        document = yaml_file.read(text, name=name, folder=folder, environ=os.environ if environ is None else environ)
        return _Validation(document).parsed()


class _Validation:
    """Validates, takes out what is wrong, and validates the rest until it is right."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._removed = set(document.unset)
        self._kept: dict[Loc, list[Loc]] = {}
        self._as_text: set[Loc] = set()
        self._as_number: dict[Loc, Any] = {}
        self._misspelt: set[Loc] = set()
        self._reported: set[tuple[int, int, str, str]] = set()
        self._diagnostics = [document.diagnostic(span, message) for span, message in document.problems[:MOST]]

    @cached_property  # only mistakes need it
    def _keys(self) -> "Keys":
        keys: Keys = imported("gateway.config.schema:Keys")()
        return keys

    def parsed(self) -> ParsedConfig:
        """Validate until nothing is wrong. Each round removes something or turns a number into text, so this ends."""
        if () in self._removed:
            raise ConfigErrors(self._diagnostics)
        if not isinstance(self._document.data, dict):
            raise ConfigErrors(
                [*self._diagnostics, self._document.at_value((), "the file must be a mapping, key: value")]
            )
        while True:
            try:
                settings = self._settings()
            except ValidationError as error:
                self._correct(error.errors(include_url=False))
            else:
                return ParsedConfig(settings, self._document, self._diagnostics, self._removed | self._misspelt)

    def _settings(self) -> Settings:
        """Validate what is left. If ``servers`` has been removed altogether, the rest is checked all the same."""
        rest = self._rest(self._document.data, ())
        if ("servers",) not in self._removed:
            return validated(rest)
        return dataclasses.replace(validated(rest | _SOME_SERVERS), servers={})

    def _rest(self, value: Any, loc: Loc) -> Any:
        """Return ``value`` without the parts that have been removed."""
        if isinstance(value, dict):
            places = [(key, (*loc, key)) for key in value]
            return {key: self._rest(value[key], place) for key, place in places if place not in self._removed}
        if isinstance(value, list):
            places = [(index, (*loc, index)) for index in range(len(value))]
            return [self._rest(value[index], place) for index, place in places if place not in self._removed]
        return self._document.texts[loc] if loc in self._as_text else self._as_number.get(loc, value)

    def _correct(self, errors: list[Any]) -> None:
        """Report what is wrong and take it out. Before that, replace each number by its text as it was written, where
        text is wanted, and each ``"${NAME}"`` by its number, where that is wanted."""
        self._kept.clear()
        mistakes = [_Mistake(item, *self._place(item["loc"])) for item in errors]
        texts = {mistake.loc for mistake in mistakes if mistake.kind == "string_type"} & self._document.texts.keys()
        numbers = dict(self._numbers(mistakes))
        if texts or numbers:
            self._as_text |= texts
            self._as_number |= numbers
            return
        for mistake in mistakes:
            if mistake.kind == "unexpected_keyword_argument" and (meant := self._meant(mistake)):
                self._misspelt.add((*mistake.loc[:-1], meant))
        removed = _around(self._removed)
        for mistake in mistakes:
            if not self._is_consequence(mistake, removed):
                self._report(mistake)
        self._removed |= {mistake.loc or (mistake.key,) for mistake in mistakes}

    def _numbers(self, mistakes: Iterable["_Mistake"]) -> Iterator[tuple[Loc, bool | float]]:
        """Find values with a reference in quotes that are the number, or the yes or no, that is wanted."""
        for mistake in mistakes:
            if mistake.kind in ("int_type", "float_type", "bool_type") and mistake.loc in self._document.references:
                value = yaml_file.plain_value(str(self._mapping(mistake.loc)))
                if isinstance(value, bool | int | float) and mistake.loc not in self._as_number:
                    yield mistake.loc, value

    def _report(self, mistake: "_Mistake") -> None:
        """Report each mistake once, although a value can stand for several (an alias), or can be of several types (a
        union)."""
        if len(self._diagnostics) >= MOST:
            return
        diagnostic = self._diagnostic(mistake)
        kind = "type" if mistake.kind.endswith("_type") else mistake.kind
        what = (diagnostic.line, diagnostic.column, kind, mistake.key)
        if what not in self._reported:
            self._reported.add(what)
            self._diagnostics.append(diagnostic)

    def _place(self, path: tuple[str | int, ...]) -> tuple[Loc, str]:
        """Translate pydantic's ``path`` to a place in the file, without the names of unions, and the key that is not
        there."""
        loc: Loc = ()
        value, absent = self._document.data, ""
        for step in path:
            absent = ""
            if isinstance(value, list) and isinstance(step, int):
                if loc not in self._kept:
                    self._kept[loc] = _kept_items(self._document.data, loc, self._removed)
                loc = self._kept[loc][step]
            elif isinstance(value, dict) and (*loc, step) not in self._removed and step in value:
                loc = (*loc, step)
            else:
                absent = str(step)
                continue
            value = value[loc[-1]]
        return loc, absent

    def _is_consequence(self, mistake: "_Mistake", removed: Set[Loc]) -> bool:
        """Return whether another mistake caused this one: something was removed, or a key is misspelt. ``removed``: the
        parts from which something was removed."""
        if mistake.kind == "unexpected_keyword_argument":
            return False
        if mistake.key:
            missing = (*mistake.loc, mistake.key)
            return missing in self._removed or missing in self._misspelt
        return mistake.loc in removed

    def _mapping(self, loc: Loc) -> Any:
        data = self._document.data
        for step in loc:
            data = data[step]
        return data

    def _meant(self, mistake: "_Mistake") -> str | None:
        """Return the key that an unknown one probably means: it is spelt like it, or is another word for it."""
        word, known = str(mistake.loc[-1]), self._keys.at(self._document.data, mistake.loc[:-1])
        if self._is_pattern(mistake.loc):
            return "app"
        if mistake.loc[:-1] == ("routes",) and (kind := _kind_called(word)):
            return kind
        unused = (
            key
            for key in _SYNONYMS.get(word, ())
            if key in known and (*mistake.loc[:-1], key) not in self._document.keys
        )
        return next(unused, None) or nearest(word, known)

    def _other_word_for(self, loc: Loc, key: str) -> str | None:
        """Return the key in the mapping at ``loc`` that is written for ``key``."""
        words = self._mapping(loc)
        return next((word for word in words if key in _SYNONYMS.get(word, ()) or nearest(word, [key])), None)

    def _is_pattern(self, loc: Loc) -> bool:
        """Return whether the key at ``loc`` is a pattern, to which the file gives a target."""
        return (
            loc[0] == "routes"
            and len(loc) == _OF_A_KIND + 1
            and "app" not in self._mapping(loc[:-1])
            and isinstance(self._mapping(loc), str)
        )

    def _address(self, loc: Loc, known: Set[str]) -> str:
        """Return what to write instead of a key such as ``port``, where one key has the whole address."""
        if loc[-1] not in _PARTS_OF_ADDRESSES:
            return ""
        protocol = self._mapping(loc[:-1]).get("protocol")
        host = self._as_written((*loc[:-1], "host"))
        port = self._as_written((*loc[:-1], "port"))
        if "bind" in known:
            usual_host, _, usual_port = _usual_bind(protocol).rpartition(":")
            return f"; write bind: {host or usual_host}:{port or usual_port}"
        if "url" in known:
            scheme = str(protocol).partition("-")[0] if protocol else "smtp"  # as for submission, which has no protocol
            return f"; write url: {scheme}://{host or 'server.example.org'}{f':{port}' if port else ''}"
        if "on" in known:
            return "; it has no address of its own: the http server that on: names carries it"
        if "servers" in known:
            return "; write it at a server: web: {protocol: http, bind: 127.0.0.1:8000}"
        return ""

    def _as_written(self, loc: Loc) -> str:
        """Return a number or text of the file, with its references; empty if there is none."""
        document = self._document
        if loc in document.secrets or loc not in document.values:
            return ""
        value = self._mapping(loc)
        return next(
            iter(document.references.get(loc, [document.texts.get(loc, value if isinstance(value, str) else "")]))
        )

    def _diagnostic(self, mistake: "_Mistake") -> Diagnostic:
        loc, key = mistake.loc, mistake.key
        if mistake.kind == "unexpected_keyword_argument":
            meant = self._meant(mistake)
            known = self._keys.at(self._document.data, loc[:-1])
            unused = [key for key in known if (*loc[:-1], key) not in self._document.keys]
            hint_of = unknown if loc[:-1] == ("routes",) else suggestion
            if not nearest(str(loc[-1]), unused):
                unused = [key for key in unused if key not in _excluded(loc, self._mapping(loc[:-1]))]
            hint = hint_of(str(loc[-1]), [meant] if meant else unused, otherwise="it takes")
            if self._is_pattern(loc):
                key = KINDS[str(loc[1])].keys[0]
                hint = f"; write a list of routes: [{{{key}: {_written(loc[-1])}, app: {self._mapping(loc)}}}]"
            elif meant:
                hint = f"; did you mean {meant!r}?"
            hint = _elsewhere(loc, self._mapping(loc[:-1])) or _of_a_policy(loc) or self._address(loc, known) or hint
            return self._document.at_key(loc, f"unknown key {loc[-1]!r} in {label(loc[:-1])}{hint}")
        if mistake.kind == "union_tag_invalid":
            hint_of = unknown if key == "protocol" else suggestion
            hint = hint_of(mistake.context["tag"], mistake.known_tags, otherwise="it is one of")
            if key == "protocol" and (instead := _instead_of(mistake.context["tag"])):
                hint = f"; write protocol: {instead}"
            message = f"unknown {key} {mistake.context['tag']!r} in {label(loc)}{hint}"
            return self._document.at_value((*loc, key), message)
        if mistake.kind == "union_tag_not_found" and (word := self._other_word_for(loc, key)):
            return self._document.at_key((*loc, word), f"unknown key {word!r} in {label(loc)}; did you mean {key!r}?")
        if mistake.kind in ("missing", "union_tag_not_found"):
            return self._document.at_key(loc, f"{label(loc)} needs {key!r}")
        if key == "[key]":
            return self._document.at_key(loc, f"{loc[-1]!r} is not a name: {NAME_RULE}")
        sentence = self._sentence(mistake)
        return self._document.at_part(loc, self._place_of(loc, sentence), f"{label(loc)}: {sentence}")

    def _place_of(self, loc: Loc, sentence: str) -> Loc:
        """Return the place that a sentence about settings is about, if it begins with one of their keys: that of the
        item that it quotes, if there is a list."""
        place = (*loc, _FIRST_WORD.match(sentence)[0])  # type: ignore[index]  # it matches nothing, too
        if place not in self._document.keys:
            return loc
        value = self._mapping(place)
        items = [index for index, item in enumerate(value) if repr(item) in sentence] if isinstance(value, list) else []
        return (*place, *items[:1])

    def _sentence(self, mistake: "_Mistake") -> str:
        loc = mistake.loc
        if mistake.kind == "string_type" and loc[-2:-1] == (_USERS,):
            return f"write {_a_user(str(loc[-1]))}"
        sentence = mistake.sentence(show_value=loc not in self._document.secrets)
        if mistake.kind in ("dataclass_type", "dict_type"):
            return sentence.replace("key: value", self._example_of(loc))
        if mistake.kind == "bool_type" and (settings := self._keys.at(self._document.data, loc)):
            return sentence.replace("true or false", f"true, false or a mapping with {', '.join(sorted(settings))}", 1)
        return sentence

    def _example_of(self, loc: Loc) -> str:
        """Return how a mapping at ``loc`` begins."""
        if example := _EXAMPLES.get(str(loc[-1])):
            return f"such as {example}"
        keys = self._keys.required(self._document.data, loc)
        return f"such as {{{', '.join(f'{key}: ...' for key in keys)}}}" if keys else "key: value"


_SOME_SERVERS = {"servers": {"any": {"protocol": HTTPSettings().protocol}}}

_ROUTES_OWN = {
    "app": "write it under routes:, beside servers:",
    "routes": "write it beside servers:, not within a server",
    "attempts": "write it on the route: {app: ..., attempts: 5}",
    "backoff": "write it on the route: {app: ..., attempts: 5, backoff: 1m}",
    "on_failure": "write on_failed, and attempts: 5 on the route; what fails so often is a dead letter",
    "origins": "write it on a route of routes.websocket: {path: ..., app: ..., origins: [...]}",
    "etag": "write it on the route: {path: ..., app: ..., etag: true}",
    "files": 'write it on a route of routes.http: {path: "^static/", files: ...}',
    "idempotency": "write it on the route: {path: ..., app: ..., idempotency: true}",
    "workers": "write it beside servers:, not within a server",
    "shutdown_timeout": "write it beside servers:, not within a server",
    "graceful_timeout": "write shutdown_timeout beside servers:, not within a server",
    "timeout_graceful_shutdown": "write shutdown_timeout beside servers:, not within a server",
}
"""Keys that people write at a server, though they belong to a route or beside the servers."""


_FIRST_WORD = re.compile(r"\w*")
_PARTS_OF_ADDRESSES = ("address", "host", "ip", "listen", "port")
"""Keys that people write for an address that one key has as a whole."""
_OF_A_KIND = 2
"""The length of the place of a scope type's routes: ``("routes", "mqtt")``."""


_SYNONYMS = {
    word: keys
    for words, keys in (
        (("type", "proto"), ("protocol",)),
        (("class", "consumer", "function", "handler", "target", "view"), ("app",)),
        (("expression", "pattern", "regex", "route"), ("path", "topic", "recipient")),
        (("url",), ("path", "host", "topic", "recipient")),
        (("filter",), ("topic",)),
        (("rcpt", "rcpt_to"), ("address",)),
        (("to",), ("address", "app")),
        (("country", "from", "mail_from", "number", "phone", "prefix"), ("sender",)),
        (("max_attempts", "max_retries", "retries", "tries"), ("attempts",)),
        (("delay", "retry_delay"), ("backoff",)),
        (("login", "user"), ("username",)),
        (("pass", "passwd", "pwd"), ("password",)),
        (("cert", "certfile", "crt", "ssl_certificate", "ssl_certfile"), ("certificate", "tls")),
        (("keyfile", "private_key", "ssl_key", "ssl_keyfile", "ssl_certificate_key"), ("key", "tls")),
        (("ssl",), ("tls",)),
        (("forwarded_allow_ips", "proxy_headers", "set_real_ip_from"), ("trusted_proxies",)),
        (("backpressure", "limit_concurrency"), ("max_concurrent_requests",)),
        (("limit_req", "rate", "rate_limit"), ("max_request_rate",)),
        (("limit_conn",), ("max_per_address",)),
        (("keep_alive", "keepalive", "timeout_keep_alive"), ("keepalive_timeout",)),
        (("client_header_timeout",), ("head_timeout",)),
        (("client_body_timeout",), ("body_timeout",)),
        (("http_timeout", "request_timeout"), ("handler_timeout",)),
        (("client_max_body_size", "max_content_length"), ("max_body",)),
        (("websocket_max_message_size", "websocket_max_size", "ws_max_size"), ("max_message",)),
        (("ws_ping_interval",), ("ping_interval",)),
        (("ws_ping_timeout",), ("ping_timeout",)),
        (("permessage_deflate", "ws_per_message_deflate"), ("compression",)),
        (("brotli", "gzip", "zstd"), ("compress",)),
        (("allowed_origins", "cors", "origin"), ("origins",)),
        (("application_close_timeout",), ("disconnect_grace",)),
        (("graceful_timeout", "timeout_graceful_shutdown"), ("shutdown_timeout",)),
        (("database", "db"), ("store",)),
        (("channel_layer",), ("layer",)),
        (("handlers", "urls"), ("routes",)),
        (("listeners",), ("servers",)),
        (_PARTS_OF_ADDRESSES, ("bind", "url")),
    )
    for word in words
}
"""Other words for keys, which are spelt otherwise: which keys they mean, where those are known."""


def _kind_called(word: str) -> str | None:
    """Return the scope type that people call ``word``: by a protocol of its servers, or by another word for it."""
    return next((kind.name for kind in KINDS.values() if word in (*kind.protocols, *kind.aliases)), None)


def _instead_of(protocol: str) -> str:
    """Return what to write instead of a word that people take for a protocol."""
    return next((kind.not_protocols[protocol] for kind in KINDS.values() if protocol in kind.not_protocols), "")


def _usual_bind(protocol: object) -> str:
    kind = SERVERS.get(str(protocol))
    return str(getattr(kind and kind.settings, "bind", "127.0.0.1:8000"))


_CONSOLE = (("proxies", "trusted_proxies"),)
"""Keys of the console that had another name: the old name and the new one."""


def _elsewhere(loc: Loc, server: Any) -> str:
    """Return what to write instead of the unknown key at ``loc``, in ``server`` or another mapping."""
    is_of_a_server, key = loc[0] == "servers" and len(loc) == 3, str(loc[-1])
    kind = SERVERS.get(str(server.get("protocol"))) if is_of_a_server else None
    renamed = _CONSOLE if loc[:-1] == ("console",) else kind.renamed if kind is not None else ()
    if new := dict(renamed).get(key):
        return f"; it is called {new!r} now"
    if not is_of_a_server:
        return ""
    return f"; {_ROUTES_OWN[key]}" if key in _ROUTES_OWN else ""


def _excluded(loc: Loc, given: Any) -> set[str]:
    """Return the keys that the route at ``loc[:-1]`` does not have beside those that are ``given``."""
    kind = KINDS.get(str(loc[1])) if loc[0] == "routes" and len(loc) > _OF_A_KIND else None
    return set() if kind is None else {each for key in given for each in kind.excludes.get(key, ())}


def _of_a_policy(loc: Loc) -> str:
    """Return why the route at ``loc[:-1]`` does not have the key, if it is one of a policy and the scope type has
    none."""
    kind = KINDS.get(str(loc[1])) if loc[0] == "routes" and len(loc) > _OF_A_KIND else None
    key = str(loc[-1])
    if kind is None or kind.delivery is not None or not _POLICY & {key, *_SYNONYMS.get(key, ())}:
        return ""
    return "; leave it out: nothing is stored or tried again here, because the client waits and gets the failure itself"


_POLICY = {each.name for each in fields(Policy)}
_USERS = "users"


def _a_user(name: str) -> str:
    """Return how the file writes a user."""
    return f'{name}: "$argon2id$...", with the hash that `gateway password` makes'


_EXAMPLES = {
    "servers": "web: {protocol: http}",
    _USERS: _a_user("ann"),
    "verify": "{scheme: github, secret: ...}",
}
"""How a mapping begins whose required keys do not show it, by its key."""
_WANTED = {
    "bool_type": "must be true or false",
    "dataclass_type": "must be a mapping, key: value",
    "dict_type": "must be a mapping, key: value",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


class _Mistake:
    """One of pydantic's errors, with its place in the file."""

    def __init__(self, item: Mapping[str, Any], loc: Loc, absent: str) -> None:
        self.kind: str = item["type"]
        self.loc = loc
        self.context: Mapping[str, Any] = item.get("ctx", {})
        self._value = item["input"]
        self._text: str = item["msg"]
        self.key = absent if self.kind == "missing" or absent == "[key]" else ""
        """The key that it is about, if that is not the last of ``loc``."""
        if self.kind.startswith("union_tag"):
            self.key = str(self.context["discriminator"]).strip("'")

    @property
    def known_tags(self) -> list[str]:
        return [tag.strip(" '") for tag in self.context["expected_tags"].split(",")]

    def sentence(self, *, show_value: bool) -> str:
        if self.kind == "value_error":
            return "must not be empty" if self._value is None else str(self.context["error"])
        wanted = self._wanted
        if not show_value or isinstance(self._value, dict | list) or wanted == "must not be empty":
            return wanted
        if self.context.get("le") == LAST_PORT:
            return f"ports end at {LAST_PORT}, and {self._value} is more"
        return f"{wanted}, not {_written(self._value)}"

    @property
    def _wanted(self) -> str:
        match self.kind:
            case "literal_error":
                expected = str(self.context["expected"])
                if repr(small := str(self._value).lower()) in expected:
                    return f"must be {small!r}"
                return f"must be {expected.replace('True', 'true').replace('False', 'false')}"
            case "greater_than_equal":
                return f"must be {self.context['ge']} or more"
            case "less_than_equal":
                return f"must be {self.context['le']} or less"
        return _WANTED.get(self.kind, self._text.replace("Input should", "must"))


def _written(value: object) -> str:
    if value is None:
        return "empty"
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _around(parts: Iterable[Loc]) -> Set[Loc]:
    """Return ``parts`` and everything that they are part of."""
    return {part[:length] for part in parts for length in range(len(part) + 1)}


def _kept_items(data: Any, loc: Loc, removed: Set[Loc]) -> list[Loc]:
    for step in loc:
        data = data[step]
    return [(*loc, index) for index in range(len(data)) if (*loc, index) not in removed]
