"""A token that another program keeps fresh in a file."""

import asyncio
import os
from pathlib import Path

from protocols.mail.oauth.source import TokenRefused


class TokenFile:
    """A :class:`~protocols.mail.oauth.source.TokenSource` that reads the file each time."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self, *, fresh: bool = False) -> str:
        """Return the file's content. It is always the newest there is, so ``fresh`` changes nothing."""
        try:
            text = await asyncio.to_thread(Path(self._path).read_text, "ascii")
        except UnicodeError as error:
            raise TokenRefused(f"token_file {self._path}: it holds no token") from error
        except OSError as error:
            raise TokenRefused(f"token_file {self._path}: {error.strerror or error}") from error
        if not text.strip():
            raise TokenRefused(f"token_file {self._path}: it is empty")
        return text.strip()

    def stamp(self) -> object:
        return file_stamp(self._path)


def file_stamp(path: str) -> object:
    """Return a value that changes with the file at ``path``; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
