"""Static files while DEBUG, in a process of its own: Django is set up once in a process."""

import subprocess
import sys

SERVE = """
import asyncio, logging, sys, tempfile
from pathlib import Path
from django.conf import settings

folder = Path(tempfile.mkdtemp())
(folder / "static").mkdir()
(folder / "static" / "here.txt").write_text("here")
(folder / "secret.txt").write_text("secret")
settings.configure(
    DEBUG=True, SECRET_KEY="x", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None,
    STATIC_URL="/static/", STATICFILES_DIRS=[folder / "static"], INSTALLED_APPS=["django.contrib.staticfiles"],
)
import django
django.setup()
urlpatterns = []
from gateway.django import application
from protocols.http.server import HTTPServer, HTTPSettings

logging.basicConfig(format="%(levelname)s %(message)s")

async def main():
    async with HTTPServer(application(), HTTPSettings(bind="127.0.0.1:0"), state={}) as server:
        for target in sys.argv[1:]:
            host, port = server.address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {target} HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n".encode())
            answer = await reader.read()
            print(answer.split(b" ")[1].decode(), b"secret" in answer.partition(b"\\r\\n\\r\\n")[2][:10])
            writer.close()

asyncio.run(main())
"""
OUTSIDE = [
    "..",
    "../secret.txt",
    "../../etc/passwd",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "%2Fetc/passwd",
    "a/../../x",
]
ODD = ["%00", "a%00b", "x" * 4000, "%ff", "..%5c..%5cx", ".", "", "C:/x"]


def test_a_path_out_of_the_static_folders_is_not_found() -> None:
    targets = ["/static/here.txt", *(f"/static/{path}" for path in OUTSIDE + ODD)]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *targets], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert dict(zip(targets, done.stdout.splitlines(), strict=True)) == {
        target: "200 False" if target == "/static/here.txt" else "404 False" for target in targets
    }
    assert "ERROR" not in done.stderr
