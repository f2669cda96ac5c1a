"""What the gateway does with a layer that is connected to other processes."""

from abc import ABC, abstractmethod


class OpenedLayer(ABC):
    """A layer of ours with a connection. It is a class, not a protocol: some of Channels' layers answer a look at an
    attribute that they do not have with a RuntimeError."""

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
