"""The layer in memory, with messages as other processes would get them: for tests of a gateway whose layer reaches
others."""

from typing import Any

from gateway.layers import origins
from gateway.layers.memory import InMemoryChannelLayer
from gateway.layers.opened import CheckingLayer
from gateway.layers.packed import unpacked_copy


class PackingChannelLayer(InMemoryChannelLayer, CheckingLayer):
    """What could not leave this process raises TypeError or ValueError here, too, and a tuple arrives as a list."""

    def checked(self, message: dict[str, Any]) -> dict[str, Any]:
        return unpacked_copy(message)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        origins.note(message)
        await self._send(channel, self.checked(message))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        origins.note(message)
        copy = self.checked(message)
        for channel in list(self._groups.get(group, ())):
            await self._send(channel, copy)
