"""The sockets that a parent binds for its workers."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.ports import free_port

from gateway.workers import sockets
from gateway.workers.sockets import Sockets, Wanted
from protocols.errors import BindError
from protocols.units import parse_address

WORKERS = 3


@pytest.fixture
def kept() -> Iterator[Sockets]:
    kept = Sockets(WORKERS)
    yield kept
    kept.close()


async def of(kept: Sockets, slot: int, bind: str, **more: object) -> list[socket.socket]:
    return await kept.of(slot, Wanted(parse_address(bind), **more), backlog=16, private=False)


async def test_each_slot_has_a_socket_and_its_successor_the_same(kept: Sockets) -> None:
    bind = f"127.0.0.1:{free_port()}"
    found = [await of(kept, slot, bind) for slot in (*range(WORKERS), 1)]
    assert len({each.fileno() for [each] in found}) == WORKERS
    assert found[3] == found[1]
    assert {each.getsockname() for [each] in found} == {("127.0.0.1", int(bind.rpartition(":")[2]))}


async def test_a_port_that_the_system_chooses_is_one_for_all_slots(kept: Sockets) -> None:
    found = [await of(kept, slot, "127.0.0.1:0", server="web") for slot in range(WORKERS)]
    [other] = await of(kept, 0, "127.0.0.1:0", server="other")
    assert len({each.getsockname() for [each] in found}) == 1
    assert other.getsockname() != found[0][0].getsockname()


async def test_what_lives_once_has_one_queue(kept: Sockets) -> None:
    bind = f"127.0.0.1:{free_port()}"
    assert len({(await of(kept, slot, bind, once=True))[0].fileno() for slot in range(WORKERS)}) == 1


async def test_a_name_has_a_socket_for_each_of_its_addresses(kept: Sockets) -> None:
    port = free_port()
    found = await of(kept, 0, f"localhost:{port}")
    loop = asyncio.get_running_loop()
    known = await loop.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    assert {each.getsockname()[0] for each in found} == {place[0] for *_, place in known}


async def test_a_unix_socket_is_one_for_all_and_its_path_is_removed(kept: Sockets, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    assert await of(kept, 0, f"unix:{path}") == await of(kept, 1, f"unix:{path}")
    assert path.exists()
    kept.keep([])
    assert not path.exists()


async def test_an_address_that_others_share_is_refused(kept: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PATIENCE", 0.0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BindError, match="the address is already in use"):
            await of(kept, 0, f"127.0.0.1:{other.getsockname()[1]}")


async def test_an_address_that_is_left_soon_is_waited_for(kept: Sockets) -> None:
    other = socket.create_server(("127.0.0.1", 0))
    asyncio.get_running_loop().call_later(0.2, other.close)
    [found] = await of(kept, 0, f"127.0.0.1:{other.getsockname()[1]}")
    assert found.fileno() >= 0


async def test_what_nobody_listens_on_any_more_is_closed(kept: Sockets) -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    [gone], [stays] = await of(kept, 0, first), await of(kept, 0, second)
    kept.keep([Wanted(parse_address(second))])
    assert (gone.fileno(), stays.fileno() >= 0) == (-1, True)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(first.rpartition(":")[2]))) == errno.ECONNREFUSED


async def test_a_system_that_does_not_share_out_connections_has_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SHARES", False)
    kept = Sockets(WORKERS)
    bind = f"127.0.0.1:{free_port()}"
    assert len({(await of(kept, slot, bind))[0].fileno() for slot in range(WORKERS)}) == 1
    kept.close()
