"""Transactions of handlers in the database of a Django project, on the connections of its ORM."""

from abc import abstractmethod
from importlib import import_module
from typing import Any

from gateway.store.parts.transactions import Transactions
from gateway.store.transaction import Transaction, TransactionStore


class ProjectTransactions(Transactions):
    @abstractmethod
    def _join(self, connection: Any) -> TransactionStore:
        """What the store can do on ``connection``, the driver's."""

    def transaction(self) -> Transaction:
        make = import_module("gateway.django.transactions").DjangoTransaction
        made: Transaction = make(self._join, self._fault, self.handlers_at_once)
        return made
