"""Who is the client of a request that came through proxies, which URL it called, and what is only claimed."""

import logging
from typing import Any

import httpx
import pytest
from http_peer import Recorder, ask, serving
from hypothesis import given
from hypothesis import strategies as st

from protocols.http.forwarded import MOST, Origin, TrustedProxies
from protocols.http.server import HTTPServer, HTTPSettings

PEER = ("10.0.0.1", 4711)
OURS = ("10.0.0.0/8", "2001:db8:1::/48")
FAMILY = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
USUAL = FAMILY[:2]
LISTENER = ("127.0.0.1", 8000)
Fields = list[tuple[bytes, bytes]]


def origin(fields: Fields, peer: Any = PEER, proxies: tuple[str, ...] = OURS, headers: tuple[str, ...] = USUAL) -> Any:
    return TrustedProxies(proxies, headers).origin(Origin(peer, "http", LISTENER, "/own", fields))


def told(*values: bytes, name: bytes = b"x-forwarded-for") -> Fields:
    return [(name, value) for value in values]


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
        ([b"192.0.2.7:_secret"], ("192.0.2.7", 0)),
        ([b"2001:db8::7"], ("2001:db8::7", 0)),
        ([b"2001:db8::7, 2001:DB8:1::5"], ("2001:db8::7", 0)),
        ([b"[2001:db8::7]:443"], ("2001:db8::7", 443)),
        ([b"[2001:db8::7]"], ("2001:db8::7", 0)),
        ([b"::ffff:192.0.2.7"], ("192.0.2.7", 0)),
        ([b"::ffff:10.9.9.9, 10.2.2.2"], ("10.9.9.9", 0)),
        ([b'fe80::1%" 200 0 "x'], PEER),
        ([b"[fe80::1%eth0]:80"], PEER),
        ([b"\xff"], PEER),
        ([b"10.9.9.9, " * 2 * MOST + b"10.9.9.9"], ("10.9.9.9", 0)),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy_of_ours(values: list[bytes], client: Any) -> None:
    assert origin(told(*values))[:2] == (client, "http")


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
        (b"192.0.2.7, unknown, 10.2.2.2", [b"http, https, http"], "https"),
        (b"", [b"https"], "https"),
    ],
)
def test_the_scheme_is_the_one_by_which_the_client_came(addresses: bytes, schemes: list[bytes], scheme: str) -> None:
    assert origin(told(addresses) + told(*schemes, name=b"x-forwarded-proto")).scheme == scheme


def called(headers: tuple[str, ...] = FAMILY, **fields: bytes) -> Any:
    """What the URL is, with a Host and the ``X-Forwarded-`` fields named so."""
    others = [(f"x-forwarded-{name}".encode(), value) for name, value in fields.items()]
    return origin([(b"host", b"inner:8000"), (b"x-forwarded-for", b"192.0.2.7"), *others], headers=headers)


@pytest.mark.parametrize(
    ("fields", "server", "host"),
    [
        ({}, LISTENER, b"inner:8000"),
        ({"host": b"www.example.org"}, ("www.example.org", 80), b"www.example.org"),
        ({"host": b"www.example.org", "proto": b"https"}, ("www.example.org", 443), b"www.example.org"),
        ({"host": b"www.example.org:8443", "proto": b"https"}, ("www.example.org", 8443), b"www.example.org:8443"),
        ({"host": b"www.example.org", "port": b"8443"}, ("www.example.org", 8443), b"www.example.org:8443"),
        ({"host": b"www.example.org:1", "port": b"80"}, ("www.example.org", 80), b"www.example.org"),
        ({"host": b"[2001:db8::1]:81"}, ("2001:db8::1", 81), b"[2001:db8::1]:81"),
        ({"port": b"8443"}, ("inner", 8443), b"inner:8443"),
        ({"host": b"evil, www.example.org"}, ("www.example.org", 80), b"www.example.org"),
        *(
            ({"host": host}, LISTENER, b"inner:8000")
            for host in (b"", b"a b", b"a/b", b"a:0", b"a:65536", b"user@a", b"a\xff", b"[::1", b"a:80:80")
        ),
        *(({"port": port}, LISTENER, b"inner:8000") for port in (b"0", b"65536", b"-1", b"x", b"8" * 5000, b"\xb2")),
    ],
)
def test_the_server_and_the_host_field_are_those_that_the_client_called(
    fields: dict[str, bytes], server: Any, host: bytes
) -> None:
    found = called(**fields)
    assert found.server == server
    assert [value for name, value in found.headers if name == b"host"] == [host]


