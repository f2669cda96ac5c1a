"""How a process tells another one that there is something for it."""

from gateway.workers.bell import Bell


def test_it_rings_once_until_it_is_answered() -> None:
    rings: list[int] = []
    bell = Bell(lambda: rings.append(1))
    for _ in range(1000):
        bell.ring()
    assert len(rings) == 1


def test_what_came_before_the_answer_is_told_after_it() -> None:
    rings: list[int] = []
    bell = Bell(lambda: rings.append(1))
    for _ in range(3):
        bell.ring()
    bell.answered()
    assert len(rings) == 2
    bell.answered()
    assert len(rings) == 2
    bell.ring()
    assert len(rings) == 3
