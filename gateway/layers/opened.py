"""What the gateway does with a layer that is connected to other processes."""

from abc import ABC, abstractmethod
from typing import Any


class CheckingLayer(ABC):
    """A layer of ours that cannot carry every message. It is a class, not a protocol: some of Channels' layers answer a
    look at an attribute that they do not have with a RuntimeError."""

    @abstractmethod
    def checked(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of ``message``, as others get it. Raises TypeError or ValueError if it cannot be sent."""


class OpenedLayer(CheckingLayer):
    """A layer of ours with a connection."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why other processes cannot be reached, in one sentence; empty if they can."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. If that fails, the layer goes on trying, and :attr:`trouble` says why."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. What was sent before has left then."""
