"""What the cluster's oracle excuses: what a Mosquitto has lost according to its log, and nothing else."""

import time
from collections import Counter

import pytest
from cluster.faults import Fault
from cluster.oracle import Book, Broker, Run, doubled, forgotten

NOW = 1000.0
"""By the monotonic clock."""
STARTING = "mosquitto version 2.0.11 starting"
ANSWERS = [("PUBACK", 1), ("PUBCOMP", 3), ("PUBREC", 4)]
MEMBER = "gateway-host1 2 $share/cluster/plant/#"


def at(second: float, said: str) -> str:
    return f"{int(second + time.time() - time.monotonic())}: {said}"


def taken(second: float, topic: str) -> str:
    return at(second, f"Received PUBLISH from up (d0, q1, r0, m7, '{topic}', ... (6 bytes))")


def restarted(*lines: str, end: str = "mosquitto version 2.0.11 terminating") -> Broker:
    """A Mosquitto that ended at ``NOW``, started 1 s later, and had a member 20 s later."""
    first = [at(NOW - 99, STARTING), at(NOW - 98, MEMBER)]
    again = [at(NOW, end), at(NOW + 1, STARTING), *lines, at(NOW + 20, MEMBER)]
    return Broker([*first, *again, at(NOW + 30, MEMBER)])


@pytest.mark.parametrize(
    ("what", "moment", "excused"),
    [
        ("qos1-7", NOW - 3, False),
        ("qos1-7", NOW + 5, True),
        ("qos1-7", NOW + 19, True),
        ("qos1-7", NOW + 22, False),
        ("own1-7", NOW + 5, False),
        ("http-7", NOW + 5, False),
    ],
)
def test_a_mosquitto_without_members_loses_what_it_acknowledges(what: str, moment: float, excused: bool) -> None:
    assert forgotten([(what, moment)], [], restarted()) == ({what} if excused else set())


def test_one_that_started_twice_before_a_member_came_loses_nothing_after_that() -> None:
    twice = restarted(at(NOW + 9, "mosquitto version 2.0.11 terminating"), at(NOW + 10, STARTING))
    moments = [NOW + 5, NOW + 15, NOW + 22, NOW + 40]
    lost = forgotten([(f"qos1-{moment - NOW:.0f}", moment) for moment in moments], [], twice)
    assert lost == {"qos1-5", "qos1-15"}


def test_what_another_mosquitto_sent_on_late_is_excused_in_number() -> None:
    late = [(f"edge-{number}", NOW - 40.0) for number in range(2)]
    one, two = taken(NOW + 5, "plant/3/kept"), taken(NOW + 6, "plant/3/kept")
    assert forgotten(late, [], restarted(one, two)) == {"edge-0", "edge-1"}
    assert forgotten(late, [], restarted(one, taken(NOW + 6, "plant/1/kept"))) == set()
    assert forgotten(late, [Fault("kill -9", "edge", "", NOW - 39, NOW - 38)], restarted()) == {"edge-0", "edge-1"}


def test_one_that_was_killed_may_have_forgotten_what_it_took_last() -> None:
    lines = [taken(NOW - 8, "out/text"), taken(NOW, "out/text"), at(NOW + 1, STARTING)]
    assert Broker([at(NOW - 9, STARTING), *lines]).forgotten("out/") == 1
    lines.insert(2, at(NOW, "mosquitto version 2.0.11 terminating"))
    assert Broker([at(NOW - 9, STARTING), *lines]).forgotten("out/") == 0


def test_a_message_at_qos_2_that_mosquitto_released_and_sent_again_is_another_one() -> None:
    released = [at(NOW, "Sending PUBREL to gateway-host1 (m626)"), at(NOW, "Sending PUBREL to gateway-host1 (m626)")]
    done = at(NOW, "Received PUBCOMP from gateway-host1 (Mid: 626, RC:0)")
    again = at(NOW, "Sending PUBLISH to gateway-host1 (d1, q2, r0, m626, 'plant/2/kept', ... (8 bytes))")
    runs = [Run("host1", "one", NOW, NOW), Run("host1", "two", NOW + 9, NOW + 9)]
    fault = Fault("cut", "host1", "broker", NOW, NOW + 5)

    def found(what: str, *lines: str) -> int:
        return len(doubled(Book({what: runs}), Counter(), [fault], Broker(lines)))

    assert found("qos2-1", *released, again) == 0
    assert found("qos2-1", *released, done, again) == 1
    assert found("qos2-1", again) == 1
    assert found("own2-1", *released, again) == 1


def test_messages_that_a_client_does_not_acknowledge_are_counted() -> None:
    def sent(id_: int, qos: int) -> str:
        return at(NOW, f"Sending PUBLISH to gateway-host1 (d0, q{qos}, r0, m{id_}, 'plant/1/atomic', ... (8 bytes))")

    answers = [at(NOW, f"Received {kind} from gateway-host1 (Mid: {id_}, RC:0)") for kind, id_ in ANSWERS]
    lines = [sent(1, 1), sent(2, 1), sent(3, 2), sent(4, 2), sent(5, 0), *answers]
    assert Broker(lines).unanswered() == {"gateway-host1": 2}
    assert Broker([*lines, at(NOW, STARTING), sent(2, 1)]).unanswered() == {"gateway-host1": 1}


def test_messages_that_mosquitto_acknowledges_and_drops_are_counted() -> None:
    lines = [at(NOW, f"Sending PUBACK to atomic-qos1 (m{id_}, rc{code})") for id_, code in ((1, 0), (2, 16), (3, 16))]
    assert Broker(lines).refused == {("atomic-qos1", "16"): 2}
