"""Writes mail into a folder, for development, or for another program that takes it from there."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from protocols import private_files
from protocols.asgi import DSNRequest
from protocols.errors import NotSent

_numbers = count(1)
_FOLDERS = ("tmp", "new", "cur")


class MaildirSubmission:
    """A maildir: each message is a file in ``new``, where mail readers, Dovecot and ``mailbox.Maildir`` find it.

    The first two fields of the file hold the envelope. A message counts as taken when its file is on disk.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        envelope = f"Return-Path: <{mail_from}>\r\nX-Envelope-To: {', '.join(rcpt_to)}\r\n".encode()
        try:
            await asyncio.to_thread(self._write, envelope + message)
        except OSError as error:
            raise NotSent(f"{self._directory}: {error.strerror or error}") from error

    def _write(self, content: bytes) -> None:
        """Write the whole file in ``tmp`` and move it to ``new``, so that a reader never sees a part."""
        for folder in _FOLDERS:
            private_files.make_folder(self._directory / folder)
        name = unique_name()
        unfinished = self._directory / "tmp" / name
        try:
            private_files.write(unfinished, content)
            private_files.sync(unfinished)
            os.rename(unfinished, self._directory / "new" / name)
            private_files.sync(self._directory / "new")
        finally:
            unfinished.unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is kept open."""


def unique_name() -> str:
    """Return a name that no other delivery has, and that sorts by time: seconds, microseconds, process, number, host.

    A host's ``/`` and ``:`` are written as maildir(5) says.
    """
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
    return f"{seconds}.M{nanoseconds // 1000:06}P{os.getpid()}Q{next(_numbers)}.{host}"
