"""`etag: true` of an http route: an ETag of the content, and 304."""

from typing import Any

import httpx
import pytest
from contract import LIMIT

from gateway.scopes.http.etag import LONGEST, Tagged
from protocols.http.compression.compressed import Compressed
from protocols.http.compression.settings import Compression
from protocols.http.server import HTTPServer, HTTPSettings

TEXT = b"some text of a page\n" * 200
FIELDS = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=5"), (b"set-cookie", b"a=b")]


def answers(*pieces: bytes, fields: Any = FIELDS, **start: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": fields, **start})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return app


async def ask(app: Any, tag: str = "", method: str = "GET") -> httpx.Response:
    server = HTTPServer(app, HTTPSettings(bind="127.0.0.1:0"), state={})
    async with server, httpx.AsyncClient(base_url=f"http://{server.address}", timeout=LIMIT) as client:
        return await client.request(method, "/", headers={"if-none-match": tag} if tag else {})


@pytest.mark.parametrize("size", [1, 4000, 1_000_000])
async def test_who_has_the_content_gets_304(size: int) -> None:
    app = Tagged(answers(b"x" * size))
    first = await ask(app)
    tag = first.headers["etag"]
    assert (first.status_code, first.content, tag[:3]) == (200, b"x" * size, 'W/"')
    for asked in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
        again = await ask(app, asked)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (again.headers["cache-control"], again.headers.get("content-type")) == ("max-age=5", None)
    assert (await ask(app, '"other"')).status_code == 200


async def test_another_content_has_another_tag() -> None:
    assert (await ask(Tagged(answers(b"a")))).headers["etag"] != (await ask(Tagged(answers(b"b")))).headers["etag"]


async def test_a_head_with_the_body_of_the_get_has_its_tag() -> None:
    app = Tagged(answers(TEXT))
    assert (await ask(app, method="HEAD")).headers["etag"] == (await ask(app)).headers["etag"]


@pytest.mark.parametrize(
    "app",
    [
        answers(b"a", b"b"),
        answers(b""),
        answers(b"a", status=404),
        answers(b"a", fields=[(b"ETag", b'"mine"')]),
        answers(b"a", fields=[(b"cache-control", b"private, No-Store")]),
        answers(b"a" * (LONGEST + 1)),
    ],
)
async def test_other_responses_stay_as_they_are(app: Any) -> None:
    plain, tagged = await ask(app), await ask(Tagged(app), "*")
    assert (tagged.status_code, tagged.content) == (plain.status_code, plain.content)
    assert tagged.headers.get("etag") == plain.headers.get("etag")


async def test_other_methods_get_no_304() -> None:
    answer = await ask(Tagged(answers(TEXT)), "*", method="POST")
    assert (answer.status_code, "etag" in answer.headers) == (200, False)


async def test_a_compressed_response_has_the_same_tag_and_304() -> None:
    app = Compressed(Tagged(answers(TEXT)), Compression(private=True))
    first = await ask(app)
    assert (first.headers["content-encoding"] != "identity", first.content) == (True, TEXT)
    again = await ask(app, first.headers["etag"])
    assert (again.status_code, again.headers["vary"]) == (304, first.headers["vary"])


async def test_a_mistake_of_the_application_is_the_servers_to_find() -> None:
    assert (await ask(Tagged(answers(b"a", fields=5)))).status_code == 500
    assert (await ask(Tagged(answers(b"a", fields=[(b"a", "text")])))).status_code == 500
