"""What `/metrics` says of servers that live once, where several processes could have them."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from servers.postgresql import database
from servers.site import until
from servers.workers import FILE, Workers

pytestmark = pytest.mark.timeout(120)

QUEUED = 512 * 1024 * 1024
"""Bytes: max_queued_all, if the file does not say it."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Workers]]:
    """Two gateways with one store. The first one has the broker, in one of its two workers."""
    with ExitStack() as stack:
        file = FILE.replace("sqlite:one.db", stack.enter_context(database()).url)
        started = []
        for name in ("first", "second"):
            started.append(site := Workers(tmp_path_factory.mktemp(name), file=file))
            stack.callback(site.close)
            site.all_serve()
        yield started


def test_what_stands_by_in_a_worker_does_not_count_twice(hosts: list[Workers]) -> None:
    first, _ = hosts
    for _ in range(6):
        assert first.metric("gateway_mqtt_queued_limit_bytes") == QUEUED
        assert first.metric("gateway_server_standby") == 0


def test_a_host_whose_server_stands_by_says_so(hosts: list[Workers]) -> None:
    """It has no figures of the broker, which would be those of nothing."""
    first, second = hosts
    assert second.metric("gateway_server_standby") == 1
    assert second.series("gateway_mqtt_queued_limit_bytes") == []
    first.process.terminate()
    first.process.wait(30)
    until(lambda: second.metric("gateway_server_standby") == 0, second.said)
    until(lambda: second.metric("gateway_mqtt_queued_limit_bytes") == QUEUED, second.said)
