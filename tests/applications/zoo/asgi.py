"""All of them."""

from typing import Any

from zoo import django_app, fastapis, graphql_app, litestars, quart_app, socketio_app, starlettes, wsgi_app

MOUNTED = {
    "starlette": starlettes.plain,
    "wrapped": starlettes.wrapped,
    "gzip": starlettes.gzipped,
    "brotli": starlettes.brotli,
    "fastapi": fastapis.application,
    "graphql": graphql_app.application,
    "litestar": litestars.application,
    "quart": quart_app.application,
    "wsgi": wsgi_app.application,
}
WHOLE = {"django": django_app.application, "socketio": socketio_app.application}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """As Starlette's Mount does it; there is no lifespan."""
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    name = scope["path"].split("/")[1]
    if name in WHOLE:
        await WHOLE[name](scope, receive, send)
    else:
        await MOUNTED[name]({**scope, "root_path": scope.get("root_path", "") + f"/{name}"}, receive, send)
