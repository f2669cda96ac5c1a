"""The pages on the gateway itself."""

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from gateway.console.here import Here
from gateway.console.pages.page import Asked, Content, Page
from gateway.console.table import operations

MOST = 200
"""Routes on the overview, as many as are measured one by one; members of a list in the configuration."""


async def answer(here: Here, name: str, **arguments: Any) -> Content:
    """Return the answer of an operation. Raises BadRequest."""
    return await operations()[name].answer(here, arguments)


async def _overview(here: Here, asked: Asked) -> Content:
    return {
        "status": await answer(here, "status"),
        "most": MOST,
        **await answer(here, "routes", limit=MOST),
    }


async def _mailboxes(here: Here, asked: Asked) -> Content:
    servers = (await answer(here, "servers"))["servers"]
    return {"mailboxes": [(server["name"], each) for server in servers for each in server["mailboxes"]]}


async def _certificates(here: Here, asked: Asked) -> Content:
    return {"now": time.time(), **await answer(here, "certificates")}


async def _configuration(here: Here, asked: Asked) -> Content:
    found = await answer(here, "configuration")
    return {**found, "settings": _cut(found["settings"])}


def _cut(value: Any) -> Any:
    """Return the value with the beginning of each list: a file may have 50,000 routes or users."""
    if isinstance(value, Mapping):
        more = {"...": f"{len(value) - MOST} more"} if len(value) > MOST else {}
        return {key: _cut(each) for key, each in islice(value.items(), MOST)} | more
    if isinstance(value, list):
        more_text = [f"... {len(value) - MOST} more"] if len(value) > MOST else []
        return [*map(_cut, value[:MOST]), *more_text]
    return value


async def _log(here: Here, asked: Asked) -> Content:
    return {"log": await answer(here, "log")}


async def _reload(here: Here, asked: Asked) -> Content:
    generations = here.generations
    last = generations.last if generations is not None else None
    return {
        "status": await answer(here, "status"),
        "can_reload": generations is not None and generations.can_reload,
        "can_replace": here.replace is not None,
        "last": last.facts() if last is not None else None,
        "reload": operations()["reload"].parameters,
    }


OVERVIEW = Page("/", "Overview", "overview.html", _overview)
PAGES = [
    Page("/mailboxes", "Mailboxes", "mailboxes.html", _mailboxes),
    Page("/certificates", "Certificates", "certificates.html", _certificates),
    Page("/configuration", "Configuration", "configuration.html", _configuration),
    Page("/log", "Log", "log.html", _log),
    Page("/reload", "Reload", "reload.html", _reload),
]
