"""Opens the store that the file names, for the time of one command."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.cli.terminal import fail, file_of, print_error
from gateway.config import checks
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import load
from gateway.console.kept.selection import Unknown
from gateway.runtime.prepare_imports import prepare_store
from gateway.store import OperatorStore, Store, StoreUnavailable, engine_of

T = TypeVar("T")


def with_store(config: str | None, work: Callable[[OperatorStore], Awaitable[T]]) -> T:
    """The result of ``work`` on the store that the file names. Nothing else in the file needs to be right."""
    parsed = load(file_of(config))
    if (wrong := list(checks.store(parsed))) or parsed.spoiled("store"):
        parsed.finish(wrong)
    os.chdir(parsed.document.folder)
    if unprepared := prepare_store(parsed):
        raise ConfigErrors(unprepared)
    engine = engine_of(parsed.settings.store)
    if not engine.exists():  # made here, it would belong to this user, and not to the daemon's
        fail(f"there is no store yet at {engine}: no message was kept", 1)
    try:
        return asyncio.run(_opened(engine.store(), work))
    except StoreUnavailable as error:
        fail(f"the store cannot be used: {error}", 1)
    except Unknown as error:
        fail(str(error), 1)


async def _opened(store: Store, work: Callable[[OperatorStore], Awaitable[T]]) -> T:
    if found := await store.open():
        print_error(found)
    try:
        return await work(store)
    finally:
        await store.close()
