"""Writes texts into a folder, for development, or for another program that takes them from there."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from protocols import private_files
from protocols.errors import NotSent
from protocols.event_id import new_id
from protocols.sms.provider import OutgoingText, Provider


class TextFolder:
    """Each text is a JSON file, the body that a provider would get. It counts as taken when its file is on disk."""

    def __init__(self, provider: Provider[Any]) -> None:
        self._folder = Path(provider.folder)
        self._provider = provider

    async def send(self, text: OutgoingText) -> str:
        """Write the file. One that is written again under its id is the same file. Returns no id. Raises NotSent."""
        path = self._folder / f"{quote(text.id or new_id(), safe='')}.json"
        try:
            await asyncio.to_thread(private_files.replace, path, self._provider.request(text).body)
        except OSError as error:
            raise NotSent(f"{self._folder}: {error.strerror or error}") from error
        return ""

    async def close(self, grace: float = 0.0) -> None:
        """Nothing is kept open."""
