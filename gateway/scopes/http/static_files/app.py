"""The ASGI application that answers with the files of a folder."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar
from urllib.parse import quote

from gateway.routing.patterns import Regex
from gateway.scopes.http.static_files.answer import Answer, Representation, short
from gateway.scopes.http.static_files.conditions import Fields
from gateway.scopes.http.static_files.folder import Folder
from gateway.scopes.http.static_files.media_type import media_type
from gateway.scopes.http.static_files.open_file import OpenFile
from gateway.scopes.http.static_files.paths import names_of, rest_of
from protocols.asgi import HTTPScope, Receive, Send, describe
from protocols.errors import describe_error
from protocols.http.compression.coding import IDENTITY, SUFFIXES, preferred

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

CACHE_CONTROL = "public, max-age=60"
IMMUTABLE = r"[.-](?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,64}\."
"""Names with a hash: eight or more hexadecimal digits before the ending, not only decimal ones, as a date has."""
A_YEAR = "public, max-age=31536000, immutable"

_INDEX = "index.html"
_THREADS = 8
_ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO))


class WrongArgument(ValueError):
    """A setting, ``argument``, has a value that it cannot have."""

    def __init__(self, argument: str, sentence: str) -> None:
        super().__init__(sentence)
        self.argument = argument


class StaticFiles:
    """Answers GET and HEAD in http scopes with the files below a folder."""

    is_static: ClassVar[bool] = True
    """Whether a path that is taken here need not exist."""

    def __init__(
        self, folder: str | Path, *, cache_control: str = CACHE_CONTROL, immutable: str = IMMUTABLE, name: str = ""
    ) -> None:
        """``cache_control``: the field of that name. ``immutable``: a regular expression for the paths, below the
        folder, of files that never change; they may be kept for a year, unless ``cache_control`` has ``private`` or
        ``no-store``. ``name``: the folder's name, for people. Raises WrongArgument, a ValueError.
        """
        called = name or str(folder)
        self.target_name = f"files {called}"
        self._folder = Folder(_existing(Path(folder), called))
        self._cache_control = _field_value(cache_control)
        self._kept = cache_control if _is_restricted(cache_control) else A_YEAR
        self._immutable = _expression(immutable)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Raises LookupError for a scope that is not http."""
        if scope["type"] != "http":
            raise LookupError(f"static files are for http, not for {scope['type']}")
        answer = await _on_thread(self._answer, scope)
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await _send_body(answer if scope["method"] != "HEAD" else Answer(answer.status, []), send)
        finally:
            answer.close()

    def _answer(self, scope: HTTPScope) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return short(405, (b"allow", b"GET, HEAD"))
        path = rest_of(scope)
        names = names_of(path)
        if names is None:
            return short(404)
        try:
            return self._found(scope, names).prefetch()
        except UnicodeError:  # no name on this system has such characters
            return short(404)
        except PermissionError as error:
            logger.warning("%s: the file cannot be read: %s", describe(scope), describe_error(error))
            return short(403)
        except OSError as error:
            if error.errno in _ABSENT or isinstance(error, (FileNotFoundError, IsADirectoryError)):
                return short(404)
            logger.error("%s: the file cannot be read: %s", describe(scope), describe_error(error))
            return short(503, (b"retry-after", b"5"))

    def _found(self, scope: HTTPScope, names: Sequence[str]) -> Answer:
        """Return the answer for a file, or for a folder, whose path ends with a slash. Raises OSError."""
        *above, last = names
        if not last and scope["path"].endswith("/"):
            return self._of_file(scope, [*above, _INDEX])
        try:
            return self._of_file(scope, names)
        except IsADirectoryError:
            return _to_folder(scope) if self._folder.has([*names, _INDEX]) else short(404)

    def _of_file(self, scope: HTTPScope, names: Sequence[str]) -> Answer:
        fields = _fields(scope)
        plain = self._folder.open(names)
        siblings = [coding for coding, suffix in SUFFIXES.items() if self._folder.has(_with(names, suffix))]
        chosen = preferred(fields.get("accept-encoding", ""), siblings) if siblings else IDENTITY
        file = self._sibling(names, chosen, plain) if chosen != IDENTITY else plain
        represented = Representation(
            file,
            media_type(names[-1]),
            self._caching("/".join(names)),
            chosen if file is not plain else IDENTITY,
            varies=bool(siblings),
        )
        return represented.answer(scope["method"], fields)

    def _sibling(self, names: Sequence[str], coding: str, plain: OpenFile) -> OpenFile:
        """Return the compressed sibling; ``plain`` if that was changed later, or if the sibling cannot be opened."""
        try:
            sibling = self._folder.open(_with(names, SUFFIXES[coding]))
        except OSError:
            return plain
        if sibling.modified_ns < plain.modified_ns:
            sibling.close()
            return plain
        plain.close()
        return sibling

    def _caching(self, path: str) -> str:
        return self._kept if self._immutable.match(path) is not None else self._cache_control


def _existing(folder: Path, called: str) -> Path:
    if not folder.is_dir():
        raise WrongArgument("files", f"there is no folder {called!r}")
    return folder.absolute()


def _field_value(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise WrongArgument("cache_control", f"{text!r} cannot be the value of a header field")
    return text


def _expression(text: str) -> Regex:
    try:
        return Regex(text)
    except ValueError as error:
        raise WrongArgument("immutable", str(error)) from error


def _is_restricted(cache_control: str) -> bool:
    directives = {each.strip().lower() for each in cache_control.split(",")}
    return not directives.isdisjoint(("private", "no-store"))


def _with(names: Sequence[str], suffix: str) -> list[str]:
    return [*names[:-1], names[-1] + suffix]


def _fields(scope: HTTPScope) -> Fields:
    """Return the request's header fields; those that come several times are lists."""
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def _to_folder(scope: HTTPScope) -> Answer:
    """Redirect to the path with a slash. The reference is relative, as a proxy may have taken away what is before."""
    name = quote(os.fsencode(scope["path"].rpartition("/")[2]))
    query = b"?" + scope["query_string"] if scope.get("query_string") else b""
    return short(301, (b"location", f"./{name}/".encode() + query))


async def _send_body(answer: Answer, send: Send) -> None:
    """Send the body piece by piece. If the file has become shorter, the body is, too: the server then cuts the
    connection, so that no client takes it for complete."""
    left = answer.length
    if not left:
        await send({"type": "http.response.body"})
    for piece in answer.pieces():
        data = piece if isinstance(piece, bytes) else await _on_thread(answer.read, piece)
        left = left - len(piece) if len(data) == len(piece) else 0
        await send({"type": "http.response.body", "body": data, "more_body": left > 0})
        if not left:
            return


async def _on_thread(function: Callable[[T], R], argument: T) -> R:
    return await asyncio.get_running_loop().run_in_executor(_threads(), function, argument)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return threads of our own: a slow disk holds up no handler, and slow handlers hold up no file."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="static files")
