"""Pages that stay open while something changes, in a real Chromium: a login ends, another process takes over."""

from pathlib import Path

import httpx
import pytest
from servers.browser import Browser
from servers.command import run
from servers.console import ConsolePages, console_pages
from servers.ports import free_port
from servers.site import until

from protocols.access.users import hash_password

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]

HANDLERS = """
from gateway import AsyncHttpConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")
"""
HASH, OTHER = hash_password(b"right"), hash_password(b"other")


def config(port: int) -> str:
    return f'servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}\nroutes: {{http: handlers.Web}}\n'


def log_in(console: ConsolePages, then: str) -> Browser:
    window = console.open(f"/login?next={then}")
    log_in_here(window)
    until(lambda: window.run("return location.pathname") == then, "it is logged in")
    return window


def log_in_here(window: Browser) -> None:
    window.run("username.value = 'ann'; password.value = 'right'; document.querySelector('main button').click()")


def is_at_login(window: Browser, then: str) -> bool:
    found: str = window.run("return location.pathname + location.search")
    return found == f"/login?next={then}"


def stop(console: ConsolePages) -> None:
    """Stop all processes of the daemon: the first one passes the signal on."""
    console.daemon.process.terminate()
    console.daemon.process.wait(20)


def lives(window: Browser) -> None:
    until(lambda: window.run("return document.getElementById('pause')?.hidden === false"), "its script runs")


@pytest.mark.parametrize("becomes", [f"ann: '{OTHER}'", f"eve: '{HASH}'"], ids=["password", "user"])
def test_a_reload_ends_the_logins_of_open_pages(tmp_path: Path, becomes: str) -> None:
    port = free_port()
    with console_pages(tmp_path, config(port), HANDLERS, f", users: {{ann: '{HASH}'}}") as console:
        window = log_in(console, "/live")
        lives(window)
        file = tmp_path / "gateway.yaml"
        file.write_text(file.read_text().replace(f"ann: '{HASH}'", becomes))
        reloaded = run(tmp_path, "reload")
        assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
        until(lambda: is_at_login(window, "/live"), "the stream has ended, and the page asks for a login", 40.0)
        assert httpx.get(f"{console.url}/api/status").status_code == 401


@pytest.mark.parametrize("becomes", [f"ann: '{OTHER}'", f"eve: '{HASH}'"], ids=["password", "user"])
def test_a_page_with_figures_asks_for_a_login_that_has_ended(tmp_path: Path, becomes: str) -> None:
    with console_pages(tmp_path, config(free_port()), HANDLERS, f", users: {{ann: '{HASH}'}}") as console:
        window = log_in(console, "/")
        file = tmp_path / "gateway.yaml"
        file.write_text(file.read_text().replace(f"ann: '{HASH}'", becomes))
        assert run(tmp_path, "reload").returncode == 0
        until(lambda: is_at_login(window, "/"), "the next refresh asks for a login", 30.0)


def test_pages_go_on_over_new_code(tmp_path: Path) -> None:
    port = free_port()
    with console_pages(tmp_path, config(port), HANDLERS) as console:
        window = console.open("/live")
        lives(window)
        window.run("window.neverLoaded = true")
        try:
            reloaded = run(tmp_path, "reload", "--code")
            assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr

            def asked() -> bool:
                httpx.get(f"http://127.0.0.1:{port}/over-new-code")
                return "over-new-code" in window.run("return document.getElementById('arrivals').innerText")

            until(asked, "the stream goes on with the new process", 30.0)
            assert window.run("return window.neverLoaded")
            console.open("/reload")
            shown = window.run("return document.getElementById('last').innerText")
            assert str(console.daemon.process.pid) not in shown
        finally:
            stop(console)


def test_a_login_ends_with_the_process_and_the_page_asks_for_the_next(tmp_path: Path) -> None:
    port = free_port()
    with console_pages(tmp_path, config(port), HANDLERS, f", users: {{ann: '{HASH}'}}") as console:
        window = log_in(console, "/")
        try:
            reloaded = run(tmp_path, "reload", "--code")
            assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
            until(lambda: is_at_login(window, "/"), "it asks", 30.0)
            log_in_here(window)
            window.shows("#state", "ready")
            for path in ("/dead", "/live", "/reload", "/"):
                console.open(path)
                assert window.run("return location.pathname") == path, "no connection leads to the old process"
        finally:
            stop(console)


def test_a_page_of_an_older_release_is_loaded_again_and_nothing_that_was_written_is_lost(tmp_path: Path) -> None:
    with console_pages(tmp_path, config(free_port()), HANDLERS) as console:
        window = console.open("/log")
        older = "window.isOlder = true; document.documentElement.dataset.release = 'older'; gateway.refresh()"
        window.run(older)
        until(lambda: window.run("return !window.isOlder && document.readyState === 'complete'"), "it is loaded again")
        window.run("document.getElementById('logger').focus()")
        window.tools("Input.insertText", text="gateway.mqtt")
        window.run(older)
        window.shows("#notice", "The gateway has a new release: load this page again.")
        assert window.run("return document.getElementById('logger').value") == "gateway.mqtt"
