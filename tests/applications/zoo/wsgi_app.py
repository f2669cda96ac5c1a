"""A WSGI application, by a2wsgi."""

import time
from collections.abc import Iterator
from typing import Any

from a2wsgi import WSGIMiddleware

from zoo.marks import mark


class Ticks:
    def __init__(self) -> None:
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.number == 30:
            raise StopIteration
        time.sleep(0.01)
        self.number += 1
        return b"tick %d\n" % self.number

    def close(self) -> None:
        mark("wsgi closed")


def wsgi(environ: Any, start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path.endswith("/stream"):
        start_response("200 OK", [("content-type", "text/plain")])
        return Ticks()
    if path.endswith("/upload"):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("content-type", "text/plain")])
        mark(f"wsgi upload of {len(body)}")
        return [str(len(body)).encode()]
    if path.endswith("/slow"):
        time.sleep(0.2)
        mark("wsgi slow answered")
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", "6")])
    return [b"hello\n"]


application: Any = WSGIMiddleware(wsgi)
