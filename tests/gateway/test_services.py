"""Two sets of services side by side: each connection, task and thread finds those of its own gateway."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from own_services import installed

from gateway.services import Service, entered
from gateway.threads import run_in_thread
from protocols import HTTPServer, HTTPSettings

name: Service[str] = Service("name")


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the name that is found here, in a task of the loop and in a thread."""
    found = f"{name.get()} {await run_in_thread(name.get)}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": found.encode()})


async def started(given: str) -> HTTPServer:
    with entered({name: given}):
        server = HTTPServer(tell, HTTPSettings(bind="127.0.0.1:0"), name=given, state={})
        await server.start()
    return server


async def test_a_connection_has_the_services_of_the_server_that_accepted_it() -> None:
    one, other = await started("one"), await started("other")
    async with httpx.AsyncClient() as client:
        answers = [(await client.get(f"http://{each.address}/")).text for each in (one, other, one)]
    assert answers == ["one one", "other other", "one one"]
    for server in (one, other):
        await server.stop(1.0)


async def test_tasks_have_the_services_of_what_started_them() -> None:
    async def find() -> str:
        return name.get()

    with entered({name: "one"}):
        task = asyncio.ensure_future(find())
    with entered({name: "other"}):
        assert await task == "one"
        assert await find() == "other"


def test_a_thread_that_belongs_to_no_gateway_has_those_of_the_installed_one() -> None:
    found: list[str] = []
    with installed({name: "installed"}), entered({name: "entered"}):
        thread = threading.Thread(target=lambda: found.append(name.get()))
        thread.start()
        thread.join()
        assert (found, name.get()) == (["installed"], "entered")


def test_a_service_that_the_gateway_does_not_have() -> None:
    assert Service("colour", "grey").get() == "grey"
    with pytest.raises(LookupError, match=r"^there is no name here: no gateway that has one is running$"):
        name.get()
