"""A headless Chromium, driven by chromedriver over the W3C WebDriver protocol: the few commands that tests need."""

import base64
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, until

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
]


class Browser:
    def __init__(self, driver: httpx.Client, profile: Path, size: tuple[int, int], flags: Sequence[str]) -> None:
        width, height = size
        arguments = [*FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        options = {"binary": program("chromium"), "args": arguments}
        # Without this the driver's answer waits for the page's own WebSockets and never comes.
        wanted = {"goog:chromeOptions": options, "pageLoadStrategy": "eager", "goog:loggingPrefs": {"browser": "ALL"}}
        self._driver = driver
        session = self._command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{session['sessionId']}"

    def _command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._driver.request(method, path, json=body)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self._command("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; ``return`` gives the value."""
        return self._command("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def shows(self, selector: str, text: str) -> None:
        """Wait until the visible text of ``selector`` contains ``text``."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText).join('\\n')"
        until(lambda: text in self.run(script, selector), f"{selector} shows {text!r}")

    def tools(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self._command("POST", f"{self._session}/goog/cdp/execute", body)

    def screenshot(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self._command("GET", f"{self._session}/screenshot"))

    def errors(self) -> list[str]:
        """What the page has written to the console as an error."""
        entries = self._command("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def close(self) -> None:
        self._command("DELETE", self._session)


@contextlib.contextmanager
def browser(folder: Path, size: tuple[int, int] = (1200, 900), flags: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser with a fresh profile in ``folder``, and more ``flags`` of Chromium."""
    port = free_port()
    command = [program("chromedriver"), f"--port={port}", f"--log-path={folder / 'chromedriver.log'}"]
    environment = os.environ | {"HOME": str(folder)}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE * 2) as driver:
            until(lambda: _answers(driver), "chromedriver answers")
            session = Browser(driver, folder / "profile", size, flags)
            try:
                yield session
            finally:
                session.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own group: the driver and what is left of its browser
        process.wait(PATIENCE)


def _answers(driver: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return bool(driver.get("/status").json()["value"]["ready"])
    return False
