"""GraphQL over HTTP, and subscriptions over a WebSocket, by strawberry."""

import asyncio
from collections.abc import AsyncIterator

import strawberry
from strawberry.asgi import GraphQL

from zoo.marks import mark


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str) -> str:
        return f"hello {name}"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self) -> AsyncIterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.01)
        finally:
            mark("subscription finally")


application: GraphQL = GraphQL(strawberry.Schema(Query, subscription=Subscription))
