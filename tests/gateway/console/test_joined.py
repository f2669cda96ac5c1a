"""Answers of several workers become one."""

from gateway.console import joined


def page(entries: list[dict[str, object]], after: str | None = None) -> dict[str, object]:
    return {"entries": entries, "total": len(entries) + (after is not None), "next": after}


def client(since: float, server: str = "web", **more: object) -> dict[str, object]:
    return {"since": since, "server": server, **more}


def test_pages_are_put_in_one_order_and_cut() -> None:
    one, other = page([client(1), client(4)]), page([client(2), client(3)])
    found = joined.pages("since")([one, other], {"limit": 3, "by": None})
    assert [each["since"] for each in found["entries"]] == [1, 2, 3]
    assert found["total"] == 4
    assert found["next"] == joined.cursor([0, 3, "web"])


def test_the_last_page_has_no_next_one() -> None:
    found = joined.pages("since")([page([client(1)]), page([])], {"limit": 3, "by": None})
    assert (found["total"], found["next"]) == (1, None)


def test_a_page_goes_on_if_any_worker_has_more() -> None:
    found = joined.pages("since")([page([client(1)], "more"), page([])], {"limit": 1, "by": None})
    assert (found["total"], found["next"]) == (2, joined.cursor([0, 1, "web"]))


def test_those_with_the_most_come_first() -> None:
    one, other = page([client(1, sent=5)]), page([client(2, sent=7), client(3)])
    found = joined.pages("since")([one, other], {"limit": 9, "by": "sent"})
    assert [each["since"] for each in found["entries"]] == [2, 1, 3]


def test_what_was_removed_is_added_up() -> None:
    assert joined.removed([{"found": 2, "removed": 0}, {"found": 3, "removed": 0}], {}) == {"found": 5, "removed": 0}


def server(state: str, **active: int) -> dict[str, object]:
    return {"name": "devices", "state": state, "address": state, "active": active}


def test_a_server_is_in_the_state_that_it_has_where_it_serves() -> None:
    answers = [{"servers": [server("standby", http=1)]}, {"servers": [server("ready", http=2, mqtt=1)]}]
    assert joined.servers(answers, {}) == {"servers": [server("ready", http=3, mqtt=1)]}


def rates(rate: float | None, errors: float | None, p99: float | None, *at: float) -> dict[str, object]:
    history = [{"at": each, "rate": rate, "error_share": errors, "p50": p99, "p99": p99} for each in at]
    return {"type": "http", "rate": rate, "error_share": errors, "p50": p99, "p99": p99, "history": history}


def test_rates_are_added_up_and_the_longest_time_counts() -> None:
    one, other = rates(1, 1.0, 0.5, 10, 20), rates(3, 0.0, None, 21)
    [found] = joined.routes([{"routes": [one], "unrouted": []}, {"routes": [other], "unrouted": []}], {})["routes"]
    assert (found["rate"], found["error_share"], found["p99"]) == (4, 0.25, 0.5)
    assert [(each["at"], each["rate"]) for each in found["history"]] == [(20, 4)]


def test_a_route_without_traffic_has_no_rate() -> None:
    nothing = rates(None, None, None)
    [found] = joined.routes([{"routes": [nothing], "unrouted": []}] * 2, {})["routes"]
    assert (found["rate"], found["error_share"], found["p50"]) == (None, None, None)
