"""A person logs in: by a code that is typed elsewhere, or in a browser that comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from servers.token_endpoint import USER, TokenEndpoint, token_endpoint
from waiting import until

from protocols.mail.oauth.device import device_login
from protocols.mail.oauth.google import desktop_client, read_json
from protocols.mail.oauth.loopback import _Answer, loopback_login
from protocols.mail.oauth.microsoft_auth import MicrosoftAuth
from protocols.mail.oauth.source import TokenRefused


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as served:
        yield served


def microsoft(endpoint: TokenEndpoint) -> MicrosoftAuth:
    return MicrosoftAuth(authority=endpoint.url, client_id="app")


async def test_a_code_is_typed_elsewhere(endpoint: TokenEndpoint) -> None:
    shown: list[str] = []
    login = asyncio.ensure_future(device_login(microsoft(endpoint), shown.append))
    await until(lambda: len(endpoint.forms) >= 3)  # it is asked again while nobody has typed the code
    assert shown == [f"Open {endpoint.url}/device in a browser, on any machine, and type the code ABCD-1234"]
    endpoint.approved.set()
    assert await login in endpoint.refresh_tokens
    assert endpoint.forms[0]["scope"].split()[-1] == "offline_access"


async def test_a_server_in_trouble_does_not_end_the_login(endpoint: TokenEndpoint) -> None:
    endpoint.approved.set()
    endpoint.answers = [(503, ""), (400, '{"error": "authorization_pending"}')]
    assert await device_login(microsoft(endpoint), lambda _: None) in endpoint.refresh_tokens


async def test_a_person_may_refuse(endpoint: TokenEndpoint) -> None:
    endpoint.answers = [(400, '{"error": "authorization_declined"}')]
    with pytest.raises(TokenRefused, match="authorization_declined"):
        await device_login(microsoft(endpoint), lambda _: None)


class Person:
    """A person at a browser, who may have to type, too."""

    def __init__(self, endpoint: TokenEndpoint, folder: Path) -> None:
        self.shown: list[str] = []
        self.typed = asyncio.Queue[str]()
        path = str(endpoint.desktop_client(folder))
        self.client = desktop_client(path, read_json(path))

    async def lines(self) -> AsyncIterator[str]:
        while True:
            yield await self.typed.get()

    def begin(self) -> "asyncio.Future[str]":
        return asyncio.ensure_future(loopback_login(self.client, USER, self.shown.append, self.lines()))

    async def address(self) -> str:
        await until(lambda: len(self.shown) == 2)
        return self.shown[0].split("\n\n")[1].strip()


@pytest.fixture
def person(endpoint: TokenEndpoint, tmp_path: Path) -> Person:
    return Person(endpoint, tmp_path)


async def get(url: str, **options: Any) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **options) as response:
        return response.status, await response.text(), response.headers.get("location", "")


async def test_a_browser_comes_back(endpoint: TokenEndpoint, person: Person) -> None:
    login = person.begin()
    assert (await get(await person.address()))[:2] == (
        200,
        "The gateway has the answer. You can close this window; the terminal says how it ended.",
    )
    assert await login in endpoint.refresh_tokens


async def test_a_browser_on_another_machine_shows_an_address_that_is_pasted(
    endpoint: TokenEndpoint, person: Person
) -> None:
    login = person.begin()
    status, _, address = await get(await person.address(), allow_redirects=False)
    assert status == 302
    await person.typed.put("what?\n")
    await until(lambda: person.shown[-1].startswith("That is not the address."))
    await person.typed.put(f"  {address}\n")
    assert await login in endpoint.refresh_tokens


async def test_another_sites_page_cannot_log_in_with_its_own_code(endpoint: TokenEndpoint, person: Person) -> None:
    login = person.begin()
    redirect = (await get(await person.address(), allow_redirects=False))[2].partition("?")[0]
    assert (await get(f"{redirect}?code=evil&state=guessed"))[0] == 400
    assert (await get(f"{redirect}?code=evil"))[0] == 400
    assert not login.done()
    login.cancel()


async def test_a_person_may_say_no_in_the_browser(endpoint: TokenEndpoint, person: Person) -> None:
    login = person.begin()
    address = (await get(await person.address(), allow_redirects=False))[2]
    await get(address.replace("code=", "error=access_denied&was="))
    with pytest.raises(TokenRefused, match=r"^the login was refused: 'access_denied'$"):
        await login


async def test_what_is_no_answer_does_not_end_the_login(endpoint: TokenEndpoint, person: Person) -> None:
    """Neither in the browser, where it was a traceback, nor typed, after which nothing that was pasted counted."""
    login = person.begin()
    address = (await get(await person.address(), allow_redirects=False))[2]
    many = "&".join(f"a{number}=1" for number in range(100))
    assert (await get(f"{address.partition('?')[0]}?{many}"))[0] == 400
    for typed in (f"http://127.0.0.1/?{many}", "http://[::1/?code=1", "\ufffd"):
        said = len(person.shown)
        await person.typed.put(f"{typed}\n")
        await until(lambda said=said: len(person.shown) > said)
    await person.typed.put(address)
    assert await login in endpoint.refresh_tokens


async def test_a_browser_may_come_twice() -> None:
    answer = _Answer("state")
    assert [answer.take("state=state&code=1"), answer.take("state=state&code=1")] == [True, True]
    assert not answer.take("state=other&code=1")
    assert await answer.code == "1"


@pytest.mark.parametrize("numbers", ['"interval": NaN', '"interval": -1', f'"expires_in": 1{"0" * 400}'])
async def test_odd_numbers_of_a_login_server(endpoint: TokenEndpoint, numbers: str) -> None:
    endpoint.device_answer = '{"device_code": "a-device", "user_code": "\\u001b[1mA", "verification_uri": "x", %s}' % (
        numbers if "expires_in" in numbers else f'"expires_in": 900, {numbers}'
    )
    endpoint.approved.set()
    shown: list[str] = []
    with contextlib.suppress(TokenRefused):
        assert await device_login(microsoft(endpoint), shown.append) in endpoint.refresh_tokens
    assert all(line.isprintable() for line in shown)
