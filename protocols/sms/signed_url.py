"""The URL that a provider has signed, which is the one in its console. Pure.

Behind a proxy it differs from the URL of the request. Headers of proxies are never trusted here: they only help to tell
the operator which URL would have matched.
"""

from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from protocols.sms.provider import Request


def signed_url(request: Request, public_url: str | None) -> str:
    """Return ``public_url`` with what it lacks of the request's path and query; without it, the URL of the request."""
    if public_url is None:
        return request.url
    public, own = split_url(public_url), split_url(request.url)
    return urlunsplit((public.scheme, public.netloc, public.path or own.path, own.query or public.query, ""))


def split_url(url: str) -> SplitResult:
    """Like ``urlsplit``, but with empty parts if the Host header makes the URL invalid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def explain_url(request: Request, public_url: str | None, matches: Callable[[str], bool]) -> str:
    """Return which URL was tried, and which one would have matched, if the request hints at one; else nothing.

    ``matches`` says whether the signature is right for a URL.
    """
    tried = signed_url(request, public_url)
    for guess in _guesses(request):
        if matches(guess):
            return f"signed for {loggable(guess)}, but checked against {loggable(tried)}: set public_url"
    return ""


def loggable(url: str) -> str:
    """Return ``url`` for the log: on one line, of bounded length, without a password and without the values of its
    query, where a GET has the text."""
    parts = split_url(url)
    names = "&".join(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, names, ""))
    return ascii(plain[:300])[1:-1]


def _guesses(request: Request) -> Iterator[str]:
    own = split_url(request.url)
    hosts = (own.netloc, request.headers.get("x-forwarded-host", own.netloc))
    for scheme in ("https", "http"):
        for host in dict.fromkeys(hosts):
            yield urlunsplit((scheme, host, own.path, own.query, ""))