@pytest.mark.parametrize(
    ("prefix", "root_path"),
    [
        (b"/shop", "/shop"),
        (b"/shop/", "/shop"),
        (b"/a/b-c.d/~e", "/a/b-c.d/~e"),
        (b"/", ""),
        (b"/evil, /shop", "/shop"),
        *(
            (bad, "/own")
            for bad in (
                b"", b"shop", b"//evil.example", b"/a//b", b"/a/../b", b"/..", b"/./a", b"/a?b", b"/a#b", b"/a b",
                b"/a%2f", b"/a\\b", b"/\xc3\xa9", b"/a;\x7f", b"https://evil.example", b"/" + b"x" * 256,
            )
        ),
    ],
)  # fmt: skip
def test_the_root_path_is_the_prefix_that_the_proxy_strips_if_it_is_a_plain_path(prefix: bytes, root_path: str) -> None:
    assert called(prefix=prefix).root_path == root_path


def test_fields_that_the_file_does_not_name_are_not_looked_at() -> None:
    lies = {"host": b"evil.example", "port": b"1", "prefix": b"/evil"}
    found = called(USUAL, **lies)
    assert (found.server, found.root_path) == (LISTENER, "/own")
    assert (b"host", b"inner:8000") in found.headers
    assert called(("x-forwarded-host",), **lies).client == PEER
    forwarded = [(b"forwarded", b"for=6.6.6.6;proto=https;host=evil.example")]
    assert origin(forwarded)[:3] == (PEER, "http", LISTENER)
    assert origin(told(b"6.6.6.6"), headers=("forwarded",)).client == PEER


@pytest.mark.parametrize(
    ("values", "client", "scheme", "server"),
    [
        ([b"for=192.0.2.7;proto=https;host=www.example.org"], "192.0.2.7", "https", ("www.example.org", 443)),
        ([b'For="192.0.2.7:4711" ; Proto=HTTPS'], ("192.0.2.7", 4711), "https", LISTENER),
        ([b'for="[2001:db8::7]:4711"'], ("2001:db8::7", 4711), "http", LISTENER),
        ([b'for="[2001:db8::7]"'], "2001:db8::7", "http", LISTENER),
        ([b'for="192.0.2.7:_p"'], "192.0.2.7", "http", LISTENER),
        ([rb'for="192\.0.2.7"'], "192.0.2.7", "http", LISTENER),
        ([b'for=192.0.2.7;by="a, b;c=\\"";proto=https'], "192.0.2.7", "https", LISTENER),
        ([b"for=6.6.6.6;proto=https, for=192.0.2.7"], "192.0.2.7", "http", LISTENER),
        ([b"for=6.6.6.6", b"for=192.0.2.7"], "192.0.2.7", "http", LISTENER),
        ([b"for=192.0.2.7;proto=https, for=10.2.2.2;proto=http"], "192.0.2.7", "https", LISTENER),
        ([b"for=192.0.2.7, for=10.2.2.2;proto=https;host=a:81"], "192.0.2.7", "https", ("a", 81)),
        ([b"for=192.0.2.7,, ,"], "192.0.2.7", "http", LISTENER),
        # Somebody whom the proxy does not name: what the proxy says beside that is known, what stands before is not.
        ([b"for=6.6.6.6;host=evil, for=_hidden;proto=https"], PEER, "https", LISTENER),
        ([b"for=6.6.6.6, for=unknown, for=10.2.2.2"], ("10.2.2.2", 0), "http", LISTENER),
        ([b"for=6.6.6.6;host=evil, proto=https"], PEER, "https", LISTENER),
        # A client's quote stays its own.
        ([b'for="6.6.6.6, for=192.0.2.7;proto=https'], "192.0.2.7", "https", LISTENER),
        ([b'for=", for=10.2.2.2'], ("10.2.2.2", 0), "http", LISTENER),
        ([b'x="\\", for=192.0.2.7'], "192.0.2.7", "http", LISTENER),
        ([b'for="', b'";host=evil', b'for="[2001:db8::7]"'], "2001:db8::7", "http", LISTENER),
        # Malformed elements say nothing.
        ([b"for=192.0.2.7;for=6.6.6.6;proto=https"], PEER, "http", LISTENER),
        ([b"for=192.0.2.7 proto=https"], PEER, "http", LISTENER),
        ([b"for 192.0.2.7"], PEER, "http", LISTENER),
        ([b"\xff\x00"], PEER, "http", LISTENER),
        ([b'"' * 8000], PEER, "http", LISTENER),
        ([b"for=10.9.9.9, " * 2 * MOST + b"for=10.9.9.9"], "10.9.9.9", "http", LISTENER),
    ],
)
def test_forwarded_is_read_from_the_right(values: list[bytes], client: Any, scheme: str, server: Any) -> None:
    found = origin(told(*values, name=b"forwarded"), headers=("forwarded",))
    assert found[:3] == ((client, 0) if isinstance(client, str) else client, scheme, server)


@pytest.mark.parametrize("headers", [FAMILY, ("forwarded",)])
@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("::1", 1), None])
def test_what_anybody_else_says_is_not_looked_at(peer: Any, headers: tuple[str, ...]) -> None:
    said = [(name.encode(), b"6.6.6.6") for name in FAMILY] + [(b"forwarded", b"for=6.6.6.6;proto=https;host=x")]
    assert origin(said, peer=peer, headers=headers) == (peer, "http", LISTENER, "/own", said)


