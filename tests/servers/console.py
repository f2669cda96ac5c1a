"""A gateway with a console, and its pages in a real Chromium, which must never run or load what came from outside."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from servers.browser import Browser, browser
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

HOSTILE = (
    "<script>document.title='stolen'</script>",
    '"><img src=x onerror="document.title=\'stolen\'">',
    "</pre></td></table><svg onload=document.title='stolen'>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "\u202egnp.exe\u2066",
    "w" * 2000,
    "javascript:document.title='stolen'",
)
"""Words that strangers write: subjects, topics, names."""
FOREIGN = """
const own = (e) => e.localName === 'script' && e.getAttribute('src')?.startsWith('/static/') && !e.text;
return [...document.querySelectorAll('script, img, iframe, object, embed, style, base, form[action^="http"]')]
  .filter((e) => !own(e)).map((e) => e.outerHTML.slice(0, 200));
"""
UNNAMED = """
const names = (e) => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || e.title;
return [...document.querySelectorAll('a[href], button, input, select, textarea')]
  .filter((e) => e.type !== 'hidden' && !names(e)?.trim()).map((e) => e.outerHTML);
"""
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const part = (n) => (n /= 255) <= .03928 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
const back = (e) => {
  for (; e; e = e.parentElement) {
    const color = parse(getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const weak = [];
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) weak.push(e.outerHTML.slice(0, 200));
}
return weak;
"""


class ConsolePages:
    """A gateway in ``folder``, and a window on its console."""

    def __init__(self, folder: Path, console: int, daemon: Daemon, window: Browser) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{console}"
        self.daemon = daemon
        self.window = window

    def open(self, path: str) -> Browser:
        self.window.open(self.url + path)
        until(lambda: self.window.run("return document.readyState === 'complete'"), f"{path} is there")
        return self.window

    def dark(self, *, on: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.window.tools("Emulation.setEmulatedMedia", features=features)

    def width(self, pixels: int) -> None:
        """Show the page as a screen of this width does."""
        size = {"width": pixels, "height": 844, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.window.tools("Emulation.setDeviceMetricsOverride", **size)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key such as ``Tab`` or ``Enter``."""
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40, "ArrowUp": 38}
        about = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
        self.window.tools("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.window.tools("Input.dispatchKeyEvent", type="keyUp", **about)

    def is_sound(self, title: str) -> None:
        """The page that is open has run and loaded nothing of a stranger's, fits a telephone, can be read in the light
        and in the dark, and every control has a name."""
        assert self.window.run("return document.title").startswith(title)
        answers = "the server responded with a status of 4"  # which the page has shown
        assert [each for each in self.window.errors() if answers not in each] == []
        for wrong in (FOREIGN, UNNAMED):
            found = self.window.run(wrong)
            assert not found, found
        for dark in (True, False):
            self.dark(on=dark)
            assert self.window.run(CONTRAST) == [], "dark" if dark else "light"
        self.width(390)
        assert self.window.run("return document.documentElement.scrollWidth") <= 390
        self.window.tools("Emulation.clearDeviceMetricsOverride")


@contextlib.contextmanager
def console_pages(folder: Path, config: str, handlers: str = "", settings: str = "") -> Iterator[ConsolePages]:
    """Run ``gateway.yaml``, whose text ``config`` gets its ``console`` with more ``settings``, with the module
    ``handlers``, and open a window."""
    console = free_port()
    (folder / "gateway.yaml").write_text(config + f'\nconsole: {{bind: "127.0.0.1:{console}"{settings}}}\n')
    (folder / "handlers.py").write_text(handlers)
    daemon = Daemon(folder)
    try:
        daemon.says("console  ")
        (folder / "browser").mkdir()
        with browser(folder / "browser") as window:
            yield ConsolePages(folder, console, daemon, window)
    finally:
        daemon.close()
