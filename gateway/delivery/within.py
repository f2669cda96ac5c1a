"""Sends within a transaction that the calling code has open on the store's own database."""

from collections.abc import Callable

from gateway.delivery.outgoing import outgoing_of
from gateway.store import OpenTransaction, TransactionStore
from protocols.event_id import new_id
from protocols.events import Event


def send_within(transaction: OpenTransaction, event: Event, then: Callable[[], object]) -> str:
    """Put ``event`` into the outbox if ``transaction`` is committed, and call ``then`` after that. Return its event
    id."""
    event_id = new_id()

    def work(store: TransactionStore) -> None:
        store.put_outgoing(outgoing_of(event_id, {}, [event], store.now()))

    transaction.run(work, then)
    return event_id
