"""Channels' middleware in front of our router and consumers gives them ``scope["user"]`` and ``scope["session"]``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import asyncio, logging, sys

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    USE_TZ=True,
)
django.setup()

from asgiref.sync import async_to_sync
from channels.auth import AuthMiddlewareStack, login, logout
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import path
from websockets.asyncio.client import connect

from gateway import AsyncWebsocketConsumer, HttpConsumer, ProtocolTypeRouter, URLRouter, WebsocketConsumer
from protocols import HTTPServer, HTTPSettings

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)


class Page(HttpConsumer):
    def handle(self, body):
        if self.scope["path"] == "/login/":
            async_to_sync(login)(self.scope, User.objects.get(username=body.decode()))
            self.scope["session"]["visits"] = 1
            self.scope["session"].save()
        elif self.scope["path"] == "/logout/":
            async_to_sync(logout)(self.scope)
        self.respond(str(self.scope["user"]))


class Socket(WebsocketConsumer):
    def connect(self, message):
        self.accept() if self.scope["user"].is_authenticated else self.close()

    def receive(self, text):
        session = self.scope["session"]
        session["visits"] += 1
        session.save()
        self.send(f"{self.scope['user']} {session['visits']} {self.scope['url_route']['kwargs']}")


class AsyncSocket(AsyncWebsocketConsumer):
    async def receive(self, text):
        await self.send(str(self.scope["user"]))


application = ProtocolTypeRouter({
    "http": AuthMiddlewareStack(URLRouter([path(name, Page) for name in ("login/", "logout/", "me/")])),
    "websocket": AuthMiddlewareStack(URLRouter([path("rooms/<int:room>/", Socket), path("async/", AsyncSocket)])),
})


async def main():
    import httpx

    async with HTTPServer(application, HTTPSettings(bind="127.0.0.1:0")) as server:
        http, ws = f"http://{server.address}", f"ws://{server.address}"
        try:
            async with connect(f"{ws}/rooms/1/"):
                print("let in")
        except Exception as error:
            print("anonymous", error.response.status_code)
        async with connect(f"{ws}/async/") as peer:
            await peer.send("")
            print(await peer.recv())
        async with httpx.AsyncClient(base_url=http) as client:
            for method, url, body in (("GET", "/me/", ""), ("POST", "/login/", "ann"), ("GET", "/me/", "")):
                print(url, (await client.request(method, url, content=body)).text)
            cookie = {"Cookie": f"sessionid={client.cookies['sessionid']}"}
            for _ in range(2):
                async with connect(f"{ws}/rooms/17/", additional_headers=cookie) as peer:
                    await peer.send("")
                    print(await peer.recv())
            async with connect(f"{ws}/async/", additional_headers=cookie) as peer:
                await peer.send("")
                print(await peer.recv())
            print("/logout/", (await client.post("/logout/")).text)
            print("/me/", (await client.get("/me/")).text)


call_command("migrate", verbosity=0)
User.objects.create_user("ann")
asyncio.run(main())
"""


def test_users_and_sessions_reach_our_consumers_through_the_middleware_of_channels(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, "script.py", "db.sqlite3"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "anonymous 403",
        "AnonymousUser",
        "/me/ AnonymousUser",
        "/login/ ann",
        "/me/ ann",
        "ann 2 {'room': 17}",
        "ann 3 {'room': 17}",
        "ann",
        "/logout/ AnonymousUser",
        "/me/ AnonymousUser",
    ]
