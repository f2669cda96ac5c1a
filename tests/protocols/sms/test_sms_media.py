"""Media of texts are fetched from a real server, within bounds, and never from where no text may lead."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway import AsyncSMSConsumer, SMSConsumer
from gateway.testing import InMemoryGateway, SMSCommunicator
from protocols.secret import Secret
from protocols.sms import MediaNotFetched, TwilioSettings, provider_for
from protocols.sms.media import MediaLimits, fetch, is_public

LIMITS = MediaLimits(1000, 5.0, ("image/", "application/pdf"), private=True)
PICTURE = b"\x89PNG\r\n" + bytes(range(200))


def no_login(url: str) -> Mapping[str, str]:
    return {}


PNG = {"content-type": "image/png"}
ANSWERS: Mapping[str, tuple[int, Mapping[str, str], bytes]] = {
    "picture": (200, PNG, PICTURE),
    "parameters": (200, {"content-type": "Image/PNG; name=x"}, PICTURE),
    "html": (200, {"content-type": "text/html"}, b"<script>"),
    "untyped": (200, {"content-type": ""}, PICTURE),
    "large": (200, PNG, b"x" * 1001),
    "exact": (200, PNG, b"x" * 1000),
    "bomb": (200, {**PNG, "content-encoding": "gzip"}, b"x"),
    "loop": (307, {"location": "/loop"}, b""),
    "nowhere": (302, {}, b""),
}


class Server:
    """Answers by the path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.location = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        path = request.path.strip("/")
        if path in ("endless", "slow"):
            return await self._endless(request, 0.05 if path == "slow" else 0.0)
        if path == "moved":
            return web.Response(status=302, headers={"location": self.location})
        status, headers, body = ANSWERS.get(path, (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)

    async def _endless(self, request: web.Request, pause: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "image/png"})
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x")
            await asyncio.sleep(pause)
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    made.url = f"http://127.0.0.1:{made.port}"  # type: ignore[attr-defined]
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("path", ["picture", "parameters"])
async def test_a_picture_is_fetched_with_its_type(server: Any, path: str) -> None:
    found = await fetch(f"{server.url}/{path}", no_login, LIMITS)
    assert (found.content, found.content_type) == (PICTURE, "image/png")
    assert "authorization" not in server.asked[0].headers
    assert "cookie" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("html", "the media is 'text/html', which is not one of image/, application/pdf"),
        ("untyped", "which is not one of"),
        ("large", "the media has more than 1000 bytes"),
        ("endless", "the media has more than 1000 bytes|gave no response"),
        ("bomb", "the media is compressed, which was not asked for"),
        ("absent", "the media's server answered 404"),
        ("loop", "leads on more than 5 times"),
        ("nowhere", "leads on more than 5 times"),
    ],
)
async def test_what_is_not_fetched(server: Any, path: str, sentence: str) -> None:
    limits = replace(LIMITS, size=900) if path == "endless" else LIMITS
    with pytest.raises(MediaNotFetched, match=sentence.replace("1000", str(limits.size))):
        await fetch(f"{server.url}/{path}", no_login, limits)
    assert len(server.asked) <= 6


async def test_media_of_the_greatest_size_is_fetched(server: Any) -> None:
    assert len((await fetch(f"{server.url}/exact", no_login, LIMITS)).content) == 1000


async def test_a_server_that_sends_slowly_has_one_time_for_all(server: Any) -> None:
    with pytest.raises(MediaNotFetched, match=r"did not arrive within 0\.2 s"):
        await fetch(f"{server.url}/slow", no_login, replace(LIMITS, seconds=0.2))


