"""What a handler keeps of a conversation with one sender of texts, until it expires: "reply 1 for yes"."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from gateway.atomic import current_transaction
from gateway.services import Service
from protocols.asgi import SMSScope
from protocols.sms.senders import e164

State = dict[str, Any]
Change = Callable[[State], State]
Steps = Generator[Coroutine[Any, Any, Any], Any, State]
"""Yields what is to be awaited, gets the result, and returns the state: for code on the loop, and on a thread."""

DAY = 86400.0
LONGEST = 30 * DAY
"""Seconds for which a conversation may be kept."""
MAX_STATE = 16 * 1024
"""Bytes of a conversation as JSON."""
_TRIES = 200
"""Other texts of the sender may change the conversation at the same time; each try that fails is a change of theirs."""
_LONGEST_PAUSE = 0.05
"""Seconds between two tries, at most: hundreds of texts of one sender at once take turns then."""


class Conversations(Protocol):
    """Keeps conversations by key. Raises StoreUnavailable."""

    async def load(self, key: str) -> bytes | None: ...

    async def swap(self, key: str, before: bytes | None, value: bytes | None, ttl: float) -> bool:
        """Keep ``value`` in the place of ``before``; return False if something else is there. None is nothing."""


conversations: Service[Conversations] = Service("store for conversations")


def load(scope: SMSScope, helper: str) -> Steps:
    """Raises LookupError."""
    return _decoded((yield _kept(helper).load(_key(scope))))


def update(scope: SMSScope, helper: str, change: Change, ttl: float) -> Steps:
    """Raises LookupError, TypeError and ValueError; RuntimeError if others change it all the time."""
    kept, key = _kept(helper), _key(scope)
    if not 0 < ttl <= LONGEST:
        raise ValueError(f"{helper}: conversation_ttl is {ttl:g}; write seconds, at most {LONGEST:.0f}")
    for number in range(_TRIES):
        before = yield kept.load(key)
        state = change(_decoded(before))
        value = _encoded(helper, state)
        if (yield kept.swap(key, before, value, ttl)):
            return state
        pause = min(_LONGEST_PAUSE, 0.001 * 2 ** min(number, 10))
        yield asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - so that two do not meet again
    raise RuntimeError(f"{helper}: other texts of this sender change the conversation all the time")


def _kept(helper: str) -> Conversations:
    """Raises LookupError where nothing is kept, or where the store would wait for the handler's own transaction."""
    running = current_transaction.get()
    if running is not None and not running.is_over:
        raise LookupError(f"{helper}: a route with atomic: true keeps no conversation; keep it in rows of your own")
    try:
        return conversations.get()
    except LookupError:
        raise LookupError(
            f"{helper}: the gateway has no store; write store: sqlite:var/gateway.db into the file"
        ) from None


def _key(scope: SMSScope) -> str:
    """A conversation is between one sender and one number of ours. The key does not show them."""
    parties = [e164(each) or each for each in (scope["recipient"], scope["sender"])]
    return f"conversation:{hashlib.sha256(json.dumps(parties).encode()).hexdigest()[:40]}"


def _decoded(value: bytes | None) -> State:
    state: State = {} if value is None else json.loads(value)
    return state


def _encoded(helper: str, state: Any) -> bytes | None:
    if not isinstance(state, dict):
        raise TypeError(f"{helper}: the function returned {state!r:.40}; return the whole state, a dict; {{}} ends it")
    try:
        value = json.dumps(state, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{helper}: the state is not JSON: {error}") from error
    if len(value) > MAX_STATE:
        raise ValueError(f"{helper}: the state has {len(value)} bytes, and at most {MAX_STATE} are kept")
    return value if state else None
