"""Django's views on threads that outlive the request. Django itself where it matters: in a process of its own."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from waiting import until

from gateway.django.views import Views
from gateway.threads import thread_pool

PATIENCE = 10.0


async def ask(views: Views, path: str = "/") -> list[Any]:
    """What the request was answered with."""
    answered: list[Any] = []

    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    async def send(event: Any) -> None:
        answered.append(event)

    async with asyncio.timeout(PATIENCE):
        await views({"type": "http", "path": path}, receive, send)
    return answered


def calling(function: Callable[[], Any]) -> Views:
    """An application that answers with what ``function`` returns, called as Django calls a sync view."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(await sync_to_async(function, thread_sensitive=True)())

    return Views(app)


async def test_a_request_has_the_thread_of_an_earlier_one() -> None:
    views = calling(threading.get_ident)
    assert await ask(views) == await ask(views) == await ask(views)


async def test_requests_at_one_time_have_a_thread_each() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def meet() -> int:
        together.wait()
        return threading.get_ident()

    views = calling(meet)
    found = await asyncio.gather(*(ask(views) for _ in range(3)))
    assert len({each[0] for each in found}) == 3


async def test_all_of_one_request_is_on_one_thread() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(await sync_to_async(threading.get_ident)())
        await asyncio.sleep(0)
        await send(await sync_to_async(threading.get_ident)())

    views = Views(app)
    for first, second in await asyncio.gather(*(ask(views) for _ in range(5))):
        assert first == second


async def test_a_thread_that_still_runs_a_view_is_no_other_requests() -> None:
    """Its client has left; a thread cannot be cut."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    functions = [wait, threading.get_ident]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(await sync_to_async(functions.pop(0))())

    views = Views(app)
    left = asyncio.ensure_future(ask(views))
    await asyncio.to_thread(begun.wait, PATIENCE)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert isinstance((await ask(views))[0], int)  # and it has not waited for the other
    go_on.set()


async def test_nor_is_one_where_a_later_call_of_that_view_was_cancelled() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    async def two(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.gather(sync_to_async(wait)(), sync_to_async(threading.get_ident)())

    async def one(scope: Any, receive: Any, send: Any) -> None:
        await send(await sync_to_async(threading.get_ident)())

    apps = [two, one]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await apps.pop(0)(scope, receive, send)

    views = Views(app)
    left = asyncio.ensure_future(ask(views))
    await asyncio.to_thread(begun.wait, PATIENCE)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert isinstance((await ask(views))[0], int)
    go_on.set()


async def test_no_more_threads_are_kept_than_the_pool_has() -> None:
    together = threading.Barrier(thread_pool.get().size + 3, timeout=PATIENCE)
    views = calling(together.wait)
    await asyncio.gather(*(ask(views) for _ in range(thread_pool.get().size + 3)))
    most = thread_pool.get().size
    await until(lambda: sum(thread.name.startswith("django") for thread in threading.enumerate()) <= most)


async def test_a_task_that_a_view_leaves_behind_may_call_sync_code() -> None:
    """As it may with Django's own threads. It has none of those that requests have."""
    left: list[asyncio.Task[Any]] = []
    ended = asyncio.Event()

    async def later() -> int:
        await ended.wait()
        return await sync_to_async(threading.get_ident)()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        left.append(asyncio.ensure_future(later()))
        await send(await sync_to_async(threading.get_ident)())

    views = Views(app)
    [thread] = await ask(views)
    ended.set()
    async with asyncio.timeout(PATIENCE):
        assert await left[0] != thread


WITH_DJANGO = """
    import asyncio, tempfile, threading
    from django.conf import settings
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tempfile.mktemp(), "CONN_MAX_AGE": 600}
    settings.configure(ROOT_URLCONF=__name__, DATABASES={"default": database}, ALLOWED_HOSTS=["*"])
    import django
    django.setup()
    from django.db import connection
    from django.http import HttpResponse
    from django.urls import path
    from gateway.django import application

    seen = []

    def view(request):
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        seen.append(id(connection.connection))
        return HttpResponse("x")

    urlpatterns = [path("", view)]

    async def ask(app):
        asked = asyncio.Queue()
        asked.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"x")]}
        async def send(event): status.append(event.get("status", 0))
        await app(scope, asked.get, send)

    status = []

    async def main():
        app = application()
        for _ in range(3):
            await ask(app)

    asyncio.run(main())
    print(len(set(seen)), max(status))
"""


def test_a_connection_to_the_database_that_is_to_be_kept_serves_the_next_request() -> None:
    script = textwrap.dedent(WITH_DJANGO)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (["1", "200"], "")


STREAMS = """
    import asyncio, itertools, tempfile, tracemalloc
    from django.conf import settings
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG=DEBUG, STATIC_URL="static/")
    settings.INSTALLED_APPS += ["django.contrib.staticfiles"]
    settings.STATICFILES_DIRS = [FOLDER]
    import django
    django.setup()
    from django.http import FileResponse, StreamingHttpResponse
    from django.urls import path
    from gateway.django import application

    asked_for = []

    def endless(request):
        return StreamingHttpResponse(asked_for.append(n) or b"%d" % n for n in itertools.count())

    def file(request):
        return FileResponse(open(FOLDER + "/large.bin", "rb"))

    urlpatterns = [path("endless/", endless), path("file/", file)]

    async def ask(path, most):
        asked, pieces = asyncio.Queue(), []
        asked.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"x")]}
        async def send(event):
            pieces.append(len(event.get("body", b"")))
            if sum(map(bool, pieces)) == most:
                asked.put_nowait({"type": "http.disconnect"})
                await asyncio.sleep(3600)
        await application()(scope, asked.get, send)
        return pieces

    async def main():
        await ask("/endless/", 3)
        tracemalloc.start()
        pieces = await ask(PLACE, None)
        print(len(asked_for), sum(pieces), tracemalloc.get_traced_memory()[1] < 8_000_000)

    asyncio.run(main())
"""


@pytest.mark.parametrize(("place", "debug"), [("/file/", False), ("/static/large.bin", True)])
def test_what_a_sync_view_streams_is_sent_piece_by_piece(place: str, debug: bool, tmp_path: Path) -> None:
    """Django itself would ask for all pieces first: for ever, or for as much memory as the file has bytes."""
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    named = f"FOLDER, PLACE, DEBUG = {str(tmp_path)!r}, {place!r}, {debug}\n"
    script = named + textwrap.dedent(STREAMS)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (["3", str(32 * 1024 * 1024), "True"], "")
