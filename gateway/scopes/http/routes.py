"""The routes of the http and websocket scopes, as gateway.yaml writes them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from gateway.routing.targets import Named
from gateway.scopes.http.idempotency.settings import Idempotent, idempotency_of
from gateway.scopes.http.webhooks.policy import WebhookPolicy
from gateway.scopes.routes import KeyMistake, Target, with_policy
from protocols.asgi import Application
from protocols.http.compression.settings import Compress, compression_of
from protocols.lazy_names import imported
from protocols.setting_forms import Text
from protocols.units import Count


@dataclass(frozen=True, kw_only=True)
class HTTPRoute(WebhookPolicy):
    """A route of the http scope. It has `app` or `files`."""

    __pydantic_config__: ClassVar[Any] = with_policy(WebhookPolicy)

    app: Target | None = None
    """What answers: `module.attribute`, `module:attribute`, or `django`."""
    path: str | None = None
    """A regular expression, searched in the path without its leading slash, as Django does."""
    max_request_rate: Count | None = None
    """Requests a minute, all at once or spread over it, from one client address (IPv6: /64). One more gets 429."""
    files: Annotated[str, Text(least=1)] | None = None
    """A folder. What the path has after the match is the path of a file in it."""
    cache_control: Annotated[str, Text(least=1, most=200)] | None = None
    """`Cache-Control` of `files`. Default: `public, max-age=60`. It is not for those that `immutable` finds, unless it
    has `private` or `no-store`."""
    immutable: Annotated[str, Text(least=1, most=200)] | None = None
    """A regular expression, searched in the path below `files`: such a file never changes, and caches keep it for a
    year. Default: names with a hash, `app.55e7cbb9ba48.css`."""

    compress: Compress | None = None
    """Compress the responses for clients that accept it: `true`, or settings; `false`: leave them as they are. Empty:
    as its server's `compress` says."""
    etag: bool | None = None
    """`true`: give responses that come in one piece and have no `ETag` one of their content, and answer `304` without
    the body to a client that has it already (`If-None-Match`)."""
    idempotency: Idempotent | None = None
    """Handle a request with an `Idempotency-Key` once, and give its repetitions the first answer again, from the store:
    `true`, or settings. [Which repetitions](http.md#idempotency-keys)."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError if they do not go together."""
        super().__post_init__()
        if self.idempotency and self.inbox:
            raise ValueError("idempotency and inbox: true do not go together: the inbox has identity for repetitions")
        if self.idempotency and self.files is not None:
            raise ValueError("idempotency and files do not go together: files are never sent by POST")
        if self.files is not None and self.inbox:
            raise ValueError("files and inbox: true do not go together: files answer at once, and nothing is stored")


RATE: Final = "max_request_rate"
"""The key that any of these routes may have."""
RESPONSES: Final = ("compress", "etag", "idempotency")
"""The keys that change the responses of a route."""
FILES: Final = ("files", "cache_control", "immutable")
"""The keys of a route for files."""
_TO_THE_END = re.compile(r"(?:(?<!\\)(?:\(\?P<\w+>|\()?\.[*+]\??\)?)?(?:(?<!\\)\$|\\Z)?\Z")


def files_of(line: HTTPRoute, folder: Path) -> Named | None:
    """Make the application of a route for files; None: it has a target. Raises KeyMistake."""
    if line.files is None:
        _check_target(line)
        return None
    if line.app is not None:
        raise KeyMistake("files", "app is here as well; write one of them")
    if folder.resolve().is_relative_to((folder / line.files).resolve()):
        raise KeyMistake("files", "this file is in that folder, and everybody could read it; write a folder below")
    options = {key: value for key in FILES[1:] if (value := getattr(line, key)) is not None}
    try:
        app = imported("gateway.scopes.http.static_files:StaticFiles")(folder / line.files, name=line.files, **options)
    except ValueError as error:
        raise KeyMistake(getattr(error, "argument", "files"), str(error)) from error
    return Named(app, app.target_name)


def _check_target(line: HTTPRoute) -> None:
    for key in FILES[1:]:
        if getattr(line, key) is not None:
            raise KeyMistake(key, "it is for static files; write files: FOLDER, too")
    if line.app is None:
        raise KeyMistake("", "needs 'app', or 'files' for a folder of static files")


def responds_otherwise(line: HTTPRoute) -> bool:
    """Whether a route changes the responses of its application."""
    return any(getattr(line, key) is not None for key in RESPONSES)


def responding(app: Application, line: HTTPRoute) -> Application:
    """Return ``app`` with the responses that its route asks for."""
    if line.etag:
        app = imported("gateway.scopes.http.etag:Tagged")(app)
    if (keys := idempotency_of(line.idempotency)) is not None:
        app = imported("gateway.scopes.http.idempotency.app:FirstAnswers")(app, keys)
    if line.compress is not None:
        app = imported("protocols.http.compression.compressed:Compressed")(app, compression_of(line.compress))
    return app


def mistake_before_files(path: str) -> str:
    """Return what is wrong with a path in front of files; empty: nothing."""
    found = _TO_THE_END.search(path)
    if found is None or not found[0]:
        return ""
    return "takes the path to its end, and leaves no name of a file; end it with a slash, as '^static/'"
