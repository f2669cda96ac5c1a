"""Commits back to back, one message each, as a store's thread does that never has to wait for its callers."""

import asyncio
import itertools
import sys
import time
from pathlib import Path

from gateway.store import Message
from gateway.store.calls import Put
from gateway.store.sqlite.file.database import open_database
from gateway.store.sqlite.file.owner import Owner
from gateway.store.sqlite.sql.put import put
from gateway.store.writer import Job, _commit


def main(path: Path, name: str, seconds: float) -> None:
    loop = asyncio.new_event_loop()
    owner = Owner(path)  # alive for as long as it is held
    database, _ = open_database(path, owner)
    until = time.monotonic() + seconds
    for number in itertools.takewhile(lambda _: time.monotonic() < until, itertools.count()):
        event = f"{name}-{number}"
        message = Message(event, "mqtt", name, event, 1.0, b"x" * 200)
        _commit(database, [Job(put, Put([message]), loop.create_future())])
        database.sync()
    database.close()
    owner.release()
    loop.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
