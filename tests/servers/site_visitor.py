"""A person at the example site: writes to it, follows its page, and signs in to its admin."""

import contextlib
import json
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import httpx
from servers.site import PATIENCE, Site
from websockets.sync.client import ClientConnection


def letter(sender: str, subject: str, text: str = "Where is it?", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Somebody <{sender}>"
    message["To"] = "help@support.example.org"
    message["Subject"] = subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def write(site: Site, message: EmailMessage, *, to: str = "help@support.example.org") -> None:
    site.mail(message, sender=str(message["From"]).split("<")[1].rstrip(">"), to=to)


def event(socket: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    """The next event of ``kind`` with these fields; what else happens on the site meanwhile is passed over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        said = json.loads(socket.recv(timeout=deadline - time.monotonic()))
        for row in said["data"] if said["kind"] == kind else ():
            if fields.items() <= row.items():
                return dict(row)


@contextlib.contextmanager
def signed_in(site: Site) -> Iterator[httpx.Client]:
    """A browser of the team."""
    with httpx.Client(base_url=site.url(""), follow_redirects=True, timeout=PATIENCE) as browser:
        browser.get("/admin/login/")
        form = {"username": "ann", "password": "secret-ann", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert "Site administration" in browser.post("/admin/login/?next=/admin/", data=form).text
        yield browser
