"""kill -9 and webhooks: between the commit and the answer, while the handler runs, and at random moments. What was
answered 202 is handled, and a repetition finds what was stored."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from crashing import SEEDS, Crashing, Sender, killed
from servers.site import PATIENCE, until
from standardwebhooks import Webhook

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

KILLS = 2
SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
HANDLERS = """
import os, random, signal
from pathlib import Path

from gateway.scopes.http.webhooks.receiver import Receiver

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
stored = Receiver._stored


def dies_once(mark):
    if not (mark := Path(os.environ["BOOK"]).with_name(mark)).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


async def and_dies(self, scope, request):
    claim = await stored(self, scope, request)
    if request.body == b"die before the answer":
        dies_once("answer")
    return claim


Receiver._stored = and_dies


async def handle(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    body = (await receive())["body"]
    event = scope["extensions"]["delivery"]["id"]
    if body == b"die in the handler":
        dies_once("handler")
    status = 500 if random.random() < 0.1 else 204
    if status == 204:
        os.write(BOOK, body.replace(b" ", b"-") + f" {event}\\n".encode())
    await send({"type": "http.response.start", "status": status})
    await send({"type": "http.response.body"})
"""
CONFIG = f"""
servers:
  web: {{protocol: http, bind: "127.0.0.1:8000"}}
routes:
  http:
    - path: ^hooks$
      app: hook_handlers.handle
      inbox: true
      attempts: 50
      backoff: 20ms
      verify: {{scheme: standard-webhooks, secret: {SECRET}}}
log: {{level: warning}}
"""


class Hooked(Crashing):
    def example(self) -> str:
        (self.folder / "hook_handlers.py").write_text(HANDLERS)
        return ""

    def ready(self) -> bool:
        assert not self.died(), self.output()
        return self.accepts(self.http)

    def post(self, what: str) -> str:
        """The event id that the request is answered with. Raises httpx.HTTPError."""
        now = datetime.now(UTC)
        headers = {
            "webhook-id": f"msg {what}",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(SECRET).sign(f"msg {what}", now, what),
        }
        answer = httpx.post(self.url("/hooks"), content=what.encode(), headers=headers, timeout=PATIENCE)
        assert answer.status_code in (202, 503), answer.text
        return str(json.loads(answer.raise_for_status().text)["id"])

    def is_handled_as(self, what: str, event: str) -> None:
        name = what.replace(" ", "-")
        until(lambda: name in self.handled(), self.output)
        assert self.handled()[name] == {event}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Hooked]:
    site = Hooked(tmp_path)
    site.configure(CONFIG)
    site.start()
    yield site
    site.close()


def test_killed_between_the_commit_and_the_answer_a_repetition_is_answered_with_what_was_stored(site: Hooked) -> None:
    with pytest.raises(httpx.HTTPError):
        site.post("die before the answer")
    until(site.died, site.output)
    site.start()
    until(lambda: site.handled(), site.output)  # although the sender has not repeated it
    event = site.post("die before the answer")
    site.is_handled_as("die before the answer", event)
    assert (site.folder / "book").read_text().count("\n") == 1


def test_killed_in_its_handler_a_request_that_was_answered_is_handled_after_the_start(site: Hooked) -> None:
    event = site.post("die in the handler")
    until(site.died, site.output)
    site.start()
    site.is_handled_as("die in the handler", event)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_again_and_again_nothing_that_was_answered_is_lost(site: Hooked, seed: int) -> None:
    answered: dict[str, str] = {}

    def send(what: str) -> bool:
        answered[what] = site.post(what)
        return True

    acknowledged = killed(site, [Sender(f"sender{number}", send) for number in range(3)], KILLS, seed)
    until(lambda: acknowledged <= site.handled().keys(), lambda: site.output()[-3000:], 60)
    found = site.handled()
    assert {what: found[what] for what in acknowledged} == {what: {answered[what]} for what in acknowledged}
