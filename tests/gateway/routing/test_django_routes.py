"""``url()`` beside Django's ``path()`` and ``re_path()``; Channels' own URLRouter says what is right."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import channels.routing
import pytest
from django.urls import include, path, re_path

import gateway.compat.channels
from gateway import AsyncHttpConsumer, URLRouter, default, url


@pytest.fixture(scope="module", autouse=True)
def django_settings() -> Iterator[None]:
    """Django's defaults, for these tests alone: others try what is said without any settings."""
    from django.conf import settings  # as a name of the module, the plugin of hypothesis would look into it

    before: Any = settings._wrapped
    if not settings.configured:
        settings.configure()
    yield
    settings._wrapped = before


def telling(name: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        route = scope["url_route"]
        await send((name, tuple(route["args"]), route["kwargs"]))

    return application


async def answer_of(router: Any, asked: str, **keys: Any) -> Any:
    told: list[Any] = []

    async def send(event: Any) -> None:
        told.append(event)

    await router({"type": "http", "path": asked, "method": "GET", **keys}, asyncio.Event().wait, send)
    return told[0]


def routes() -> list[Any]:
    return [
        path("", telling("root")),
        path("rooms/", telling("rooms")),
        path("rooms/<int:room>/", telling("room")),
        path("rooms/<slug:room>/", telling("named"), {"by": "name"}),
        path("files/<uuid:file>/<path:rest>", telling("file")),
        re_path(r"^readings/(\d+)/$", telling("reading")),
        re_path(r"^sensors/(?P<sensor>\w+)(?:/(?P<kind>\w+))?/$", telling("sensor"), {"extra": 1}),
    ]


PATHS = [
    *("/", "/rooms/", "/rooms/17/", "/rooms/blue-one/", "/readings/5/", "/sensors/t1/", "/sensors/t1/hot/"),
    f"/files/{uuid.UUID(int=5)}/a/b.txt",
]


@pytest.mark.parametrize("asked", PATHS)
async def test_a_path_is_routed_as_by_channels(asked: str) -> None:
    theirs, ours = channels.routing.URLRouter(routes()), URLRouter(routes())
    assert await answer_of(ours, asked) == await answer_of(theirs, asked)


def returning(value: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> Any:
        return value

    return application


@pytest.mark.parametrize("names", [channels.routing, gateway.compat.channels], ids=["channels", "gateway"])
async def test_a_router_returns_what_its_application_returns(names: Any) -> None:
    """Channels' own tests look at that, and so may those of a project."""
    inner = names.URLRouter([path("page/<int:page>/", returning("page"))])
    urls = names.URLRouter([path("", returning("root")), path("books/", inner), re_path(r"^bar", returning("bar"))])
    workers = names.ChannelNameRouter({"thumbnails": returning("thumbnail")})
    router = names.ProtocolTypeRouter({"http": urls, "websocket": returning("socket"), "channel": workers})
    for scope, value in (
        ({"type": "http", "path": "/"}, "root"),
        ({"type": "http", "path": "/bar/baz/"}, "bar"),
        ({"type": "http", "path": "/books/page/7/"}, "page"),
        ({"type": "http", "path": "/shop/books/page/7/", "root_path": "/shop"}, "page"),
        ({"type": "websocket", "path": "/"}, "socket"),
        ({"type": "channel", "channel": "thumbnails"}, "thumbnail"),
    ):
        assert await router(scope, None, None) == value


@pytest.mark.parametrize("asked", PATHS)
async def test_many_routes_are_looked_up_and_give_the_same(asked: str) -> None:
    many = [path(f"other{number}/<int:number>/", telling("other")) for number in range(50)]
    router = URLRouter([*many, *routes()])
    assert await answer_of(router, asked) == await answer_of(URLRouter(routes()), asked)
    assert await answer_of(router, "/other7/3/") == ("other", (), {"number": 3})


@pytest.mark.parametrize("asked", ["/rooms", "/rooms/17", "/rooms/a b/", "/rooms/17/x", "/readings/x/", "/files/1/a"])
async def test_a_path_without_a_route_goes_to_the_next(asked: str) -> None:
    router = URLRouter([*routes(), default(telling("none"))])
    assert (await answer_of(router, asked))[0] == "none"
    with pytest.raises(ValueError, match="No route found"):
        await answer_of(channels.routing.URLRouter(routes()), asked)


def nested(router: Any) -> Any:
    inner = router([path("<int:page>/", telling("page")), re_path(r"^last/$", telling("last"))])
    return router([path("books/<slug:book>/", inner, {"shelf": 2}), re_path(r"^x(\w)/", inner)])


@pytest.mark.parametrize("asked", ["/books/red/7/", "/books/red/last/", "/xa/last/"])
async def test_a_router_behind_a_path_gets_the_rest_of_it(asked: str) -> None:
    assert await answer_of(nested(URLRouter), asked) == await answer_of(nested(channels.routing.URLRouter), asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("/shop/7/items/red/", ("item", (), {"shop": 7, "item": "red", "list": "new"})),
        ("/shop/7/page/3/", ("page", (), {"shop": 7, "page": "3"})),
        ("/shop/7/", ("outer", (), {"number": 7})),
        ("/shop/x/", ("none", (), {})),
    ],
)
async def test_the_routes_of_an_include_are_tried_and_then_those_after_it(asked: str, expected: Any) -> None:
    included = [
        path("items/<slug:item>/", telling("item"), {"list": "new"}),
        re_path(r"^page/(?P<page>\d+)/$", telling("page")),
    ]
    router = URLRouter(
        [
            path("shop/<int:shop>/", include(included)),
            path("shop/<int:number>/", telling("outer")),
            default(telling("none")),
        ]
    )
    assert await answer_of(router, asked) == expected


async def test_a_router_without_a_route_for_the_rest_passes_the_path_on(caplog: pytest.LogCaptureFixture) -> None:
    def made(router: Any) -> Any:
        inner = router([path("no-match/", telling("inner"))])
        middle = router([path("prefix/", inner), path("prefix/stuff/", telling("stuff"))])
        return router([path("", middle)])

    for asked in ("/prefix/stuff/", "/prefix/no-match/"):
        assert await answer_of(made(URLRouter), asked) == await answer_of(made(channels.routing.URLRouter), asked)
    assert (await answer_of(made(URLRouter), "/prefix/other/"))["status"] == 404
    many = URLRouter([*(path(f"a{number}/", telling("a")) for number in range(50)), *made(URLRouter).routes])
    assert (await answer_of(many, "/prefix/stuff/"))[0] == "stuff"
    assert "can never match" not in caplog.text


async def test_a_router_behind_a_middleware_says_that_it_looks_at_the_rest() -> None:
    inner = nested(URLRouter)

    async def middleware(scope: Any, receive: Any, send: Any) -> Any:
        return await inner(scope, receive, send)

    middleware._path_routing = True  # type: ignore[attr-defined]  # the name that Channels looks for
    assert await answer_of(URLRouter([path("a/", middleware)]), "/a/books/red/7/") == await answer_of(
        inner, "/books/red/7/"
    )


async def test_a_root_path_is_left_out() -> None:
    assert await answer_of(URLRouter(routes()), "/app/rooms/17/", root_path="/app") == ("room", (), {"room": 17})


async def test_django_routes_and_ours_are_in_one_list() -> None:
    router = URLRouter([url("^a/$", telling("a")), path("b/", telling("b")), default(telling("rest"))])
    assert [(await answer_of(router, asked))[0] for asked in ("/a/", "/b/", "/c/")] == ["a", "b", "rest"]


def test_a_consumer_is_the_target_as_everywhere() -> None:
    class Page(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            await self.respond("x")

    router = URLRouter([path("a/", Page.as_asgi()), path("b/", Page)])
    assert [route.label.partition(" -> ")[0] for route in router.routes] == ["a/", "b/"]


def view(request: Any) -> None:
    """A view of Django."""


def test_what_no_route_can_be_is_reported() -> None:
    with pytest.raises(ValueError, match="view is not an ASGI application"):
        URLRouter([path("a/", include([path("b/", view)]))])
    with pytest.raises(ValueError, match="'<int:a>/<int:a>' is not a path: redefinition of group name 'a'"):
        URLRouter([path("<int:a>/<int:a>", telling("a"))])
    with pytest.raises(ValueError, match="can take forever"):
        URLRouter([re_path("^(a+)+$", telling("a"))])


async def test_a_path_that_takes_too_long_to_match_is_given_up() -> None:
    """Django's own search would hold the process for minutes."""
    router = URLRouter([path("<path:a>/<path:b>/<path:c>/end", telling("three")), default(telling("other"))])
    assert await answer_of(router, "/x/y/z/end") == ("three", (), {"a": "x", "b": "y", "c": "z"})
    assert (await answer_of(router, "/" * 8000))["status"] == 404