async def test_a_server_that_says_nothing_or_breaks_off_is_one_sentence() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 500\r\n\r\nhalf")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(MediaNotFetched, match="the media gave no response: ClientPayloadError"):
            await fetch(f"http://127.0.0.1:{port}/x", no_login, LIMITS)
    with pytest.raises(MediaNotFetched, match="the media gave no response"):
        await fetch(f"http://127.0.0.1:{port}/x", no_login, LIMITS)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    ],
)
async def test_an_address_of_this_machine_is_never_asked(server: Any, host: str) -> None:
    with pytest.raises(MediaNotFetched, match=r"at an address that is not public|gave no response"):
        await fetch(f"http://{host}:{server.port}/picture", no_login, replace(LIMITS, private=False))
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        *((each, False) for each in ("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1")),
        *((each, False) for each in ("224.0.0.1", "255.255.255.255", "240.0.0.1", "0.0.0.0", "192.0.2.1")),
        *((each, False) for each in ("fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1")),
        *((each, False) for each in ("64:ff9b::a9fe:a9fe", "2002:a00:1::", "::1", "::")),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_is_resolved_once_and_one_private_address_is_enough(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        asked.append(host)
        made = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**made, "host": "8.8.8.8"}, {**made, "host": "127.0.0.1"}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(MediaNotFetched, match="at an address that is not public"):
        await fetch(f"http://rebind.example:{server.port}/picture", no_login, replace(LIMITS, private=False))
    assert asked == ["rebind.example"]
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.org/x", "data:image/png,x", "javascript:1", "//example.org/x", "", "x"),
        *("http://", "http://[", "http://user:pass@example.org/x", "gopher://127.0.0.1:25/x", "http://a b/"),
    ],
)
async def test_what_is_no_url_is_one_sentence(url: str) -> None:
    with pytest.raises(MediaNotFetched):
        await fetch(url, no_login, LIMITS)


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "file:///etc/passwd", "http://[::1]/x"])
async def test_a_redirect_leads_to_no_private_address(server: Any, target: str, monkeypatch: Any) -> None:
    server.location = target
    first = MediaLimits(1000, 5.0, ("image/",), private=False)
    checked: list[str] = []
    from protocols.sms import media

    check = media._check

    def only_the_first_is_allowed(url: Any, private: bool) -> None:
        checked.append(str(url))
        check(url, private or len(checked) == 1)

    monkeypatch.setattr(media, "_check", only_the_first_is_allowed)
    with pytest.raises(MediaNotFetched, match=r"not public|no URL with http"):
        await fetch(f"{server.url}/moved", no_login, first)
    assert len(checked) == 2
    assert len(server.asked) == 1


async def test_the_login_goes_to_the_provider_and_no_further(server: Any) -> None:
    settings = TwilioSettings(
        on="web", path="/", auth_token=Secret("tok"), account_sid="AC1", api_url=f"http://127.0.0.1:{server.port}"
    )
    provider = provider_for(settings)
    server.location = f"http://localhost:{server.port}/picture"
    found = await fetch(f"{server.url}/moved", provider.media_login, LIMITS)
    assert found.content == PICTURE
    basic = f"Basic {base64.b64encode(b'AC1:tok').decode()}"
    assert [request.headers.get("authorization") for request in server.asked] == [basic, None]


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.twilio.com/x", "https://api.twilio.com.evil.example/x", "https://api.twilio.com@evil.example/"),
        *("https://evil.example/api.twilio.com", "https://api.twilio.com:8443/x"),
    ],
)
def test_twilios_login_is_for_its_own_origin(url: str) -> None:
    provider = provider_for(TwilioSettings(on="web", path="/", auth_token=Secret("tok"), account_sid="AC1"))
    assert provider.media_login(url) == {}
    assert provider.media_login("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1") != {}


class Album(SMSConsumer):
    media_private = True

    def receive(self, text: str, media: Any) -> None:
        found = self.fetch_media(media[0])
        self.reply(f"{len(found.content)} {found.content_type}")


class AsyncAlbum(AsyncSMSConsumer):
    media_private = True

    async def receive(self, text: str, media: Any) -> None:
        found = await self.fetch_media(media[0])
        await self.reply(f"{len(found.content)} {found.content_type}")


@pytest.mark.parametrize("form", [Album, AsyncAlbum])
async def test_a_consumer_fetches_what_came_with_a_text(server: Any, form: Any) -> None:
    text = SMSCommunicator(form.as_asgi(), "look", media=[f"{server.url}/picture"])
    await text.get_verdict()
    assert [reply.text for reply in text.replies] == [f"{len(PICTURE)} image/png"]


async def test_by_default_a_consumer_asks_no_private_address(server: Any) -> None:
    class Careful(AsyncAlbum):
        media_private = False

    with pytest.raises(MediaNotFetched, match="not public"):
        await SMSCommunicator(Careful.as_asgi(), "look", media=[f"{server.url}/picture"]).get_verdict()
    assert server.asked == []


async def test_a_gateway_gives_the_login_of_the_texts_own_server(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gateway.yaml").write_text(f"""
servers:
  web: {{protocol: http, bind: 127.0.0.1:0}}
  texts:
    {{protocol: sms, provider: twilio, on: web, path: /sms, auth_token: tok, account_sid: AC1, api_url: "{server.url}"}}
routes: {{sms: album_handlers.Album}}
""")
    (tmp_path / "album_handlers.py").write_text(
        "from gateway import SMSConsumer\n\n\nclass Album(SMSConsumer):\n    media_private = True\n\n"
        "    def receive(self, text, media):\n        self.reply(self.fetch_media(media[0]).content_type)\n"
    )
    async with InMemoryGateway(tmp_path / "gateway.yaml") as gateway:
        await gateway.sms("look", media=[f"{server.url}/picture"]).get_verdict()
    assert [reply.text for reply in gateway.outbox.texts] == ["image/png"]
    assert server.asked[0].headers["authorization"].startswith("Basic ")
