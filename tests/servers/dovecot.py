"""A real Dovecot on free ports, and a mail program's view of its mailboxes.

Any user exists, with the password ``secret``. Works as root and as an ordinary user.
"""

import getpass
import imaplib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from servers.ports import free_port

PROGRAM = shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin:/usr/bin") or ""
PASSWORD = "secret"
USER = "support@example.org"
FULL = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE NAMESPACE UIDPLUS MOVE LITERAL+"

_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
instance_name = gateway-tests
log_path = {root}/log
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
mail_home = {root}/mail/%u
mail_location = {location}
mail_fsync = never
mail_max_userip_connections = 1000
imap_capability = {capability}
{privileges}
{tokens}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
{namespace}
}}
{more}
service imap-login {{
{chroot}
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
{chroot}
  # Else each failed login slows down the next.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
_AS_ROOT = "mail_uid = nobody\nmail_gid = nogroup\nfirst_valid_uid = 1"
_AS_USER = (
    "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n"
    "mail_uid = {uid}\nmail_gid = {gid}\nfirst_valid_uid = 1"
)


def require_dovecot() -> None:
    """Skip loudly where Dovecot is not installed; on CI that is a failure."""
    if PROGRAM:
        return
    if os.environ.get("CI"):
        pytest.fail("Dovecot is not installed, and CI=true: install dovecot-imapd")
    pytest.skip("NOT TESTED: the IMAP tests need Dovecot (install dovecot-imapd)")


@dataclass(frozen=True)
class Variant:
    """What a server may differ in."""

    capability: str = FULL
    """Replaces what it offers, to see it without IDLE or MOVE."""
    tls: bool = False
    """Opens ``tls_port`` with a certificate for localhost, whose authority is the file ``ca``."""
    location: str = "maildir:~/Maildir"
    """How it keeps mail: ``mdbox:~/mdbox``."""
    namespace: str = ""
    """Settings of its only namespace: ``separator = .``"""
    more: str = ""
    """Any other configuration. ``{root}`` is the server's folder."""
    introspection: str = ""
    """The URL by which it asks an authorization server whether a token is valid (RFC 7662)."""


class Dovecot:
    """One server."""

    def __init__(self, root: Path, variant: Variant) -> None:
        self.root = root
        self.port = free_port()
        self.tls_port = free_port() if variant.tls else 0
        self.ca = str(root / "cert.pem")
        if variant.tls:
            self._make_certificate()
        self._config = root / "dovecot.conf"
        self._config.write_text(self._text(variant))
        self._mail = root / "mail"
        self._mail.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self._mail, "nobody", "nogroup")
        self.process = self._spawn()

    def _text(self, variant: Variant) -> str:
        import grp

        as_user = _AS_USER.format(
            user=getpass.getuser(), group=grp.getgrgid(os.getegid()).gr_name, uid=os.geteuid(), gid=os.getegid()
        )
        root = os.geteuid() == 0
        return _CONFIG.format(
            root=self.root,
            ssl="yes" if variant.tls else "no",
            certificate=f"ssl_cert = <{self.ca}\nssl_key = <{self.root}/key.pem" if variant.tls else "",
            capability=variant.capability,
            location=variant.location,
            namespace=variant.namespace,
            more=variant.more.replace("{root}", str(self.root)),
            tokens=self._tokens(variant.introspection),
            privileges=_AS_ROOT if root else as_user,
            chroot="" if root else "  chroot =",
            password=PASSWORD,
            port=self.port,
            tls_port=self.tls_port,
        )

    def _tokens(self, introspection: str) -> str:
        """Let XOAUTH2 ask the authorization server; else a token is the static password."""
        if not introspection:
            return ""
        settings = self.root / "oauth2.conf"
        lines = [f"introspection_url = {introspection}", "introspection_mode = post", "username_attribute = username"]
        settings.write_text("\n".join([*lines, "active_attribute = active", "active_value = true"]) + "\n")
        return f"passdb {{\n driver = oauth2\n mechanisms = xoauth2\n args = {settings}\n}}"

    def _make_certificate(self) -> None:
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{self.root}/key.pem", "-out", self.ca]
        subprocess.run([*command.split(), *names], check=True, capture_output=True)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([PROGRAM, "-F", "-c", str(self._config)], start_new_session=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                    if probe.recv(4) == b"* OK":
                        return process
            except OSError:
                time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        log = self.root / "log"
        raise RuntimeError(f"Dovecot does not answer: {log.read_text() if log.exists() else 'no log'}")

    def kill(self) -> None:
        """Crash: nobody says goodbye. (Sessions in IDLE outlive the master, so the group goes.)"""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def start(self) -> None:
        self.process = self._spawn()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.kill()

    def kick(self, user: str = USER) -> None:
        """Drop the user's sessions, with ``* BYE``."""
        self._doveadm("kick", user)

    def who(self, user: str = USER) -> list[str]:
        """A line for each session of the user."""
        found = self._doveadm("who", "-1", user).splitlines()
        return [line for line in found if line.startswith(user)]

    def reload(self) -> None:
        """Let new sessions have the configuration as it is now."""
        self._doveadm("reload")

    def _doveadm(self, *command: str) -> str:
        whole = ["doveadm", "-c", str(self._config), *command]
        return subprocess.run(whole, check=True, capture_output=True, text=True).stdout

    # A mail program.

    @contextmanager
    def program(self, user: str = USER) -> Iterator[imaplib.IMAP4]:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=20)
        client.login(user, PASSWORD)
        try:
            yield client
        finally:
            client.logout()

    def append(self, *messages: bytes, user: str = USER, folder: str = "INBOX") -> None:
        with self.program(user) as client:
            for message in messages:
                result, detail = client.append(folder, None, None, message)  # type: ignore[arg-type]
                assert result == "OK", detail

    def messages(self, folder: str = "INBOX", user: str = USER, criteria: Iterable[str] = ("ALL",)) -> list[bytes]:
        """Every message in the folder, raw, in order; none where there is no such folder."""
        with self.program(user) as client:
            if client.select(f'"{folder}"', readonly=True)[0] != "OK":
                return []
            numbers = client.search(None, *criteria)[1][0].split()
            return [bytes(client.fetch(number, "(BODY.PEEK[])")[1][0][1]) for number in numbers]  # type: ignore[index]

    def count(self, folder: str = "INBOX", user: str = USER) -> int:
        with self.program(user) as client:
            result, lines = client.status(f'"{folder}"', "(MESSAGES)")
            return int(bytes(lines[0] or b"").rpartition(b" ")[2].rstrip(b")")) if result == "OK" else 0

    def flags(self, folder: str = "INBOX", user: str = USER) -> list[bytes]:
        """``1 (FLAGS (\\Seen))`` of each message; none in an empty folder."""
        if not self.count(folder, user):
            return []
        with self.program(user) as client:
            client.select(f'"{folder}"', readonly=True)
            return [bytes(line) for line in client.fetch("1:*", "(FLAGS)")[1] if isinstance(line, bytes)]


@contextmanager
def dovecot(**variant: Any) -> Iterator[Dovecot]:
    """A running Dovecot in a short-named folder of its own (Unix sockets' paths are bounded), removed at the end;
    ``variant`` as in :class:`Variant`."""
    require_dovecot()
    root = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))
    root.chmod(0o755)
    try:
        server = Dovecot(root, Variant(**variant))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)
