"""A real PgBouncer in front of a PostgreSQL server."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from servers.ports import free_port
from servers.postgresql import ESCAPED, PASSWORD, USER, Database, account, end_with_us
from servers.programs import program
from servers.site import until

_CONFIG = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
"""


@contextlib.contextmanager
def pgbouncer(database: Database, mode: str, *, size: int = 4) -> Iterator[str]:
    """Yield the URL of the database behind a pool of ``size`` sessions, in the pool mode ``mode``."""
    executable, port = program("pgbouncer"), free_port()
    with tempfile.TemporaryDirectory(prefix="pgb", dir="/tmp") as name:
        folder = Path(name)
        config = _CONFIG.format(server=database.server.port, port=port, folder=folder, mode=mode, size=size)
        (folder / "pgbouncer.ini").write_text(config)
        (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        for path in (folder, *folder.iterdir()):  # for the account that it runs under
            path.chmod(0o755)
        with (folder / "log").open("wb") as log:
            command = [executable, str(folder / "pgbouncer.ini")]
            process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_us, **account())
        url = f"postgresql://{USER}:{ESCAPED}@127.0.0.1:{port}/{database.name}"
        try:
            until(lambda: process.poll() is not None or _answers(url), "PgBouncer answers")
            assert process.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True
