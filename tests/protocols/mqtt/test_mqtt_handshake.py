"""The tables of the handshake are whole."""

import pytest

from protocols.mqtt import handshake
from protocols.mqtt.handshake import CLIENT, CLOSED, OPEN, SERVER
from protocols.mqtt.steps import Table


@pytest.mark.parametrize("table", [SERVER, CLIENT], ids=["server", "client"])
def test_every_state_is_reached_and_may_be_refused(table: Table) -> None:
    found, pending = set[str](), [next(iter(table))]
    while pending:
        state = pending.pop()
        if state not in found:
            found.add(state)
            pending += [each.state for each in table.get(state, {}).values()]
    assert found == {*table, OPEN, CLOSED}
    assert all(row[handshake.OTHER].state == CLOSED for state, row in table.items() if state != handshake.CHECK)
    assert all(step.rule for row in table.values() for step in row.values())


def test_connack_is_the_answer_that_opens_and_no_other() -> None:
    steps = [step for row in SERVER.values() for step in row.values()]
    assert all((step.state == OPEN) == (step.answer == handshake.CONNACK) for step in steps)
    assert all(step.state == CLOSED for step in steps if step.answer == handshake.CONNACK_ERROR)
