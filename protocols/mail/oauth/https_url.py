"""The address of an endpoint, to which secrets are sent."""

from urllib.parse import urlsplit


def check_url(url: str) -> str:
    """Return ``url``. Raises ValueError unless it is https, or http on this machine: secrets are sent to it."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna"), parts.port  # a port that is none raises
    except ValueError:
        raise ValueError(f"{url!r} is not an https URL") from None
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and local)):
        raise ValueError(f"{url!r} is not an https URL")
    return url