def test_the_peers_of_a_unix_socket_can_be_proxies() -> None:
    assert origin(told(b"192.0.2.7"), peer=None, proxies=("unix",))[:2] == (("192.0.2.7", 0), "http")


@pytest.mark.parametrize("junk", [b",", b'",', b'"', b"a,", b"for=10.0.0.1,", b'x="\\",', b" ;=,"])
def test_what_a_client_sends_in_masses_is_not_read(junk: bytes) -> None:
    fields = [junk * (8000 // len(junk))] * 8
    found = origin(told(*fields, b"for=192.0.2.7;proto=https", name=b"forwarded"), headers=("forwarded",))
    assert found[:2] == (("192.0.2.7", 0), "https")
    joined = b",".join([*fields, b"for=192.0.2.7;proto=https"])
    assert origin(told(joined, name=b"forwarded"), headers=("forwarded",))[:2] == (("192.0.2.7", 0), "https")
    assert origin(told(*fields, b"192.0.2.7"))[0] == ("192.0.2.7", 0)


_PIECES = st.sampled_from([b",", b'"', b"\\", b";", b"=", b"for", b"host", b"10.0.0.2", b"[::1]:80", b" ", b"\xff"])
_TEXT = st.one_of(st.binary(max_size=60), st.lists(_PIECES, max_size=20).map(b"".join))
_FIELDS = st.lists(st.tuples(st.sampled_from([name.encode() for name in (*FAMILY, "forwarded", "host")]), _TEXT))


@given(_FIELDS, st.sampled_from([FAMILY, ("forwarded",)]))
def test_any_bytes_give_an_address_a_scheme_a_server_and_a_path(fields: Fields, headers: tuple[str, ...]) -> None:
    found = origin(fields, headers=headers)
    host, port = found.client
    assert host
    assert 0 <= port <= 65535
    assert found.scheme in ("http", "https")
    assert 1 <= found.server[1] <= 65535
    assert found.root_path == "" or found.root_path.startswith("/")
    assert "//" not in found.root_path


@given(_TEXT, st.sampled_from([b", ", b","]))
def test_nothing_that_a_client_writes_changes_what_the_proxy_appends(lie: bytes, comma: bytes) -> None:
    truth = b'for="[2001:db8::7]:1";proto=https;host="www.example.org:8443"'
    found = origin([(b"forwarded", lie + comma + truth)], headers=("forwarded",))
    assert found[:3] == (("2001:db8::7", 1), "https", ("www.example.org", 8443))
    appended = [(b"x-forwarded-for", lie + comma + b"192.0.2.7"), (b"x-forwarded-proto", lie + comma + b"https")]
    assert origin(appended)[:2] == (("192.0.2.7", 0), "https")


async def test_a_reload_changes_the_proxies_of_open_connections() -> None:
    app = Recorder()
    async with serving(app) as server, httpx.AsyncClient(base_url=f"http://{server.address}") as client:
        fields = {"x-forwarded-for": "192.0.2.7"}
        await client.get("/", headers=fields)
        trusted = ("127.0.0.1",)
        await server.become(HTTPServer(app, HTTPSettings(bind=server.settings.bind, trusted_proxies=trusted), state={}))
        await client.get("/", headers=fields)
    before, after = app.scopes
    assert before["client"][0] == "127.0.0.1"
    assert after["client"] == ("192.0.2.7", 0)


async def test_the_path_has_the_prefix_and_the_plain_log_has_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "protocols.http.access")
    app = Recorder()
    options: Any = {"trusted_proxies": ("127.0.0.1",), "trusted_headers": FAMILY, "access_log": True}
    async with serving(app, root_path="/own", **options) as server:
        said = b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Prefix: /shop\r\n"
        await ask(server, b"GET /caf%C3%A9?a=1 HTTP/1.1\r\nHost: a\r\n" + said + b"\r\n")
        await ask(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    told, untold = app.scopes
    assert (told["path"], told["raw_path"], told["root_path"]) == ("/shop/caf\xe9", b"/shop/caf%C3%A9", "/shop")
    assert (untold["path"], untold["root_path"]) == ("/own/", "/own")
    assert "http 192.0.2.7:0 GET" in caplog.text


async def test_the_line_of_a_refusal_names_the_client_if_the_head_could_be_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "protocols")
    head = b"X-Forwarded-For: 203.0.113.7\r\n"
    async with serving(Recorder(), trusted_proxies=("127.0.0.1",), max_body=1) as server:
        await ask(server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + head + b"\r\n")
        await ask(server, b"GET / HTTP/1.1\r\nHost: a b\r\n" + head + b"\r\n")
    read, unread = [each for each in caplog.messages if "; answered 4" in each]
    assert "203.0.113.7" in read
    assert "203.0.113.7" not in unread
    assert "127.0.0.1" in unread
