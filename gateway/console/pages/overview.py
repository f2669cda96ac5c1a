"""The pages on the gateway itself."""

import time
from typing import Any

from gateway.console.here import Here
from gateway.console.pages.page import Asked, Content, Page
from gateway.console.table import operations


async def answer(here: Here, name: str, **arguments: Any) -> Content:
    """Return the answer of an operation. Raises BadRequest."""
    return await operations()[name].answer(here, arguments)


async def _overview(here: Here, asked: Asked) -> Content:
    return {"status": await answer(here, "status"), **await answer(here, "routes")}


async def _mailboxes(here: Here, asked: Asked) -> Content:
    servers = (await answer(here, "servers"))["servers"]
    return {"mailboxes": [(server["name"], each) for server in servers for each in server["mailboxes"]]}


async def _certificates(here: Here, asked: Asked) -> Content:
    return {"now": time.time(), **await answer(here, "certificates")}


async def _configuration(here: Here, asked: Asked) -> Content:
    return await answer(here, "configuration")


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
