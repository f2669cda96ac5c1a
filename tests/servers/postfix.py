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

import pytest
from servers.ports import free_port
from servers.programs import program

LIMIT = 20.0
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
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextlib.contextmanager
def postfix(*, clients: str = "") -> Iterator[str]:
    """The address of one that knows ann and bob at example.org, and later, whom it defers. ``clients``: restrictions on
    who may connect."""
    command = program("postfix")
    if os.geteuid() != 0:
        pytest.skip("Postfix is started by root alone")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root, port = Path(folder), free_port()
        root.chmod(0o755)
        (root / "conf").mkdir()
        (root / "queue").mkdir()
        (root / "data").mkdir()
        subprocess.run(["chown", "postfix", str(root / "data")], check=True)
        (root / "conf" / "main.cf").write_text(_MAIN.format(root=root, clients=clients))
        (root / "conf" / "master.cf").write_text(_MASTER.format(port=f"127.0.0.1:{port}"))
        with (root / "log").open("wb") as log:
            running = subprocess.Popen([command, "-c", str(root / "conf"), "start-fg"], stdout=log, stderr=log)
        try:
            _until_it_listens(port, root / "log")
            yield f"127.0.0.1:{port}"
        finally:  # a signal to it would leave its master behind
            subprocess.run([command, "-c", str(root / "conf"), "stop"], check=True, timeout=LIMIT, capture_output=True)
            running.wait(LIMIT)


def _until_it_listens(port: int, log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as probe:
            if probe.recv(3):
                return
        time.sleep(0.05)
    pytest.fail(f"postfix does not start: {log.read_text()}")
