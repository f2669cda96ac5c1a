"""A real Postfix on a free port that passes mail on to a server of ours, by LMTP or SMTP, and tries again at once."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.ports import free_port
from servers.postfix import LIMIT, _until_it_listens
from servers.programs import program

_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example.org
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
maillog_file = /dev/stdout
relay_domains = example.org
relay_transport = {way}:{target}
smtpd_recipient_restrictions = permit_mynetworks, reject
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
bounce_queue_lifetime = 0
fast_flush_domains =
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
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Relay:
    port: int
    log: Path

    def said(self, recipient: str) -> list[str]:
        """The status of each attempt at ``recipient``, as Postfix logs it: sent, bounced, deferred."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.partition("status=")[2].split()[0] for line in lines if f"to=<{recipient}>" in line]


@contextlib.contextmanager
def relay(way: str, target: int) -> Iterator[Relay]:
    """One that takes everything for example.org and passes it on to a port of this machine by ``way``."""
    command = program("postfix")
    if os.geteuid() != 0:
        pytest.skip("Postfix is started by root alone")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root, port = Path(folder), free_port()
        root.chmod(0o755)
        for name in ("conf", "queue", "data"):
            (root / name).mkdir()
        subprocess.run(["chown", "postfix", str(root / "data")], check=True)
        place = f"{'inet:' * (way == 'lmtp')}[127.0.0.1]:{target}"
        (root / "conf" / "main.cf").write_text(_MAIN.format(root=root, way=way, target=place))
        (root / "conf" / "master.cf").write_text(_MASTER.format(port=f"127.0.0.1:{port}"))
        with (root / "log").open("wb") as log:
            running = subprocess.Popen([command, "-c", str(root / "conf"), "start-fg"], stdout=log, stderr=log)
        try:
            _until_it_listens(port, root / "log")
            yield Relay(port, root / "log")
        finally:  # a signal to it would leave its master behind
            subprocess.run([command, "-c", str(root / "conf"), "stop"], check=True, timeout=LIMIT, capture_output=True)
            running.wait(LIMIT)
