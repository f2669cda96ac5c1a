"""No token or secret of OAuth is in the log of a gateway at level debug, or in the output of ``gateway login``."""

import asyncio
import json
import sys
from pathlib import Path

from servers.daemon import Daemon
from servers.dovecot import dovecot
from servers.token_endpoint import USER, TokenEndpoint, token_endpoint
from waiting import until

LIMIT = 20.0
SECRET = "hunter2Geheim"
MAILBOX = """{{
    protocol: imap, host: 127.0.0.1, port: {port}, tls: false, username: {user}, folder: {folder},
    reconnect: 100ms, retry_refused: 300ms, {auth}}}
"""
AUTH = {
    "INBOX": "auth: {{google: service-account.json}}",
    "application": 'auth: {{microsoft: {{tenant: t, client_id: a, client_secret: {secret}, authority: "{url}"}}}}',
    "person": 'auth: {{microsoft: {{client_id: app, authority: "{url}"}}}}',
    "file": "token_file: token",
}
"""By the folder: one that does not exist is refused after the login."""
HANDLERS = """
from gateway import EmailConsumer

class Mail(EmailConsumer):
    def receive(self, message):
        pass
"""
WRONG = [
    (200, json.dumps({"access_token": [SECRET], "refresh_token": SECRET})),
    (200, json.dumps({"id_token": SECRET})),
    (200, f"access_token={SECRET}"),
    (400, json.dumps({"error": {"code": SECRET}, "access_token": SECRET})),
    (500, SECRET),
]
"""Answers of an authorization server that is broken or misconfigured."""


async def login(folder: Path, server: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "login", server),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0, said
    return said.decode()


def file_of(port: int, url: str) -> str:
    servers = ""
    for folder, auth in AUTH.items():
        auth = auth.format(secret=SECRET, url=url)
        servers += f"  {folder}: " + MAILBOX.format(port=port, user=USER, folder=folder, auth=auth)
    return f"log: {{level: debug, tracebacks: full}}\nservers:\n{servers}routes: {{email: mail_handlers.Mail}}\n"


async def logged(folder: Path, endpoint: TokenEndpoint) -> str:
    """What `gateway login` prints, and what a gateway writes while each kind of login fails and works."""
    with dovecot(introspection=f"{endpoint.url}/introspect") as server:
        (folder / "gateway.yaml").write_text(file_of(server.port, endpoint.url))
        said = await login(folder, "person")
        endpoint.answers += WRONG
        daemon = Daemon(folder)
        try:
            refused = ("folder application: ", "folder person: ", "login refused", "answered without an access token")
            await until(lambda: all(each in daemon.text for each in (*refused, "answered 400", "answered 500")), LIMIT)
            await until(lambda: "INBOX at" in daemon.text and "connected again" in daemon.text, LIMIT)
        finally:
            daemon.close()
    return f"{said}\n{daemon.text}"


async def test_no_token_is_in_the_log(tmp_path: Path) -> None:
    async with token_endpoint() as endpoint:
        endpoint.client_secrets["a"] = SECRET
        key = json.loads(endpoint.service_account(tmp_path).read_text())["private_key"].splitlines()[1]
        endpoint.approved.set()
        (tmp_path / "mail_handlers.py").write_text(HANDLERS)
        (tmp_path / "token").write_text(f"{SECRET}-token\n")
        written = await logged(tmp_path, endpoint)
        proofs = [value for form in endpoint.forms for name, value in form.items() if name == "assertion"]
        assert proofs
        assert len(endpoint.valid) >= 3
        for each in (*endpoint.valid, *endpoint.refresh_tokens, *proofs, key, SECRET):
            assert each[:20] not in written
