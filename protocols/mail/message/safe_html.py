"""Makes HTML safe to show, by nh3 (the Rust library ammonia)."""

import re

_MANY = 10_000
_MOST = 100_000
"""Entities that are kept: nh3 takes time quadratic in their number, some seconds for a megabyte of them."""
_NO_ENTITY = re.compile(r"&(?!(?:[a-zA-Z][a-zA-Z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});)")


def safe_html(html: str) -> str:
    """Return ``html``, which must be within bounds, without anything that runs, submits or restyles the page around it.

    Raises ImportError, with a sentence that says what to install, if nh3 is missing.
    """
    try:
        import nh3  # an extra
    except ImportError as error:
        raise ImportError("nh3 is not installed; pip install 'asgi-gateway[mail]'") from error
    if html.count("&") > _MANY:  # nh3 takes 7 s for a megabyte of bare ones
        html = "&".join(_NO_ENTITY.sub("&amp;", html).split("&", _MOST)[:_MOST])
    return nh3.clean(
        html, url_schemes={"http", "https", "mailto", "tel", "cid"}, clean_content_tags={"script", "style", "title"}
    )
