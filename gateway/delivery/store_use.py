"""One store that several gateways of a process have at one time: each for as long as what came to it is handled."""

from gateway.delivery.transactions import Transactions
from gateway.store import Store


class StoreUse:
    """Opens ``store`` for the first gateway, and closes it when the last has ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users = 0
        self.transactions = Transactions(store)
        """Transactions of handlers, on routes with ``atomic: true``."""

    @property
    def is_shared(self) -> bool:
        return self._users > 1

    async def begin(self) -> str:
        """Return what was found in the store, in a line. Raises StoreUnavailable; :meth:`end` is due all the same."""
        self._users += 1
        return await self._store.open() if self._users == 1 else ""

    async def end(self) -> None:
        self._users -= 1
        if not self._users:
            self.transactions.close()
            await self._store.close()
