"""Who is the client of a request that came through proxies, and who is only said to be."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from contract import LIMIT
from http_peer import Recorder, serving
from hypothesis import given
from hypothesis import strategies as st
from servers.certificates import make
from servers.nginx import Nginx

from protocols.http.forwarded import MOST, Proxies
from protocols.http.server import HTTPServer, HTTPSettings

PEER = ("10.0.0.1", 4711)
OURS = ("10.0.0.0/8", "2001:db8:1::/48")
STRANGER = "127.0.0.2"
"""An address of this machine, which is no proxy."""


def origin(*fields: tuple[bytes, bytes], peer: Any = PEER, proxies: tuple[str, ...] = OURS) -> Any:
    return Proxies(proxies).origin(peer, "http", fields)


def told(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], PEER),
        ([b""], PEER),
        ([b"192.0.2.7"], ("192.0.2.7", 0)),
        ([b"6.6.6.6, 192.0.2.7"], ("192.0.2.7", 0)),
        ([b"6.6.6.6", b"192.0.2.7"], ("192.0.2.7", 0)),
        ([b"192.0.2.7", b"10.2.2.2,10.3.3.3"], ("192.0.2.7", 0)),
        ([b"10.2.2.2, 10.3.3.3"], ("10.2.2.2", 0)),
        ([b"192.0.2.7, nonsense"], PEER),
        ([b"192.0.2.7, unknown, 10.3.3.3"], ("10.3.3.3", 0)),
        ([b"192.0.2.7:4711"], ("192.0.2.7", 4711)),
        ([b"192.0.2.7:65536"], PEER),
        ([b"2001:db8::7"], ("2001:db8::7", 0)),
        ([b"2001:db8::7, 2001:DB8:1::5"], ("2001:db8::7", 0)),
        ([b"[2001:db8::7]:443"], ("2001:db8::7", 443)),
        ([b"[2001:db8::7]"], ("2001:db8::7", 0)),
        ([b"::ffff:192.0.2.7"], ("192.0.2.7", 0)),
        ([b"\xff"], PEER),
        ([b"10.9.9.9, " * 2 * MOST + b"10.9.9.9"], ("10.9.9.9", 0)),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy_of_ours(values: list[bytes], client: Any) -> None:
    assert origin(*told(*values)) == (client, "http")


@pytest.mark.parametrize(
    ("addresses", "schemes", "scheme"),
    [
        (b"192.0.2.7", [b"https"], "https"),
        (b"192.0.2.7", [b"HTTPS"], "https"),
        (b"192.0.2.7", [b"wss"], "https"),
        (b"192.0.2.7", [b"gopher"], "http"),
        (b"192.0.2.7", [b"https", b"http"], "http"),
        (b"192.0.2.7, 10.2.2.2", [b"https, http"], "https"),
        (b"6.6.6.6, 192.0.2.7, 10.2.2.2", [b"https, http, https"], "http"),
        (b"192.0.2.7, 10.2.2.2, 10.3.3.3", [b"https"], "https"),
        (b"", [b"https"], "https"),
    ],
)
def test_the_scheme_is_the_one_by_which_the_client_came(addresses: bytes, schemes: list[bytes], scheme: str) -> None:
    assert origin(*told(addresses), *((b"x-forwarded-proto", each) for each in schemes))[1] == scheme


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("::1", 1), None, ("/run/x.sock", None)])
def test_what_anybody_else_says_is_not_looked_at(peer: Any) -> None:
    assert origin(*told(b"6.6.6.6"), (b"x-forwarded-proto", b"https"), peer=peer) == (peer, "http")


@pytest.mark.parametrize("peer", [None, ("/run/x.sock", None)])
def test_the_peers_of_a_unix_socket_can_be_proxies(peer: Any) -> None:
    assert origin(*told(b"192.0.2.7"), peer=peer, proxies=("unix",)) == (("192.0.2.7", 0), "http")


def test_forwarded_is_not_read_because_a_proxy_may_pass_it_on_from_strangers() -> None:
    assert origin((b"forwarded", b"for=6.6.6.6;proto=https")) == (PEER, "http")


@given(st.lists(st.binary(max_size=60)), st.lists(st.binary(max_size=20)))
def test_any_bytes_give_an_address_and_a_scheme(addresses: list[bytes], schemes: list[bytes]) -> None:
    (host, port), scheme = origin(*told(*addresses), *((b"x-forwarded-proto", each) for each in schemes))
    assert host
    assert 0 <= port <= 65535
    assert scheme in ("http", "https")


@pytest.mark.parametrize("secure", [False, True])
async def test_behind_nginx_strangers_cannot_say_who_they_are(tmp_path: Path, secure: bool) -> None:
    app = Recorder()
    async with serving(app, proxies=("127.0.0.1",)) as server:
        behind = int(server.address.rpartition(":")[2])
        nginx = Nginx(tmp_path / "nginx", behind, make(tmp_path) if secure else None)
        lies = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"), ("X-Forwarded-Proto", "https")]
        transport = httpx.AsyncHTTPTransport(local_address=STRANGER, verify=False)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=LIMIT) as client:
                scheme = "https" if secure else "http"
                await client.get(f"{scheme}://127.0.0.1:{nginx.port}/", headers=lies)
                await client.get(f"http://127.0.0.1:{behind}/", headers=lies)
        finally:
            nginx.close()
    through, direct = app.scopes
    assert through["client"] == (STRANGER, 0)
    assert through["scheme"] == scheme
    assert direct["client"][0] == STRANGER
    assert direct["client"][1] > 0
    assert direct["scheme"] == "http"


async def test_a_reload_changes_the_proxies_of_open_connections() -> None:
    app = Recorder()
    async with serving(app) as server, httpx.AsyncClient(base_url=f"http://{server.address}") as client:
        fields = {"x-forwarded-for": "192.0.2.7"}
        await client.get("/", headers=fields)
        proxies = ("127.0.0.1",)
        await server.become(HTTPServer(app, HTTPSettings(bind=server.settings.bind, proxies=proxies), state={}))
        await client.get("/", headers=fields)
    before, after = app.scopes
    assert before["client"][0] == "127.0.0.1"
    assert after["client"] == ("192.0.2.7", 0)
