"""How a webhook is recognized when its sender repeats it. Pure; docs/identity.md has it in words."""

import hashlib
from typing import NamedTuple

from gateway.delivery.deduplication import ALWAYS_NEW, DAY, Identity, digest
from gateway.scopes.http.webhooks.policy import BODY
from gateway.scopes.http.webhooks.scheme import Scheme, SignedRequest
from protocols.errors import RemoteProtocolError

WINDOW = 7 * DAY
"""Seconds for which a repetition is recognized. Senders go on for three days (Stripe, GitHub by hand), few for more."""
LONGEST = 255
"""Characters of an id."""


class Named(NamedTuple):
    """What names a request."""

    id: str
    """The sender's id; empty if there is none."""
    identity: Identity


def named(path: str, request: SignedRequest, scheme: Scheme, signed: str, chosen: str | None) -> Named:
    """Return what names a request for ``path``.

    ``signed``: the id that its signature covers, which is enough by itself. Any other id may be used again, by mistake
    or on purpose: then the body has to be the same, too, so that no request is taken for another one. ``chosen``: the
    route's own ``identity``. Raises RemoteProtocolError.
    """
    content = hashlib.sha256(request.body).hexdigest()
    if chosen == BODY:
        return Named("", Identity(digest("http", [path, BODY, content]), "", WINDOW))
    if chosen is not None:
        return _by_header(path, chosen, request, content)
    if signed:
        return Named(_bounded(signed), Identity(digest("http", [path, "signed", signed]), "", WINDOW))
    found = next((name for name in scheme.ids if request.headers.get(name, "").strip()), None)
    return Named("", ALWAYS_NEW) if found is None else _by_header(path, found, request, content)


def _by_header(path: str, name: str, request: SignedRequest, content: str) -> Named:
    value = request.headers.get(name.lower(), "").strip()
    if not value:
        raise RemoteProtocolError(f"it has no {name} header, which is the route's identity", answer=400)
    return Named(_bounded(value), Identity(digest("http", [path, name.lower(), value, content]), "", WINDOW))


def _bounded(value: str) -> str:
    if len(value) > LONGEST:
        raise RemoteProtocolError(f"its id has more than {LONGEST} characters", answer=400)
    return value
