"""A real Postfix on a free port, as the submission server of the gateway: what it takes it discards.

It needs root, as Postfix does; without that, or without the program, the tests skip and say so.
"""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from servers.ports import free_port
from servers.programs import program

LIMIT = 20.0
START = (15.0, 30.0)
"""Seconds until it listens, by try: its start is a script of a hundred commands, and about once in fifty its master
never listens and logs nothing."""
_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
mynetworks =
alias_maps =
maillog_file = /dev/stdout
message_size_limit = 20000
virtual_mailbox_domains = example.org
virtual_mailbox_maps = inline:{{ {{ann@example.org=x}}, {{bob@example.org=x}}, {{later@example.org=x}} }}
virtual_transport = discard:
smtpd_sender_restrictions = check_sender_access inline:{{ {{not-ours@example.net=553 5.7.1 not owned by user}} }}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{later@example.org=450 4.2.0 greylisted}} }}
smtpd_client_restrictions = {clients}
smtpd_delay_reject = no
"""
_MASTER = """
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One server in a folder. ``main`` is appended to its main.cf, where ``{root}`` is the folder."""

    def __init__(self, root: Path, *, clients: str = "", main: str = "") -> None:
        self._command = program("postfix")
        if os.geteuid() != 0:  # its master changes to the user of each program
            untested = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            untested("POSTFIX IS NOT TESTED: only root can start it; run the tests as root, or as CI does")
        self.root, self.port = root, free_port()
        root.chmod(0o755)
        for name in ("conf", "queue", "data", "mail"):
            (root / name).mkdir()
        (root / "log").touch()
        (root / "log").chmod(0o666)  # its programs that are not root's open /dev/stdout, which is this file
        subprocess.run(["chown", "postfix", str(root / "data")], check=True)
        subprocess.run(["chown", "nobody", str(root / "mail")], check=True)
        text = _MAIN.format(root=root, clients=clients) + main.replace("{root}", str(root))
        (root / "conf" / "main.cf").write_text(text)
        (root / "conf" / "master.cf").write_text(_MASTER.format(port=f"127.0.0.1:{self.port}"))
        self._greets = "smtpd_tls_wrappermode = yes" not in main  # then TLS comes before its greeting
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        for seconds in START:
            with (self.root / "log").open("ab") as log:
                command = [self._command, "-c", str(self.root / "conf"), "start-fg"]
                self._running = subprocess.Popen(command, stdout=log, stderr=log)
            if _listens_within(seconds, self.port, greets=self._greets):
                return
            self.kill()
        pytest.fail(f"postfix does not start: {self.log()}")

    def stop(self) -> None:
        """A signal to it would leave its master behind."""
        command = [self._command, "-c", str(self.root / "conf"), "stop"]
        stopped = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True)
        assert stopped.returncode == 0, f"{stopped.stderr}\n{(self.root / 'log').read_text()[-2000:]}"
        if self._running is not None:
            self._running.wait(LIMIT)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        assert self._running is not None
        first = psutil.Process(self._running.pid)
        for process in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._running.wait(LIMIT)

    def log(self) -> str:
        """The end of what its programs have logged."""
        return (self.root / "log").read_text(errors="replace")[-5000:]

    def said(self, recipient: str) -> list[str]:
        """The status of each attempt at ``recipient``, as it logs it: sent, bounced, deferred."""
        lines = (self.root / "log").read_text(errors="replace").splitlines()
        return [line.partition("status=")[2].split()[0] for line in lines if f"to=<{recipient}>" in line]

    def delivered(self, mailbox: str) -> list[bytes]:
        """The mails in a mailbox of :data:`MAILBOXES`, as they were delivered."""
        return [path.read_bytes() for path in (self.root / "mail" / mailbox / "new").glob("*")]


MAILBOXES = """
virtual_transport = virtual
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = inline:{ {ann@example.org=ann/} }
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
"""
"""Lets it deliver to the maildir of ann, instead of nowhere."""


@contextlib.contextmanager
def postfix(*, clients: str = "", main: str = "") -> Iterator[str]:
    """The address of one that knows ann and bob at example.org, and later, whom it defers. ``clients``: restrictions on
    who may connect."""
    with postfix_server(clients=clients, main=main) as server:
        yield server.address


@contextlib.contextmanager
def postfix_server(*, clients: str = "", main: str = "") -> Iterator[Postfix]:
    """One that runs, in a folder that its own users can reach."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Postfix(Path(folder), clients=clients, main=main)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _listens_within(seconds: float, port: int, *, greets: bool = True) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as probe:
            if not greets or probe.recv(3):
                return True
        time.sleep(0.05)
    return False
