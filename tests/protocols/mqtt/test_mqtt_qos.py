"""The tables of QoS 1 and 2 are whole; a sender and a receiver that follow them agree, whatever is lost on the way."""

import random

import pytest

from protocols.errors import RemoteProtocolError
from protocols.mqtt import qos
from protocols.mqtt.qos import FREE, RECEIVER_1, RECEIVER_2, SENDER, Table, step

ARRIVES = {qos.PUBCOMP_NOT_FOUND: qos.PUBCOMP, qos.PUBREL_NOT_FOUND: qos.PUBREL}
"""What the other side makes of an answer with a reason code."""
TABLES = {"sender": SENDER, "receiver 1": RECEIVER_1, "receiver 2": RECEIVER_2}


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return TABLES[request.param]


def reachable(table: Table, start: str) -> set[str]:
    found, pending = set[str](), [start]
    while pending:
        state = pending.pop()
        if state not in found:
            found.add(state)
            pending += [each.state for each in table[state].values()]
    return found


def test_every_state_is_reached_and_may_end(table: Table) -> None:
    assert reachable(table, FREE) == set(table)
    assert all(FREE in reachable(table, state) for state in table)


def test_every_step_names_its_rule(table: Table) -> None:
    steps = [(state, what, taken) for state, row in table.items() for what, taken in row.items()]
    assert [(state, what) for state, what, taken in steps if not taken.rule] == []


def test_a_sender_hears_everything_that_a_receiver_may_answer() -> None:
    """A late answer is not a fault of the peer (4.4): no state may raise."""
    heard = {qos.PUBACK, qos.PUBREC, qos.PUBREC_ERROR, qos.PUBCOMP}
    assert all(heard <= row.keys() for row in SENDER.values())
    assert all(qos.RECONNECT in row for state, row in SENDER.items() if state != FREE)


def test_a_receiver_hears_every_repetition() -> None:
    assert all(qos.PUBLISH_DUP in row for table in (RECEIVER_1, RECEIVER_2) for row in table.values())


@pytest.mark.parametrize(
    ("state", "what", "why"),
    [
        (qos.HANDLING, qos.PUBLISH, "MQTT-2.2.1-3"),
        (qos.HANDLING, qos.PUBREL, "4.3.3"),
        (qos.WAIT_PUBREL, qos.ACK, "4.3"),
    ],
)
def test_what_has_no_step_breaks_the_protocol(state: str, what: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why) as raised:
        step(RECEIVER_2, state, what)
    assert raised.value.answer == 0x82


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("level", [1, 2])
def test_a_message_is_one_event_whatever_is_lost(level: int, seed: int) -> None:
    """Each packet may be lost with its connection, the application may end: the exchange comes to its end all the same,
    and at QoS 2 with one event that was handled."""
    chance = random.Random(seed)
    ours, theirs, handled = FREE, FREE, 0
    ours, packet, _ = step(SENDER, ours, qos.SEND[level])
    for turn in range(1000):
        if ours == FREE:
            break
        calm = turn > 50
        if packet and (calm or chance.random() < 0.7):
            before = theirs
            theirs, packet, _ = step(qos.RECEIVER[level], theirs, packet)
            assert packet != qos.EVENT or before != qos.HANDLING, "it is in hand already"
        else:
            packet = ""
        if theirs == qos.HANDLING and (calm or chance.random() < 0.5):
            theirs, packet, _ = step(qos.RECEIVER[level], theirs, qos.ACK)
            handled += 1
        elif theirs == qos.HANDLING and chance.random() < 0.5:
            theirs, packet, _ = step(qos.RECEIVER[level], theirs, qos.ABANDON)
        packet = ARRIVES.get(packet, packet)
        if packet in SENDER[ours] and (calm or chance.random() < 0.7):
            ours, packet, _ = step(SENDER, ours, packet)
        else:  # the connection is lost, and there is another
            if level == 1 and theirs == qos.HANDLING:
                theirs = step(RECEIVER_1, theirs, qos.ABANDON).state
            ours, packet, _ = step(SENDER, ours, qos.RECONNECT)
    assert (ours, theirs) == (FREE, FREE)
    assert handled == 1 if level == 2 else handled >= 1
